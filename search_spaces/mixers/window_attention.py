"""Window attention: softmax attention inside square windows (arXiv:2103.14030, without shift and position bias)."""

from dataclasses import dataclass, replace

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import FromHeads, ToHeads, check_positive, from_windows, map_size, split_heads, to_windows
from search_spaces.registry import TokenMixer, register


@register("window_attention")
class WindowAttention(TokenMixer):
    """Mixes tokens inside each window; cost grows linearly with the image. A map that windows do not divide is padded at the
    right and the bottom, and what was padded is never attended to.

    Options:
        window_size: side of a window; it owns no weights.
        head_dim: channels of a head, or the next divisor of the width.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        window_size: int = 7
        head_dim: int = 16

        def __post_init__(self) -> None:
            check_positive(window_size=self.window_size, head_dim=self.head_dim)

    examples = (Options(window_size=3, head_dim=4), Options(head_dim=8))

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have."""
        return replace(options, head_dim=split_heads(dims[0], options.head_dim)[1])

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return {"key.bias": "softmax does not change when one number is added to all scores of a query"}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        heads, _ = split_heads(dim, options.head_dim)
        self.window_size = options.window_size
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)
        self.project = FromHeads(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        tokens, mask = to_windows(x, self.window_size)
        query, key, value = self.query.tokens(tokens), self.key.tokens(tokens), self.value.tokens(tokens)
        y = self.project.tokens(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
        return from_windows(y, self.window_size, *map_size(x))

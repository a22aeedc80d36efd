"""Mixing abstract tokens, MAT (dissertation, section 4.3).

Four steps: merge (a learnable token joins each window), abstract (attention in the window), mix (attention among the windows' tokens),
fuse (every position asks the mixed tokens). What the text leaves open follows the published counts: one token a block, used as
query, key and value without projection; the fusion's query is that of the window; one output projection for the sum of both.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import (
    FromHeads,
    ToHeads,
    attention,
    ceil_div,
    check_positive,
    from_windows,
    map_size,
    split_heads,
    to_windows,
    trunc_normal,
)
from search_spaces.registry import TokenMixer, register


@register("mat_attention")
class MATAttention(TokenMixer):
    """Attention in windows, joined by one abstract token a window. A map that windows do not divide is padded and masked.

    With one window the mixing is idle: the softmax over one token is 1, and queries and keys of mixing and fusion get no gradient.

    Options:
        window_size: side of a window (7); it owns no weights.
        head_dim: channels of a head, or the next divisor of the width (8 in MAT-1, 18 in MAT-3, else 16).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        window_size: int = 7
        head_dim: int = 16

        def __post_init__(self) -> None:
            check_positive(window_size=self.window_size, head_dim=self.head_dim)

    examples = (Options(window_size=3, head_dim=4), Options(window_size=4, head_dim=8))

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have."""
        return replace(options, head_dim=split_heads(dims[0], options.head_dim)[1])

    @classmethod
    def unmoved(cls, options: Options) -> dict[str, str]:
        return dict.fromkeys(
            ("mix_key.bias", "fuse_key.bias"),
            "softmax does not change when one number is added to all scores of a query",
        )

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        heads, _ = split_heads(dim, options.head_dim)
        self.window_size = options.window_size
        self.token = trunc_normal(dim, fan_in=dim)
        for name in ("query", "key", "value", "mix_query", "mix_key", "mix_value", "fuse_key", "fuse_value"):
            self.add_module(name, ToHeads(dim, heads))
        self.mix_project = FromHeads(dim)
        self.project = FromHeads(dim)

    query: ToHeads
    key: ToHeads
    value: ToHeads
    mix_query: ToHeads
    mix_key: ToHeads
    mix_value: ToHeads
    fuse_key: ToHeads
    fuse_value: ToHeads

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        b, c = x.shape[:2]
        h, w = map_size(x)
        tokens, mask = to_windows(x, self.window_size)
        count, size, _ = tokens.shape
        query, key, value = self.query.tokens(tokens), self.key.tokens(tokens), self.value.tokens(tokens)

        # Merge and abstract: size + 1 tokens in each window.
        heads, d = query.shape[1], query.shape[3]
        token = self.token.to(query.dtype).reshape(1, heads, 1, d).expand(count, heads, 1, d)
        if mask is not None:
            mask = F.pad(mask, (0, 1), value=True)
        y = F.scaled_dot_product_attention(
            torch.cat((query, token), 2), torch.cat((key, token), 2), torch.cat((value, token), 2), attn_mask=mask
        )
        windows = ceil_div(h, self.window_size) * ceil_div(w, self.window_size)
        abstract = y[:, :, size].reshape(b, windows, c)

        # Mix: attention among the windows of an image.
        y = y[:, :, :size]
        mixed = attention(
            self.mix_query.tokens(abstract), self.mix_key.tokens(abstract), self.mix_value.tokens(abstract)
        )
        mixed = self.mix_project.tokens(mixed)

        # Fuse: every position asks the mixed tokens, with the query it had in its window.
        query = query.reshape(b, windows, heads, size, d).transpose(1, 2).reshape(b, heads, windows * size, d)
        fused = attention(query, self.fuse_key.tokens(mixed), self.fuse_value.tokens(mixed))
        fused = fused.reshape(b, heads, windows, size, d).transpose(1, 2).reshape(count, heads, size, d)
        return from_windows(self.project.tokens(y + fused), self.window_size, h, w)

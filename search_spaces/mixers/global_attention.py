"""Global multi-head self-attention (arXiv:1706.03762; G-MHSA where a paper sets it beside a local one)."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import FromHeads, ToHeads, attention, check_positive, merge_heads, split_heads
from search_spaces.registry import TokenMixer, register


@register("global_attention")
class GlobalAttention(TokenMixer):
    """Softmax attention among all h*w tokens, with biases on the four projections.

    The number of heads follows the width: where the size of a head divides both widths, a narrower slice has fewer whole heads.

    Options:
        head_dim: channels of a head, or the next divisor of the width.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        head_dim: int = 16

        def __post_init__(self) -> None:
            check_positive(head_dim=self.head_dim)

    examples = (Options(head_dim=4), Options(head_dim=8))

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
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)
        self.project = FromHeads(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = attention(self.query(x), self.key(x), self.value(x))
        return self.project(merge_heads(y, x.shape[2], x.shape[3]))

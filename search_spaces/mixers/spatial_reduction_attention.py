"""Spatial-reduction attention: queries everywhere, keys and values on a strided map (PVT, arXiv:2102.12122)."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.layers import (
    Conv,
    FromHeads,
    ToHeads,
    attention,
    check_positive,
    merge_heads,
    pad_to_multiple,
    split_heads,
)
from search_spaces.registry import TokenMixer, make, register


class Reduction(nn.Module):
    """A convolution whose kernel is its stride, then layer norm. A map it does not divide is padded with zeros."""

    def __init__(self, dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = Conv(dim, dim, stride, stride=stride)
        self.conv.padding = (0, 0)
        self.norm = make("norm", Part("layer_norm"), dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.norm(self.conv(pad_to_multiple(x, self.stride)))


@register("spatial_reduction_attention")
class SpatialReductionAttention(TokenMixer):
    """Softmax attention from every position to a map reduced sr_ratio times in each direction (to ceil(side / sr_ratio)).

    Each ratio above 1 has a reduction of its own; the projections are shared.

    Options:
        head_dim: channels of a head, or the next divisor of the width.
        sr_ratio: 8, 4, 2, 1 by stage at 224 pixels.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        head_dim: int = 16
        sr_ratio: int = 2

        def __post_init__(self) -> None:
            check_positive(head_dim=self.head_dim, sr_ratio=self.sr_ratio)

    examples = (Options(head_dim=4, sr_ratio=1), Options(head_dim=8), Options(head_dim=8, sr_ratio=4))
    unordered = ("sr_ratio",)

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
        stride = options.sr_ratio
        self.reductions = nn.ModuleDict({str(stride): Reduction(dim, stride)} if stride > 1 else {})
        self.query = ToHeads(dim, heads)
        self.key = ToHeads(dim, heads)
        self.value = ToHeads(dim, heads)
        self.project = FromHeads(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = x
        for reduction in self.reductions.values():
            y = reduction(y)
        y = attention(self.query(x), self.key(y), self.value(y))
        return self.project(merge_heads(y, x.shape[2], x.shape[3]))

"""Global attention among sampled tokens, the G-MHSA branch of EMSNet (dissertation, section 3.3.1, eq. 3.6)."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import Conv, ToHeads, attention, check_positive, map_size, merge_heads, split_heads
from search_spaces.mixers.c_mhsa import Propagation, Sample
from search_spaces.registry import TokenMixer, register


class GMHSA(nn.Module):
    """Softmax attention among all tokens, no biases, no output projection."""

    def __init__(self, dim: int, head_dim: int) -> None:
        super().__init__()
        heads, _ = split_heads(dim, head_dim)
        self.query = ToHeads(dim, heads, bias=False)
        self.key = ToHeads(dim, heads, bias=False)
        self.value = ToHeads(dim, heads, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return merge_heads(attention(self.query(x), self.key(x), self.value(x)), *map_size(x))


class SparseGMHSA(nn.Module):
    """Sample, G-MHSA, propagation (eq. 3.6); channels stay."""

    def __init__(self, dim: int, patch_size: int, head_dim: int) -> None:
        super().__init__()
        self.sample = Sample(dim, dim, patch_size)
        self.attention = GMHSA(dim, head_dim)
        self.propagate = Propagation(dim, patch_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.propagate(self.attention(self.sample(x)), *map_size(x))


@register("g_mhsa")
class GMHSAMixer(TokenMixer):
    """Sample, G-MHSA, propagation and a 1x1 convolution, as a token mixer of its own: global attention at a fraction of its cost.

    Each patch size has its own propagation kernel; a searched one shares the rest.

    Options:
        patch_size: a token stands for patch_size squared positions (6).
        head_dim: channels of a head, or the next divisor of the width (16).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        patch_size: int = 6
        head_dim: int = 16

        def __post_init__(self) -> None:
            check_positive(patch_size=self.patch_size, head_dim=self.head_dim)

    examples = (Options(patch_size=1, head_dim=4), Options(patch_size=2, head_dim=8), Options(patch_size=3))
    unordered = ("patch_size",)

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """With the size that heads have."""
        return replace(options, head_dim=split_heads(dims[0], options.head_dim)[1])

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.sample = Sample(dim, dim, options.patch_size)
        self.attention = GMHSA(dim, options.head_dim)
        self.propagate = Propagation(dim, options.patch_size)
        self.project = Conv(dim, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = self.attention(self.sample(x))
        return self.project(self.propagate(y, *map_size(x)))

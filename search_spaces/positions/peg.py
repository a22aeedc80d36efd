"""Conditional position encoding, made by a position encoding generator (PEG; CPVT, arXiv:2102.10882, section 4.2)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import FixedConv, add_identity
from search_spaces.layers import DepthwiseConv, check_odd
from search_spaces.registry import Position, register


@register("peg")
class PEG(Position):
    """x + DWConv(x) with bias and zero padding, which is where positions come from; CPVT's kernel is 3.

    The same map as `dpe`, which comes from another paper with kernel 7; MAT and PartialFormer have this one before each attention.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 3

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)

    examples = (Options(), Options(kernel_size=5))
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.conv = DepthwiseConv(dim, options.kernel_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv(x)

    def for_inference(self) -> nn.Module:
        """One convolution, which adds its input."""
        return FixedConv(add_identity(self.conv.weight), self.conv.bias, groups=self.conv.groups)

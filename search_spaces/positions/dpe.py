"""Dynamic position encoding (DPE): a residual depthwise convolution before each block (TransXNet, eq. 1; arXiv:2201.09450)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.folding import FixedConv, add_identity
from search_spaces.layers import DepthwiseConv, check_odd
from search_spaces.registry import Position, register


@register("dpe")
class DPE(Position):
    """x + DWConv(x) with bias; TransXNet's kernel is 7. No norm, no scale, no stochastic depth."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 7

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)

    examples = (Options(kernel_size=3), Options())
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.conv = DepthwiseConv(dim, options.kernel_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv(x)

    def for_inference(self) -> nn.Module:
        """One convolution, which adds its input."""
        return FixedConv(add_identity(self.conv.weight), self.conv.bias, groups=self.conv.groups)

"""Depthwise convolution as a token mixer (MetaFormer's convolutional case; arXiv:2210.13452)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import DepthwiseConv, check_odd
from search_spaces.registry import TokenMixer, register


@register("depthwise_conv")
class DepthwiseConvMixer(TokenMixer):
    """One static k x k filter per channel, with bias. Smaller kernels are the middle of larger ones."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 7

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)

    examples = (Options(kernel_size=3), Options(kernel_size=5), Options())
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.conv = DepthwiseConv(dim, options.kernel_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv(x)

"""Coordinate depthwise convolution of EMSNet (dissertation, sections 3.3.1 and 3.7.1): a row kernel, then a column kernel."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import check_odd, trunc_normal
from search_spaces.registry import TokenMixer, register


class CoordinateConv(nn.Module):
    """Depthwise 1 x k, then depthwise k x 1, no biases: 2 k weights a channel instead of k * k."""

    def __init__(self, dim: int, kernel_size: int) -> None:
        super().__init__()
        self.row = trunc_normal(dim, 1, 1, kernel_size, fan_in=kernel_size)
        self.column = trunc_normal(dim, 1, kernel_size, 1, fan_in=kernel_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        dim, half = self.row.shape[0], self.row.shape[3] // 2
        x = F.conv2d(x, self.row, padding=(0, half), groups=dim)
        return F.conv2d(x, self.column, padding=(half, 0), groups=dim)


@register("coordinate_conv")
class CoordinateConvMixer(TokenMixer):
    """A coordinate depthwise convolution as a token mixer of its own.

    Options:
        kernel_size: odd; 7 in our EMSNet, where the text gives none.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        kernel_size: int = 7

        def __post_init__(self) -> None:
            check_odd(kernel_size=self.kernel_size)

    examples = (Options(kernel_size=3), Options())
    centred = {"conv.row": (3,), "conv.column": (2,)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.conv = CoordinateConv(dim, options.kernel_size)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.conv(x)

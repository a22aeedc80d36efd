"""MLP with a depthwise convolution between its layers (PVTv2, arXiv:2106.13797; MAT and PartialFormer by their counts)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import ACTIVATIONS, Conv, DepthwiseConv, check_activation, check_odd, check_positive
from search_spaces.registry import ChannelMixer, register


@register("dw_mlp")
class DWMLP(ChannelMixer):
    """fc2(activation(DW(fc1(x)))), with biases; int(ratio * dim) hidden channels, the first of the shared ones.

    Options:
        ratio: expansion (4 in both papers).
        kernel_size: of the depthwise convolution (3).
        activation: gelu, relu or silu.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        ratio: float = 4.0
        kernel_size: int = 3
        activation: str = "gelu"

        def __post_init__(self) -> None:
            check_positive(ratio=self.ratio)
            check_odd(kernel_size=self.kernel_size)
            check_activation(self.activation)

    examples = (Options(ratio=1.0), Options(ratio=1.5, kernel_size=5), Options())
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        hidden = max(1, int(options.ratio * dim))
        self.activation = ACTIVATIONS[options.activation]
        self.fc1 = Conv(dim, hidden)
        self.conv = DepthwiseConv(hidden, options.kernel_size)
        self.fc2 = Conv(hidden, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.fc2(self.activation(self.conv(self.fc1(x))))

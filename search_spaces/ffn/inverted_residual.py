"""HAT-Net's convolutional FFN, an inverted residual (HAT-Net, section 3.3; details from the authors' code)."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.layers import ACTIVATIONS, Conv, DepthwiseConv, check_activation, check_odd, check_positive
from search_spaces.registry import ChannelMixer, make, register

NORM = Part.of("group_norm", eps=1e-6)


@register("inverted_residual")
class InvertedResidual(ChannelMixer):
    """norm(fc2(SiLU(DW(SiLU(fc1(norm x)))))), one-group norms, no biases. It has norms of its own, so a block leaves its norm out.

    Options:
        ratio: expansion (8, 8, 4, 4 by stage).
        kernel_size: of the depthwise convolution (3; Medium 5, 3, 5, 3).
        activation: silu (the paper's), gelu or relu.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        ratio: float = 4.0
        kernel_size: int = 3
        activation: str = "silu"

        def __post_init__(self) -> None:
            check_positive(ratio=self.ratio)
            check_odd(kernel_size=self.kernel_size)
            check_activation(self.activation)

    brings_norm = True
    part_options = ("activation",)
    examples = (Options(ratio=1.0), Options(ratio=1.5, kernel_size=5), Options())
    variants = (Options(ratio=1.0, activation="gelu"),)
    centred = {"conv.weight": (2, 3)}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        hidden = max(1, int(options.ratio * dim))
        self.activation = ACTIVATIONS[options.activation]
        self.norm1 = make("norm", NORM, dim)
        self.fc1 = Conv(dim, hidden, bias=False)
        self.conv = DepthwiseConv(hidden, options.kernel_size, bias=False)
        self.fc2 = Conv(hidden, dim, bias=False)
        self.norm2 = make("norm", NORM, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.norm2(self.fc2(self.activation(self.conv(self.activation(self.fc1(self.norm1(x)))))))

    def for_inference(self) -> nn.Module:
        return InPlace(self) if self.activation is F.silu else self


class InPlace(nn.Module):
    """The same with activations in the memory of their inputs."""

    def __init__(self, ffn: InvertedResidual) -> None:
        super().__init__()
        self.norm1, self.fc1, self.conv, self.fc2, self.norm2 = ffn.norm1, ffn.fc1, ffn.conv, ffn.fc2, ffn.norm2

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = F.silu(self.fc1(self.norm1(x)), inplace=True)
        return self.norm2(self.fc2(F.silu(self.conv(y), inplace=True)))

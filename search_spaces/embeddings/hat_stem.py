"""HAT-Net's stem (HAT-Net, section 3.3; details from the authors' code)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.architecture import Part
from search_spaces.layers import ACTIVATIONS, Conv, check_activation
from search_spaces.registry import Embedding, make, register

MIDDLE = 16


@register("hat_stem")
class HATStem(Embedding):
    """conv3x3 stride 2 to 16 channels, group norm (1 group), SiLU, conv3x3 stride 2; biases. The output side is ceil(side / 4).

    Options:
        activation: silu (the paper's), gelu or relu.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        activation: str = "silu"

        def __post_init__(self) -> None:
            check_activation(self.activation)

    part_options = ("activation",)
    examples = (Options(),)
    variants = (Options(activation="gelu"),)
    stride = 4

    def __init__(self, in_dim: int, dim: int, options: Options) -> None:
        super().__init__(in_dim, dim, options)
        self.activation = ACTIVATIONS[options.activation]
        self.conv1 = Conv(in_dim, MIDDLE, 3, stride=2)
        self.norm = make("norm", Part.of("group_norm", eps=1e-6), MIDDLE)
        self.conv2 = Conv(MIDDLE, dim, 3, stride=2)

    def forward(self, x: Float[Tensor, "b in h w"]) -> Float[Tensor, "b c h2 w2"]:
        return self.conv2(self.activation(self.norm(self.conv1(x))))

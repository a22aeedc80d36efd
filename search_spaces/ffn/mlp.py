"""The plain channel MLP of a transformer block (arXiv:1706.03762)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.layers import ACTIVATIONS, Conv, check_activation, check_positive
from search_spaces.registry import ChannelMixer, register


@register("mlp")
class MLP(ChannelMixer):
    """fc2(activation(fc1(x))), with biases; int(ratio * dim) hidden channels, the first of the shared ones.

    Options:
        ratio: expansion.
        activation: gelu, relu or silu.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        ratio: float = 4.0
        activation: str = "gelu"

        def __post_init__(self) -> None:
            check_positive(ratio=self.ratio)
            check_activation(self.activation)

    examples = (Options(ratio=1.0), Options(ratio=1.5, activation="silu"), Options())

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        hidden = max(1, int(options.ratio * dim))
        self.activation = ACTIVATIONS[options.activation]
        self.fc1 = Conv(dim, hidden)
        self.fc2 = Conv(hidden, dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.fc2(self.activation(self.fc1(x)))

"""No position encoding."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.registry import Position, register


@register("none")
class NoPosition(Position):
    """Leaves its input as it is."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x

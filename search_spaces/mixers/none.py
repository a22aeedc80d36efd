"""No token mixer: the block has its channel mixer only (MAT's first two stages, dissertation, table 4.2)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.registry import TokenMixer, register


@register("none")
class NoMixer(TokenMixer):
    """A block with it has no norm and no scale for the mixer's branch either."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)
    is_absent = True

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x  # never called by a block

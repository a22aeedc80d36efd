"""The identity as a token mixer: the baseline of EMSNet's ablation (dissertation, table 3.5)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from search_spaces.registry import TokenMixer, register


@register("identity")
class Identity(TokenMixer):
    """Mixes nothing: the block adds its normalised features to its features."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x

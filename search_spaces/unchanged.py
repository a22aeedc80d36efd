"""Parts that do nothing: no mixing, no norm, no position encoding, no scale.

There is one of each kind because an architecture names a part for every slot, and its file says `none` where there is nothing. Of a mixer
there are two: `none` leaves out the branch, with its norm and scale; `identity` keeps it, and adds the normalised features.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class NoOptions:
    """The options of a part that has none."""


class Unchanged:
    """What such a part does."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Its input."""
        return x

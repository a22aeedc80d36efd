"""Batch normalisation (arXiv:1502.03167)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.registry import Norm, register


@register("batch_norm")
class BatchNorm(Norm):
    """Mean 0 and variance 1 of each channel over the batch, then scale and shift; eps 1e-5, momentum 0.1.

    Running statistics belong to one sub-network: a supernet's are recomputed for each candidate.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        pass

    examples = (Options(),)

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.norm(x)

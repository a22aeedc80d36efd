"""Group normalisation with one group: one mean and variance per image (arXiv:1803.08494). TransXNet and HAT-Net use it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import check_positive
from search_spaces.registry import Norm, register


@register("group_norm")
class GroupNorm(Norm):
    """Mean 0 and variance 1 over all channels and positions of an image, then scale and shift per channel.

    In a supernet the statistics of a slice run over its active channels only; nothing has to be recomputed per candidate.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        eps: float = 1e-5

        def __post_init__(self) -> None:
            check_positive(eps=self.eps)

    examples = (Options(),)
    unordered = ("eps",)

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.eps = options.eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.group_norm(x, 1, self.weight, self.bias, self.eps)

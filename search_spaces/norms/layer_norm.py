"""Layer normalisation of each token over its channels (arXiv:1607.06450)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import check_positive
from search_spaces.registry import Norm, register


@register("layer_norm")
class LayerNorm(Norm):
    """Mean 0 and variance 1 over the channels of each position, then scale and shift."""

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        eps: float = 1e-6

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
        return F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )

"""LayerScale: a learned factor per channel at the end of a residual branch (arXiv:2103.17239)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import check_positive
from search_spaces.registry import Scale, register


@register("layer_scale")
class LayerScale(Scale):
    """weight * x (+ bias). TransXNet starts the weight at 1e-5 and has a bias.

    At 1e-5 every mixer counts for nothing in a short training and all candidates rank alike: spaces for small budgets start
    it at 0.1 to 1, which is why `init` is an option.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        init: float = 1e-5
        bias: bool = True

        def __post_init__(self) -> None:
            check_positive(init=self.init)

    examples = (Options(bias=False), Options(init=0.5))
    unordered = ("init",)

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.weight = nn.Parameter(torch.full((dim,), options.init))
        self.bias = nn.Parameter(torch.zeros(dim)) if options.bias else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        y = x * self.weight[:, None, None]
        return y if self.bias is None else y + self.bias[:, None, None]

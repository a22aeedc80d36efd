"""Norm, global average pooling, linear classifier."""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Part
from search_spaces.errors import InputError
from search_spaces.registry import Head, check_norm, make, register


@register("linear_head")
class LinearHead(Head):
    """Linear(mean over positions of norm(x)): the norm comes before pooling, as in TransXNet.

    Options:
        norm: a registered normalisation.
        dropout: before the linear layer (HAT-Net has 0.2).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        norm: str = "layer_norm"
        dropout: float = 0.0

        def __post_init__(self) -> None:
            check_norm(self.norm)
            if not 0 <= self.dropout < 1:
                raise InputError(f"dropout is {self.dropout}", "from 0 up to, not including, 1", "dropout = 0.2")

    examples = (Options(norm="none"), Options(norm="group_norm"), Options(dropout=0.2))
    unordered = ("dropout",)
    part_options = ("norm",)

    def __init__(self, dim: int, num_classes: int, options: Options) -> None:
        super().__init__(dim, num_classes, options)
        self.dropout = options.dropout
        self.norm = make("norm", Part(options.norm), dim)
        self.linear = nn.Linear(dim, num_classes)
        nn.init.trunc_normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def features(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What is pooled."""
        return self.norm(x)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        pooled = F.adaptive_avg_pool2d(self.features(x), 1).flatten(1)
        return self.linear(F.dropout(pooled, self.dropout, self.training))

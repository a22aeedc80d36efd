"""Absolute position encoding: a learned vector for each place of the map (ViT, arXiv:2010.11929; LinGlo's ablation as in PVT)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.layers import check_positive, is_known, map_size
from search_spaces.registry import Position, register


@register("absolute")
class Absolute(Position):
    """x + table. PVT adds it once per stage, before the first block: let the other blocks have none.

    Each map size has a table of its own; on a map of another size it is resized by bicubic interpolation.

    Options:
        map_size: side of the map that the table is made for (56, 28, 14, 7 by stage at 224).
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        map_size: int = 14

        def __post_init__(self) -> None:
            check_positive(map_size=self.map_size)

    examples = (Options(map_size=4), Options(map_size=7))
    unordered = ("map_size",)
    undecayed = ("tables.*",)

    @classmethod
    def resized_options(cls, options: Options, side: int, new_side: int) -> Options:
        """A table that was made for the stage's map is made for its new one; one of another size stays what it is."""
        return replace(options, map_size=new_side) if options.map_size == side else options

    @classmethod
    def resized_tensors(
        cls, tensors: Mapping[str, Tensor], options: Options, new_options: Options
    ) -> Mapping[str, Tensor]:
        """The table for the new map."""
        (table,) = tensors.values()
        size = (new_options.map_size, new_options.map_size)
        found = F.interpolate(table[None], size=size, mode="bicubic", align_corners=False)[0]
        return {f"tables.{new_options.map_size}": found}

    def __init__(self, dim: int, options: Options) -> None:
        super().__init__(dim, options)
        self.map_size = options.map_size
        table = nn.init.trunc_normal_(torch.empty(dim, self.map_size, self.map_size), std=0.02)
        self.tables = nn.ParameterDict({str(self.map_size): nn.Parameter(table)})

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        table = self.tables[str(self.map_size)]
        h, w = map_size(x)
        if is_known(h == self.map_size) and is_known(w == self.map_size):
            return x + table
        return x + F.interpolate(table[None], size=(h, w), mode="bicubic", align_corners=False)

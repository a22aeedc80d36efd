"""OSRA's position bias (TransXNet, section III-B and eq. 4): a learned number for each head, query and key position of a stage."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.errors import unknown
from search_spaces.layers import ceil_div, check_positive, is_known, map_size, resize_grids
from search_spaces.registry import PositionBias, register

RESIZE = ("grid", "flat")


@register("dense_table")
class DenseTable(PositionBias):
    """One table (heads, queries, keys) for all blocks of the stage, zero at first, made for a map of `map_size` squared.

    Each map size and stride has a table of its own; only the number of heads is elastic. The paper calls it relative, but it knows no distances: it is a number for each pair of places. On a map of another size it
    is resized by bicubic interpolation, either way of `resize`:

    - "grid": query and key positions as the two-dimensional grids that they are, one after the other;
    - "flat": as the authors' code does, the matrix of queries by keys as if it were an image. What depends on a query's row
      survives this, what depends on its column does not; it is here because published figures away from 224 were made so.

    Options:
        num_heads: of the attention; blocks with fewer heads take the last ones, in blocks with more the first have no bias.
        map_size: side of the map of queries (56, 28, 14, 7 by stage at 224).
        sr_ratio: stride of the attention's reduction; the keys' grid has side ceil(map_size / sr_ratio).
        resize: "grid" or "flat".
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        num_heads: int = 1
        map_size: int = 14
        sr_ratio: int = 2
        resize: str = "grid"

        def __post_init__(self) -> None:
            check_positive(num_heads=self.num_heads, map_size=self.map_size, sr_ratio=self.sr_ratio)
            if self.resize not in RESIZE:
                raise unknown("resize", self.resize, RESIZE, 'resize = "{}"')

    examples = (Options(map_size=4), Options(num_heads=2, map_size=4, resize="flat"), Options(num_heads=3, map_size=7))
    unordered = ("map_size", "sr_ratio")

    trailing = {"tables.*": (0,)}
    undecayed = ("tables.*",)

    @classmethod
    def canonical_options(cls, options: Options, dims: tuple[int, ...], height: int, width: int) -> Options:
        """Nothing is resized on the map that the table is made for; `resize` is then what the authors' code has."""
        return replace(options, resize="flat") if height == width == options.map_size else options

    @classmethod
    def resized_options(cls, options: Options, side: int, new_side: int) -> Options:
        """A table that was made for the stage's map is made for its new one; one of another size stays what it is."""
        return replace(options, map_size=new_side) if options.map_size == side else options

    @classmethod
    def resized_tensors(
        cls, tensors: Mapping[str, Tensor], options: Options, new_options: Options
    ) -> Mapping[str, Tensor]:
        """The table for the new map; of as many heads as it has, which may be more than the options have."""
        (table,) = tensors.values()
        before, side = cls(replace(options, num_heads=table.shape[0])).to(table), new_options.map_size
        before.load_state_dict(tensors)
        with torch.no_grad():
            found = before(table.new_zeros(1, 1, side, side))
        return {f"tables.{cls(new_options).name}": found.reshape(table.shape[0], side**2, -1)}

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.map_size, self.sr_ratio, self.resize = options.map_size, options.sr_ratio, options.resize
        self.keys = ceil_div(options.map_size, options.sr_ratio)
        self.name = f"{options.map_size}_by_{self.keys}"
        table = torch.zeros(options.num_heads, options.map_size**2, self.keys**2)
        self.tables = nn.ParameterDict({self.name: nn.Parameter(table)})

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "heads h w h2 w2"]:
        h, w = map_size(x)
        size = (h, w, ceil_div(h, self.sr_ratio), ceil_div(w, self.sr_ratio))
        table = self.tables[self.name]
        heads, own = table.shape[0], (self.map_size, self.map_size, self.keys, self.keys)
        if all(is_known(side == made) for side, made in zip(size, own, strict=True)):
            # A copy: hooks on modules, such as those of torch's FLOP counter, take no output that is a parameter.
            return table.reshape(heads, *own).clone()
        if self.resize == "grid":
            return resize_grids(table.reshape(heads, *own), *size)
        flat = F.interpolate(table[None], size=(h * w, size[2] * size[3]), mode="bicubic", align_corners=False)
        return flat.squeeze(0).reshape(heads, *size)

"""Going through an architecture: its pieces in the order of the forward pass, each with the map that it gets.

Whoever only rewrites parts uses `Architecture.mapped`; what a piece is made of, `PieceSpec.parts` says.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from search_spaces.architecture import Architecture, Part
from search_spaces.costs.pieces import part_cost
from search_spaces.network import PieceSpec, pieces
from search_spaces.space import SearchSpace


class PieceAt(NamedTuple):
    """A piece where it stands.

    Args:
        name: in the network, such as "stages.0.blocks.1".
        spec: what it is built from.
        height, width: of its input map in pixels.
    """

    name: str
    spec: PieceSpec
    height: int
    width: int


_SIZES: dict[tuple[Part, int, int], tuple[int, int]] = {}


def size_after(embedding: Part, dims: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
    """Height and width of the map that an embedding gives. They do not depend on its channels, and so one count serves all of them."""
    key = embedding, height, width
    if key not in _SIZES:
        found = part_cost("embedding", embedding, dims, height, width)
        _SIZES[key] = found.height, found.width
    return _SIZES[key]


def walk(arch: Architecture) -> Iterator[PieceAt]:
    """Every piece of a complete architecture."""
    height = width = arch.resolution
    for name, spec in pieces(arch):
        yield PieceAt(name, spec, height, width)
        if spec.kind == "embedding" and isinstance(spec.what, Part):
            height, width = size_after(spec.what, (spec.dim, spec.out_dim), height, width)


def map_sides(arch: Architecture) -> list[int]:
    """Side of the maps of each stage in pixels."""
    return [behind.height for at, behind in pairwise(walk(arch)) if at.spec.kind == "embedding"]


def maps_of(space: SearchSpace) -> list[list[tuple[int, int]]]:
    """Heights and widths of the maps that members can have: of the images, then behind each stage's embedding."""
    found = [[(space.resolution, space.resolution)]]
    before: tuple[int, ...] = (space.in_channels,)
    for stage in space.stages:
        parts = [part for choice in stage.embedding for part in choice.members()]
        after = (size_after(part, (before[0], stage.width[0]), *size) for part in parts for size in found[-1])
        found.append(list(dict.fromkeys(after)))
        before = stage.width
    return found


def forget() -> None:
    """Forgets what is remembered; for tests that register parts."""
    _SIZES.clear()

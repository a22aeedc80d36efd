"""Canonical architectures: of all that are one function of the same weights at the same cost, one.

    canonical(arch) == canonical(other)        the two are known to be one function

Parts say which of their options matter beside the others on a map of some size (`PartModule.canonical_options`), and a block whose
branches both bring norms of their own has the norm `none`. What a part says holds for square maps of the architecture's resolution.
"""

from dataclasses import asdict, replace
from functools import cache, lru_cache

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.costs.pieces import part_cost
from search_spaces.network import children
from search_spaces.registry import lookup, options

NO_NORM = Part("none")
"""The norm of a block whose branches need none."""


@lru_cache(maxsize=200_000)
def canonical_part(kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> Part:
    """The part that stands for all that are the same function.

    Args:
        dims: as for `registry.make`.
        height, width: of its input map in pixels.

    Returns:
        The same object where the part is canonical. A part whose options are not complete gets no further ones.

    Raises:
        InputError: an unknown part or option, or a value that is not allowed.
    """
    given = options(kind, part)
    found = lookup(kind, part.name).canonical_options(given, dims, height, width)
    if found == given:
        return part
    values = asdict(found)
    return Part(part.name, tuple((key, values[key]) for key in part.values()))


@lru_cache(maxsize=100_000)
def canonical_block(block: Block, dim: int, height: int, width: int) -> Block:
    """The block that stands for all that are the same function on a map of `dim` channels."""

    def part(kind: str, part: Part) -> Part:
        return canonical_part(kind, part, (dim,), height, width)

    return Block(
        position=part("position", block.position),
        norm=part("norm", block.norm) if children(block)["norm"] else NO_NORM,
        mixer=part("mixer", block.mixer),
        ffn=part("ffn", block.ffn),
        scale=part("scale", block.scale),
    )


_SIZES: dict[tuple[Part, int, int], tuple[int, int]] = {}


def size_after(embedding: Part, dims: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
    """Height and width of the map that an embedding gives. They do not depend on its channels, and so one count serves all of them."""
    key = embedding, height, width
    if key not in _SIZES:
        found = part_cost("embedding", embedding, dims, height, width)
        _SIZES[key] = found.height, found.width
    return _SIZES[key]


def canonical_stage(stage: Stage, dim: int, height: int, width: int) -> tuple[Stage, int, int]:
    """The stage that stands for all that are the same function of a map of `dim` channels, and the size of the map that it gives."""
    dims, bias = (dim, stage.width), stage.position_bias
    embedding = canonical_part("embedding", stage.embedding, dims, height, width)
    height, width = size_after(embedding, dims, height, width)
    found = Stage(
        width=stage.width,
        embedding=embedding,
        blocks=tuple(canonical_block(block, stage.width, height, width) for block in stage.blocks),
        position_bias=bias and canonical_part("position_bias", bias, (), height, width),
    )
    return found, height, width


@lru_cache(maxsize=4096)
def canonical(arch: Architecture) -> Architecture:
    """The architecture that stands for all that are the same function at its resolution.

    Raises:
        InputError: an unknown part or option, or a value that is not allowed.
    """
    stages, dim, height, width = [], arch.in_channels, arch.resolution, arch.resolution
    for stage in arch.stages:
        found, height, width = canonical_stage(stage, dim, height, width)
        stages.append(found)
        dim = stage.width
    head = canonical_part("head", arch.head, (dim, arch.num_classes), height, width)
    return Architecture(
        in_channels=arch.in_channels,
        num_classes=arch.num_classes,
        resolution=arch.resolution,
        stages=tuple(stages),
        head=head,
    )


def for_resolution(arch: Architecture, resolution: int) -> Architecture:
    """The same network for images of another side; position tables that were made for its maps are made for the new ones."""
    stages, dim, side, new = [], arch.in_channels, arch.resolution, resolution
    for stage in arch.stages:
        dims = (dim, stage.width)
        side, new = size_after(stage.embedding, dims, side, side)[0], size_after(stage.embedding, dims, new, new)[0]
        bias = stage.position_bias and resized("position_bias", stage.position_bias, side, new)
        blocks = tuple(
            replace(block, position=resized("position", block.position, side, new)) for block in stage.blocks
        )
        stages.append(replace(stage, blocks=blocks, position_bias=bias))
        dim = stage.width
    return Architecture(
        in_channels=arch.in_channels, num_classes=arch.num_classes, resolution=resolution, stages=tuple(stages), head=arch.head
    )  # fmt: skip


@cache
def resized(kind: str, part: Part, side: int, new_side: int) -> Part:
    """A position encoding or bias in the same stage at another resolution: see `PartModule.resized_options`."""
    given = options(kind, part)
    found = lookup(kind, part.name).resized_options(given, side, new_side)
    if found == given:
        return part
    values = asdict(found)
    return Part(part.name, tuple((key, values[key]) for key in part.values()))


class PartRules:
    """What a space, which needs the standard library only, is told about its parts: see `search_spaces.space.Rules`."""

    def architecture(self, arch: Architecture) -> Architecture:
        return canonical(arch)

    def stage(self, stage: Stage, dim: int, height: int, width: int) -> Stage:
        return canonical_stage(stage, dim, height, width)[0]

    def part(self, kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> Part:
        return canonical_part(kind, part, dims, height, width)

    def size_after(self, embedding: Part, dims: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
        return size_after(embedding, dims, height, width)

    def needs_norm(self, kind: str, name: str) -> bool:
        part = lookup(kind, name)
        return not (part.brings_norm or (kind == "mixer" and part.is_absent))  # type: ignore[attr-defined]

    def resized(self, kind: str, part: Part, side: int, new_side: int) -> Part:
        return resized(kind, part, side, new_side)


RULES = PartRules()


def forget() -> None:
    """Forgets what is remembered; for tests that register parts."""
    for remembered in (canonical_part, canonical_block, canonical, resized):
        remembered.cache_clear()
    _SIZES.clear()

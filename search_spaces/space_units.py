"""The distinct units of a space: what has to be known so that whatever adds up over units is known of every member."""

import itertools
from collections.abc import Iterator

from search_spaces.architecture import Part
from search_spaces.space import NO_BIAS, SearchSpace, StageSpace, members
from search_spaces.units import NOTHING, Unit, canonical_unit, is_unit, output_size, takes_bias

Map = tuple[int, int, int]
"""Channels, height and width of a feature map."""


def space_units(space: SearchSpace) -> list[Unit]:
    """Every unit that a member can have, each once, in the order of the forward pass.

    Args:
        space: complete (`search_spaces.named.check`), with the channels, classes and resolution of its data.
    """
    return list(dict.fromkeys(_all(space)))


def _all(space: SearchSpace) -> Iterator[Unit]:
    maps: list[Map] = [(space.in_channels, space.resolution, space.resolution)]
    for stage in space.stages:
        after: list[Map] = []
        for (channels, height, width), part, dim in itertools.product(maps, members(stage.embedding), stage.width):
            embedding = canonical_unit("embedding", (part,), (channels, dim), height, width)
            yield embedding
            after.append((dim, *output_size(embedding)))
        maps = list(dict.fromkeys(after))
        for found in maps:
            yield from _behind_embedding(stage, *found)
    for (channels, height, width), part in itertools.product(maps, members(space.head)):
        yield canonical_unit("head", (part,), (channels, space.num_classes), height, width)


def _behind_embedding(stage: StageSpace, dim: int, height: int, width: int) -> Iterator[Unit]:
    """The units of a stage that get a map of `dim` channels and this size."""
    biases = [part for part in members(stage.position_bias) if part.name != NO_BIAS]
    yield from (canonical_unit("position_bias", (bias,), (dim,), height, width) for bias in biases)
    if not stage.depth[-1]:
        return
    positions, norms, mixers, ffns, scales = map(members, stage.blocks)
    yield from (
        canonical_unit("position", (part,), (dim,), height, width) for part in positions if part.name != NOTHING.name
    )
    may_lack_bias = not biases or any(choice.name == NO_BIAS for choice in stage.position_bias)
    for mixer in filter(is_unit, mixers):
        given: list[Part | None] = [*biases] if takes_bias(mixer) else []
        if may_lack_bias or not given:
            given.insert(0, None)
        for bias, norm, scale in itertools.product(given, norms, scales):
            yield canonical_unit("mixer", (norm, mixer, scale), (dim,), height, width, bias)
    for ffn, norm, scale in itertools.product(ffns, norms, scales):
        yield canonical_unit("ffn", (norm, ffn, scale), (dim,), height, width)

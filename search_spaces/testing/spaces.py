"""Spaces to try laws on: around one part, and those that come with the package for small images; and members of them.

A part stands in its space at the widths `WIDTHS`; options of different examples are combined wherever the part allows it.
"""

import dataclasses
import math
import random
from functools import cache
from typing import Any

from search_spaces import registry
from search_spaces.architecture import SLOTS, Architecture
from search_spaces.completing import completed
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.named import check, read_space, space_names
from search_spaces.space import PartChoice, SearchSpace, StageSpace

WIDTHS = (16, 32)

MANY = 100
"""Combinations of options of a part from which on `small` takes fewer of them."""


def name_of(space: SearchSpace) -> str:
    return space.name


def small(space: SearchSpace, resolution: int = 16) -> SearchSpace:
    """The same choices for small images and few classes; in a space for ImageNet, with at most two narrow widths and two depths, and of parts
    whose options combine in hundreds of ways only the first and the last value of each that is no word.
    """
    if space.resolution >= 128:
        resolution = 32
        stages = []
        for s, stage in enumerate(space.stages):
            width = (16 + 8 * s, 24 + 16 * s)[: len(stage.width)]
            blocks = tuple(tuple(map(_fewer, slot)) for slot in stage.blocks)
            stages.append(dataclasses.replace(stage, width=width, depth=(1, 2)[: len(stage.depth)], blocks=blocks))
        space = dataclasses.replace(space, stages=tuple(stages))
    return space.bind(min(3, space.in_channels), min(10, space.num_classes), min(resolution, space.resolution))


def _fewer(choice: PartChoice) -> PartChoice:
    """The same part with fewer numbers per option, where its options have hundreds of combinations."""
    if math.prod(len(values) for _, values in choice.options) < MANY:
        return choice
    kept = (
        (key, (values[0], values[-1]) if len(values) > 2 and not isinstance(values[0], str) else values)
        for key, values in choice.options
    )
    return PartChoice(choice.name, tuple(kept))


@cache
def named_spaces() -> list[SearchSpace]:
    """The spaces that come with the package, for small images. They are complete, and not checked again: `search_spaces.checking` builds parts
    of every kind, which takes seconds for all spaces.
    """
    return [small(completed(read_space(name))) for name in space_names()]


def shared_out(total: int) -> int:
    """The share of each named space in `total` trials, so that the tests of more spaces take no longer; 5 at least."""
    return max(5, total // len(space_names()))


FRAME = {
    "position": ("none", {}),
    "norm": ("layer_norm", {}),
    "mixer": ("depthwise_conv", {"kernel_size": 3}),
    "ffn": ("mlp", {"ratio": 1.0}),
    "scale": ("none", {}),
    "embedding": ("conv_downsampling", {"norm": "none", "kernel_size": 1}),
    "head": ("linear_head", {"norm": "none"}),
}
"""What stands in the other places of an `elastic_space`."""


@cache
def elastic_space(kind: str, name: str, examples: str = "examples") -> SearchSpace:
    """A space around one part: elastic width and depth, and the options of its examples, combined as far as the part allows.

    Args:
        examples: "examples", or "variants" for those of the part's further examples.
    """

    def space(values: dict[str, list[Any]]) -> SearchSpace:
        def slot(place: str) -> tuple[PartChoice, ...]:
            if place == kind:
                return (PartChoice(name, tuple((key, tuple(found)) for key, found in sorted(values.items()))),)
            part, options = FRAME[place]
            if place == "mixer" and kind == "position_bias":  # somebody has to use it
                part, options = "d_mixer", {"head_dim": 4, "sr_ratio": 2, "kernel_size": 3}
            return (PartChoice(part, tuple((key, (value,)) for key, value in sorted(options.items()))),)

        stage = StageSpace(
            width=WIDTHS,
            depth=(1, 2),
            embedding=slot("embedding"),
            blocks=tuple(slot(place) for place in SLOTS),
            position_bias=slot("position_bias") if kind == "position_bias" else (),
        )
        return check(
            SearchSpace(
                name=f"{kind}-{name}{'' if examples == 'examples' else f'-{examples}'}", about="", in_channels=2, num_classes=3, resolution=8,
                stages=(stage, dataclasses.replace(stage, depth=(0, 1))), head=slot("head"),
            )
        )  # fmt: skip

    first, *rest = (dataclasses.asdict(example) for example in getattr(registry.lookup(kind, name), examples))
    values = {key: [value] for key, value in first.items()}
    found = space(values)
    for example in rest:
        for key, value in example.items():
            if value not in values[key]:
                more = values | {key: [*values[key], value]}
                try:
                    found = space(more)
                except InputError:
                    continue
                values = more
    return found


def elastic_spaces() -> list[SearchSpace]:
    """One `elastic_space` for every registered part, and one for those with variants."""
    found = [(kind, name, part) for kind in registry.KINDS for name, part in registry.parts(kind).items()]
    variants = [elastic_space(kind, name, "variants") for kind, name, part in found if part.variants]
    return [elastic_space(kind, name) for kind, name, _ in found] + variants


def members(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Random members; the first two have the smallest and the largest choice everywhere."""
    rng = random.Random(seed)
    ends = [space.decode(tuple(pick(len(g.choices)) for g in space.genes)) for pick in (lambda n: 0, lambda n: n - 1)]
    return (ends + [space.sample(rng) for _ in range(count)])[:count]


@cache
def ends(space: SearchSpace) -> tuple[Architecture, Architecture]:
    """The members of least and of most cost."""
    return space.smallest(macs), space.largest(macs)

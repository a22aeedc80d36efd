"""Sizes that a space may have: far beyond use, and small enough that its choices can be listed. They are counted before any is listed.

What a value may be is what it may be in an architecture (`search_spaces.files.sizes`). Standard library only.
"""

import math
from typing import TYPE_CHECKING

from search_spaces.errors import InputError, quoted
from search_spaces.files import sizes
from search_spaces.files.sizes import (
    LARGEST_SIZE,
    MOST_BLOCKS,
    MOST_CHARACTERS,
    MOST_CLASSES,
    MOST_ITEMS,
    MOST_STAGES,
)

if TYPE_CHECKING:
    from search_spaces.choices import Slot
    from search_spaces.space.description import Description

MOST_CHOICES = 256
"""Values of one choice."""

MOST_PARTS = MOST_ITEMS
"""Parts that may stand in one place."""

MOST_MEMBERS = 10_000
"""Of one place: its parts, each with every combination of its options. Of the spaces that come with the package, the largest has 1,350."""

MOST_GENES = 40_000
"""Choices in all. The largest of ours has 1,406."""

MOST_BUILT = 20_000
"""Members of all places, with each of their widths. The largest of ours has 13,217."""

MOST_TEXT = 10_000
"""Characters of what a space says about itself."""

_ALLOWED, _INSTEAD = "a space whose networks can be built and searched", "fewer or smaller choices"


def refuse(where: str, what: str, most: int) -> InputError:
    """The error for more of something than there may be.

    Args:
        where: in the space.
    """
    return InputError(f"{where} has {what}, and at most {most:,} are read", _ALLOWED, _INSTEAD)


def check_count(where: str, count: int, what: str, most: int) -> None:
    """
    Raises:
        InputError: the space has more of something than it may.
    """
    if count > most:
        raise refuse(where, f"{quoted(count)} {what}", most)


def check_space(space: "Description", where: str) -> None:
    """
    Args:
        where: the file's name, for messages.

    Raises:
        InputError: the space is larger than any that could be used.
    """
    for count, what, most in (
        (len(space.stages), "stages", MOST_STAGES),
        (space.in_channels, "channels of the image", LARGEST_SIZE),
        (space.num_classes, "classes", MOST_CLASSES),
        (space.resolution, "pixels to a side of the image", LARGEST_SIZE),
        (len(space.name), "characters in its name", MOST_CHARACTERS),
        (len(space.about), "characters in about", MOST_TEXT),
        (sum(stage.depth[-1] for stage in space.stages), "blocks", MOST_BLOCKS),
    ):
        check_count(where, count, what, most)
    genes, built, before = _choices(space.head), 0, 1
    for number, stage in enumerate(space.stages):
        here = f"{where}: stage {number}"
        check_count(here, stage.width[-1], "channels", LARGEST_SIZE)
        blocks = [_members(slot, here) for slot in stage.blocks]
        genes += 2 + _choices(stage.embedding) + _choices(stage.position_bias)
        genes += stage.depth[-1] * sum(map(_choices, stage.blocks))
        built += _members(stage.embedding, here) * before * len(stage.width) + _members(stage.position_bias, here)
        built += sum(blocks) * len(stage.width)
        before = len(stage.width)
    built += _members(space.head, f"{where}: head") * before
    check_count(where, genes, "choices", MOST_GENES)
    check_count(where, built, "parts to build, counting each combination of options and widths", MOST_BUILT)


def _choices(slot: "Slot") -> int:
    """How many choices a place has at most."""
    return 1 + sum(len(choice.options) for choice in slot)


def _members(slot: "Slot", where: str) -> int:
    """How many parts may stand in a place, with each combination of their options; they are not listed."""
    found = 0
    for choice in slot:
        single = (((key, value),) for key, values in choice.options for value in values)
        for options in (*single, tuple((key, 0) for key, _ in choice.options)):
            try:
                sizes.check_part(choice.name, options, where)
            except InputError as error:  # which speaks to whoever has an architecture
                raise InputError(error.given, _ALLOWED, _INSTEAD) from None
        found += math.prod(len(values) for _, values in choice.options)
    check_count(where, found, "parts in one place, counting each combination of options", MOST_MEMBERS)
    return found

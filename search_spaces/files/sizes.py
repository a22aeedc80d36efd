"""Sizes that the architecture of a stranger may have: far beyond use, and small enough to be looked at. Standard library only."""

from typing import Any

from search_spaces.architecture import Architecture, Part
from search_spaces.errors import InputError
from search_spaces.files.plain import shortened

MOST_STAGES = 64
MOST_BLOCKS = 4096
"""In all stages."""

MOST_CLASSES = 1_000_000

LARGEST_SIZE = 65_536
"""Of a width, of the channels or the side of an image, and of a number among the options of a part."""

MOST_ITEMS = 64
"""Of a list among the options of a part."""

MOST_CHARACTERS = 200
"""Of a name, and of a text among the options of a part."""

_ALLOWED = "a network of a size that can be used"
_INSTEAD = "the file as `nas extract` wrote it"


def _refuse(what: str, most: int) -> InputError:
    return InputError(f"the architecture has {what}, and at most {most:,} are read", _ALLOWED, _INSTEAD)


def check_sizes(arch: Architecture) -> None:
    """
    Raises:
        InputError: the architecture is larger than any that could be used.
    """
    blocks = [block for stage in arch.stages for block in stage.blocks]
    for count, what, most in (
        (len(arch.stages), "stages", MOST_STAGES),
        (len(blocks), "blocks", MOST_BLOCKS),
        (arch.num_classes, "classes", MOST_CLASSES),
        (arch.in_channels, "channels of the image", LARGEST_SIZE),
        (arch.resolution, "pixels to a side of the image", LARGEST_SIZE),
        (max((stage.width for stage in arch.stages), default=1), "channels in a stage", LARGEST_SIZE),
    ):
        if count > most:
            raise _refuse(f"{shortened(count)} {what}", most)
    if not arch.stages:
        raise InputError("the architecture has no stages", "one or more stages", _INSTEAD)
    parts = {arch.head, *(part for block in blocks for part in block.parts())}
    for stage in arch.stages:
        parts |= {stage.embedding} | ({stage.position_bias} if stage.position_bias else set())
    for part in parts:
        _check_part(part)


def _check_part(part: Part) -> None:
    if len(part.name) > MOST_CHARACTERS or len(part.options) > MOST_ITEMS:
        raise _refuse(f"a part {shortened(part.name)} with {len(part.options):,} options", MOST_ITEMS)
    for key, value in part.options:
        if len(key) > MOST_CHARACTERS:
            raise _refuse(f"an option {shortened(key)} of a name of {len(key):,} characters", MOST_CHARACTERS)
        _check_value(value, f"{shortened(part.name)} with {shortened(key)} = {shortened(value)}")


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, str):
        if len(value) > MOST_CHARACTERS:
            raise _refuse(f"{where}: a text of {len(value):,} characters", MOST_CHARACTERS)
    elif isinstance(value, tuple):
        if len(value) > MOST_ITEMS:
            raise _refuse(f"{where}: a list of {len(value):,} items", MOST_ITEMS)
        for item in value:
            _check_value(item, where)
    elif abs(value) > LARGEST_SIZE:
        raise _refuse(where, LARGEST_SIZE)

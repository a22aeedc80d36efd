"""Sizes that the architecture of a stranger may have: far beyond use, and small enough to be looked at. Standard library only."""

from collections.abc import Iterable

from search_spaces.architecture import Architecture, Value
from search_spaces.errors import InputError, quoted

MOST_STAGES = 64
MOST_BLOCKS = 256
"""In all stages. `nas cost`, which counts in three ways, takes 15 to 110 ms for each of them on the machine of the tests."""

MOST_CLASSES = 1_000_000

LARGEST_SIZE = 65_536
"""Of a width, of the channels or the side of an image, and of a number among the options of a part."""

MOST_ITEMS = 64
"""Of a list among the options of a part."""

MOST_CHARACTERS = 200
"""Of a name, and of a text among the options of a part."""

_OWNER = "the architecture"
_ALLOWED = "a network of a size that can be used"
_INSTEAD = "the file as `nas extract` wrote it"


def _refuse(what: str, most: int, owner: str = _OWNER) -> InputError:
    return InputError(f"{owner} has {what}, and at most {most:,} are read", _ALLOWED, _INSTEAD)


def check_counts(stages: int, blocks: int) -> None:
    """
    Raises:
        InputError: more stages, or blocks in all of them, than any network that could be used has.
    """
    for count, what, most in ((stages, "stages", MOST_STAGES), (blocks, "blocks", MOST_BLOCKS)):
        if count > most:
            raise _refuse(f"{quoted(count)} {what}", most)


def check_sizes(arch: Architecture) -> None:
    """
    Raises:
        InputError: the architecture is larger than any that could be used.
    """
    blocks = [block for stage in arch.stages for block in stage.blocks]
    check_counts(len(arch.stages), len(blocks))
    for count, what, most in (
        (arch.num_classes, "classes", MOST_CLASSES),
        (arch.in_channels, "channels of the image", LARGEST_SIZE),
        (arch.resolution, "pixels to a side of the image", LARGEST_SIZE),
        (max((stage.width for stage in arch.stages), default=1), "channels in a stage", LARGEST_SIZE),
    ):
        if count > most:
            raise _refuse(f"{quoted(count)} {what}", most)
    if not arch.stages:
        raise InputError("the architecture has no stages", "one or more stages", _INSTEAD)
    parts = {arch.head, *(part for block in blocks for part in block.parts())}
    for stage in arch.stages:
        parts |= {stage.embedding} | ({stage.position_bias} if stage.position_bias else set())
    for part in parts:
        check_part(part.name, part.options)


def check_part(name: str, options: Iterable[tuple[str, Value]], owner: str = _OWNER) -> None:
    """
    Args:
        name, options: of a part.
        owner: has the part, for messages.

    Raises:
        InputError: a name or a value is longer or larger than any that could be used.
    """
    options = tuple(options)
    if len(name) > MOST_CHARACTERS or len(options) > MOST_ITEMS:
        raise _refuse(f"a part {quoted(name)} with {len(options):,} options", MOST_ITEMS, owner)
    for key, value in options:
        if len(key) > MOST_CHARACTERS:
            raise _refuse(f"an option {quoted(key)} of a name of {len(key):,} characters", MOST_CHARACTERS, owner)
        _check_value(value, f"{quoted(name)} with {quoted(key)} = {quoted(value)}", owner)


def _check_value(value: Value, where: str, owner: str) -> None:
    if isinstance(value, str):
        if len(value) > MOST_CHARACTERS:
            raise _refuse(f"{where}: a text of {len(value):,} characters", MOST_CHARACTERS, owner)
    elif isinstance(value, tuple):
        if len(value) > MOST_ITEMS:
            raise _refuse(f"{where}: a list of {len(value):,} items", MOST_ITEMS, owner)
        for item in value:
            _check_value(item, where, owner)
    elif abs(value) > LARGEST_SIZE:
        raise _refuse(where, LARGEST_SIZE, owner)

"""A space as the text of a TOML file, as a person would write it: `SearchSpace.from_toml(to_toml(space)) == space`.

Standard library only.
"""

import json
import re
from collections.abc import Iterable

from search_spaces.architecture import SLOTS, Value
from search_spaces.space import PartChoice, SearchSpace, Slot, StageSpace

_BARE = re.compile("[A-Za-z0-9_-]+")


def to_toml(space: SearchSpace, comment: str = "") -> str:
    """The text of a space's file. What all stages offer in a slot of their blocks stands once, in [block].

    Args:
        comment: lines that stand first, behind a number sign each.
    """
    shared = {
        slot: choices
        for slot, choices in zip(SLOTS, space.stages[0].blocks, strict=True)
        if all(stage.blocks[SLOTS.index(slot)] == choices for stage in space.stages)
    }
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines += [
        f"name = {_text(space.name)}",
        f"about = {_text(space.about)}",
        f"in_channels = {space.in_channels}",
        f"num_classes = {space.num_classes}",
        f"resolution = {space.resolution}",
        *_slot("head", space.head),
        *([f"per_network = [{', '.join(map(_text, space.per_network))}]"] if space.per_network else []),
    ]
    if shared:
        lines += ["", "[block]"]
        for slot, choices in shared.items():
            lines += _slot(slot, choices)
    for stage in space.stages:
        lines += ["", "[[stages]]", *_stage(stage, shared)]
    return "\n".join(lines) + "\n"


def _stage(stage: StageSpace, shared: Iterable[str]) -> list[str]:
    lines = [f"width = {list(stage.width)}", f"depth = {list(stage.depth)}", *_slot("embedding", stage.embedding)]
    if stage.position_bias:
        lines += _slot("position_bias", stage.position_bias)
    for slot, choices in zip(SLOTS, stage.blocks, strict=True):
        if slot not in shared:
            lines += _slot(slot, choices)
    if stage.per_stage:
        lines.append(f"per_stage = [{', '.join(map(_text, stage.per_stage))}]")
    return lines


def _slot(name: str, slot: Slot) -> list[str]:
    if len(slot) == 1:
        return [f"{name} = {_choice(slot[0])}"]
    return [f"{name} = [", *(f"    {_choice(choice)}," for choice in slot), "]"]


def _choice(choice: PartChoice) -> str:
    items = [f"part = {_text(choice.name)}"]
    for key, values in choice.options:
        alone = len(values) == 1 and not isinstance(values[0], tuple)
        items.append(f"{_key(key)} = {_value(values[0] if alone else values)}")
    return f"{{ {', '.join(items)} }}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(text: str) -> str:
    """A basic string: the escapes of JSON are those of TOML, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

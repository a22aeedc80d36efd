"""One architecture, changed in a few places that a table of changes names.

    stages.2.mixer.attention_ratio = 0.25       an option of every block of stage 2, counted from 0 as in arch.json
    stages.all.ffn = { part = "mlp", ratio = 4 }  another component, in all stages
    stages.0.blocks.1.mixer.part = "pooling"    of one block
    stages.3.width = 512, stages.3.depth = 4    of a stage; a deeper stage repeats its last block
    stages.1.position_bias = "none"             without the bias of a stage
    head.part = "linear_head"

A table that names a part replaces the component with all its options; one that does not changes the options that it names.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from search_spaces.architecture import SLOTS, Architecture, Block, Part, Stage
from search_spaces.errors import InputError, unknown

ALL, NONE = "all", "none"

DEEPEST = 1000
"""Blocks of a stage that a change may ask for."""


def changed(arch: Architecture, changes: Mapping[str, Any]) -> Architecture:
    """The architecture with these changes. Whether its sizes fit shows when it is counted.

    Raises:
        InputError: a change names a place that there is not, or is of the wrong kind.
    """
    _known(changes, ("stages", "head"), "")
    if "head" in changes:
        arch = replace(arch, head=_part(arch.head, changes["head"], "head"))
    stages = list(arch.stages)
    of_stages = _table(changes.get("stages", {}), "stages")
    for name in sorted(
        of_stages, key=lambda name: name != ALL
    ):  # what is said of one stage goes before what is said of all
        for s in _numbers(name, len(stages), "stages"):
            stages[s] = _stage(stages[s], _table(of_stages[name], f"stages.{name}"), f"stages.{name}")
    return replace(arch, stages=tuple(stages))


def _stage(stage: Stage, changes: Mapping[str, Any], where: str) -> Stage:
    _known(changes, ("width", "depth", "embedding", "position_bias", "blocks", *SLOTS), where)
    width = _whole(changes.get("width", stage.width), f"{where}.width", 10**6)
    blocks = _deepened(stage.blocks, _whole(changes.get("depth", len(stage.blocks)), f"{where}.depth", DEEPEST))
    for slot in SLOTS:
        if slot in changes:
            blocks = tuple(_block(block, {slot: changes[slot]}, where) for block in blocks)
    of_blocks = _table(changes.get("blocks", {}), f"{where}.blocks")
    for name in sorted(of_blocks, key=lambda name: name != ALL):
        here = f"{where}.blocks.{name}"
        for b in _numbers(name, len(blocks), f"{where}.blocks"):
            blocks = (*blocks[:b], _block(blocks[b], _table(of_blocks[name], here), here), *blocks[b + 1 :])
    embedding = _part(stage.embedding, changes.get("embedding", {}), f"{where}.embedding")
    return replace(stage, width=width, embedding=embedding, blocks=blocks, position_bias=_bias(stage, changes, where))


def _bias(stage: Stage, changes: Mapping[str, Any], where: str) -> Part | None:
    given = changes.get("position_bias", {})
    if given == NONE or (isinstance(given, Mapping) and given.get("part") == NONE):
        return None
    if not given:
        return stage.position_bias
    if stage.position_bias is None and not (isinstance(given, str) or "part" in given):
        raise InputError(
            f"{where}.position_bias changes options, and the stage has none",
            "a table with a part",
            f'{where}.position_bias.part = "dense_table"',
        )
    return _part(stage.position_bias or Part(NONE), given, f"{where}.position_bias")


def _deepened(blocks: tuple[Block, ...], depth: int) -> tuple[Block, ...]:
    """The first so many blocks; the last again where there are not enough."""
    if not blocks and depth:
        raise InputError("a stage without blocks cannot be made deeper", "depth = 0", "another stage")
    return blocks[:depth] + blocks[-1:] * (depth - len(blocks))


def _block(block: Block, changes: Mapping[str, Any], where: str) -> Block:
    _known(changes, SLOTS, where)
    parts = {slot: _part(getattr(block, slot), change, f"{where}.{slot}") for slot, change in changes.items()}
    return replace(block, **parts)


def _part(part: Part, change: Any, where: str) -> Part:
    if isinstance(change, str):
        return Part(change)
    table = _table(change, where)
    if "part" in table:
        return Part.from_dict(table)
    return Part.of(part.name, **(part.values() | dict(table)))


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"{where} is {str(value)[:80]!r}", "a table of changes", f"{where}.KEY = VALUE")
    return value


def _known(changes: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in changes:
        if key not in known:
            raise unknown(
                f"change {f'of {where}' if where else 'of a network'}:", key, known, f"{where}.{{}}".lstrip(".")
            )


def _numbers(name: str, count: int, where: str) -> list[int]:
    """The places that a key names: one, or all."""
    if name == ALL:
        return list(range(count))
    if not name.isdecimal() or len(name) > 4 or int(name) >= count:
        raise InputError(
            f"{where}.{name} does not exist",
            f"{where}.0 to {where}.{count - 1}, or {where}.{ALL}",
            f"{where}.{count - 1}",
        )
    return [int(name)]


def _whole(value: Any, where: str, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise InputError(f"{where} is {str(value)[:80]!r}", f"a whole number from 1 to {most:,}", f"{where} = 64")
    return value

"""The format of a space's file: what its keys may be, and the messages where they are something else."""

import json
from collections.abc import Mapping
from typing import Any

from search_spaces.architecture import SLOTS, _freeze, _thaw
from search_spaces.choices import PartChoice, Slot, StageSpace
from search_spaces.errors import InputError, quoted, unknown
from search_spaces.files.sizes import LARGEST_SIZE, MOST_BLOCKS, MOST_STAGES
from search_spaces.space.sizes import MOST_CHOICES, MOST_PARTS, check_count

TOP = ("name", "about", "in_channels", "num_classes", "resolution", "head", "block", "stages", "per_network")
"""The keys of a space."""


def parsed(data: Any, where: str) -> dict[str, Any]:
    """The arguments of a `SearchSpace` from what its file says.

    Args:
        data: as TOML gives it.
        where: the file's name, for messages.

    Raises:
        InputError: not a space; the message names the key.
    """
    data = _keys(data, where, TOP, ("name", "stages", "head"))
    defaults = _keys(data.get("block", {}), f"{where}: block", SLOTS, ())
    if not isinstance(data["stages"], list) or not data["stages"]:
        raise InputError(f"{where} has no stages", "one table [[stages]] for each stage", "[[stages]]")
    check_count(where, len(data["stages"]), "stages", MOST_STAGES)
    stages = [_stage(raw, f"{where}: stage {number}", defaults) for number, raw in enumerate(data["stages"])]
    return {
        "name": str(data["name"]),
        "about": str(data.get("about", "")),
        "in_channels": _number(data.get("in_channels", 3), f"{where}.in_channels"),
        "num_classes": _number(data.get("num_classes", 1000), f"{where}.num_classes"),
        "resolution": _number(data.get("resolution", 224), f"{where}.resolution"),
        "stages": tuple(stages),
        "head": _slot(data["head"], f"{where}.head"),
        "per_network": per_network(data.get("per_network", []), f"{where}: per_network", stages),
    }


def _stage(raw: Any, here: str, defaults: Mapping[str, Any]) -> StageSpace:
    required = ("width", "depth", "embedding", *(slot for slot in SLOTS if slot not in defaults))
    table = _keys(raw, here, ("width", "depth", "embedding", "per_stage", "position_bias", *SLOTS), required)
    blocks = tuple(_slot(table.get(slot, defaults.get(slot)), f"{here}.{slot}") for slot in SLOTS)
    ties = _ties(table.get("per_stage", []), f"{here}.per_stage", _offered(blocks))
    return StageSpace(
        width=_numbers(table["width"], f"{here}.width", 1, LARGEST_SIZE),
        depth=_numbers(table["depth"], f"{here}.depth", 0, MOST_BLOCKS),
        embedding=_slot(table["embedding"], f"{here}.embedding"),
        blocks=blocks,
        per_stage=ties,
        position_bias=_slot(table["position_bias"], f"{here}.position_bias") if "position_bias" in table else (),
    )


def _choice(data: Any, where: str) -> PartChoice:
    if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
        raise InputError(f"{where} has {quoted(data)}", 'tables with the key "part"', f'{where} = [{{ part = "..." }}]')
    options = []
    for key, value in sorted(data.items()):
        if key == "part":
            continue
        given = value if isinstance(value, list) else [value]
        check_count(f"{quoted(f'{where}.{key}')[1:-1]}", len(given), "values", MOST_CHOICES)
        values = tuple(_freeze(v, f"{where}.{key}") for v in given)
        if not values or len(set(values)) != len(values):
            once = ", ".join(json.dumps(_thaw(v)) for v in dict.fromkeys(values))
            raise InputError(
                f"{where}.{key} is {quoted(value)}",
                "at least one value, each once",
                f"{key} = [{once}]" if once else f"leave {key} out, which takes its default",
            )
        options.append((key, values))
    return PartChoice(data["part"], tuple(options))


def _slot(data: Any, where: str) -> Slot:
    given = data if isinstance(data, list) else [data]
    check_count(where, len(given), "parts", MOST_PARTS)
    choices = tuple(_choice(item, where) for item in given)
    names = [choice.name for choice in choices]
    if not choices or len(set(names)) != len(names):
        raise InputError(
            f"{where} offers {quoted(names)}",
            "at least one part, each once",
            "give one part several values for its options",
        )
    return choices


def _numbers(data: Any, where: str, least: int, most: int) -> tuple[int, ...]:
    values = tuple(data) if isinstance(data, list) else (data,)
    check_count(where, len(values), "values", MOST_CHOICES)
    whole = [v for v in values if type(v) is int and least <= v <= most]
    if not values or len(whole) < len(values) or whole != sorted(set(whole)):
        usable = sorted(set(whole)) or ([16, 32] if least else [1, 2])
        raise InputError(
            f"{where} is {quoted(data)}",
            f"ascending whole numbers from {least} to {most:,}",
            f"{where.split('.')[-1]} = {usable}",
        )
    return values


def _number(data: Any, where: str) -> int:
    if type(data) is not int or not 1 <= data <= 10**9:
        raise InputError(
            f"{where} is {quoted(data)}", f"one whole number from 1 to {10**9:,}", f"{where.split('.')[-1]} = 3"
        )
    return data


def _keys(data: Any, where: str, known: tuple[str, ...], required: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InputError(f"{where} is {quoted(data)}", "a table", f"[{where}]")
    for key in data:
        if key not in known:
            raise unknown(f"key in {where}:", key, known, "{} = ...")
    for key in required:
        if key not in data:
            raise InputError(f"{where} lacks {key}", f"the keys {', '.join(known)}", f"{key} = ...")
    return data


def _offered(blocks: tuple[Slot, ...]) -> dict[str, tuple[Any, ...]]:
    """What may be tied over blocks, and what each of them may be: slots, and options of parts."""
    found: dict[str, tuple[Any, ...]] = dict(zip(SLOTS, blocks, strict=True))
    for slot, choices in zip(SLOTS, blocks, strict=True):
        found |= {f"{slot}.{c.name}.{key}": values for c in choices for key, values in c.options}
    return found


def _ties(data: Any, where: str, allowed: Mapping[str, Any]) -> tuple[str, ...]:
    key = where.rpartition(" ")[2].rpartition(".")[2]
    if not isinstance(data, list) or not all(isinstance(tie, str) for tie in data):
        raise InputError(f"{where} is {quoted(data)}", "a list of names", f'{key} = ["ffn"]')
    for tie in data:
        if tie not in allowed:
            raise unknown(f"entry of {where}:", tie, allowed, f'{key} = ["{{}}"]')
    return tuple(sorted(data))


def per_network(data: Any, where: str, stages: list[StageSpace]) -> tuple[str, ...]:
    """The choices that are made once for all stages, which therefore have to offer the same."""
    offered = [_offered(stage.blocks) if stage.depth[-1] else {} for stage in stages]
    ties = _ties(data, where, {tie: None for found in offered for tie in found})
    for tie in ties:
        different = list(dict.fromkeys(found[tie] for found in offered if tie in found))
        if len(different) > 1:
            raise InputError(
                f"{where} has {tie!r}, of which stages offer different choices",
                "the same choices, in the same order, in every stage that has it",
                f'per_stage = ["{tie}"] in each stage, or the same list in all of them',
            )
    return ties

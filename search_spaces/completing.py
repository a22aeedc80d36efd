"""A space with every option of every part written out, and checked against the registered parts.

Training takes the last value of an option as the largest: the teacher of the sandwich has it (`supernet.sampling`). A space therefore
lists values from the smallest to the largest, as `check_order` says.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from search_spaces.additions import is_left_out
from search_spaces.architecture import SLOTS, Part, Value, _thaw
from search_spaces.canonical import RULES
from search_spaces.checking import check_build, some_members
from search_spaces.errors import InputError, unknown
from search_spaces.files.made import MOST_MODULES, MOST_NUMBERS, MOST_TENSORS, Made, check_made
from search_spaces.registry import complete_part, lookup
from search_spaces.space import NO_BIAS, PartChoice, SearchSpace, Slot, StageSpace, check_ties

MOST = Made(4 * MOST_NUMBERS, 10 * MOST_TENSORS, 10 * MOST_MODULES)
"""Of the supernet of a space, which has every part of each place."""

MANY = 100
"""Combinations of a part's options, above which not all of them are built before a run."""


def completed(space: SearchSpace) -> SearchSpace:
    """The same space with every option of every part written out, but for those that are left out at their default.

    Raises:
        InputError: an unknown part or option, a value that is not allowed, or values that do not ascend.
    """
    stages = tuple(_stage(space, number, stage) for number, stage in enumerate(space.stages))
    found = replace(
        space,
        stages=stages,
        head=_slot(space, "head", space.head, "head"),
        per_network=_kept(space.per_network, [stage.blocks for stage in stages]),
        rules=RULES,
    )
    check_ties(found)
    return found


def _stage(space: SearchSpace, number: int, stage: StageSpace) -> StageSpace:
    here = f"stages.{number}"
    blocks = tuple(_slot(space, kind, slot, f"{here}.{kind}") for kind, slot in zip(SLOTS, stage.blocks, strict=True))
    return replace(
        stage,
        embedding=_slot(space, "embedding", stage.embedding, f"{here}.embedding"),
        blocks=blocks,
        per_stage=_kept(stage.per_stage, [blocks]),
        position_bias=_slot(space, "position_bias", stage.position_bias, f"{here}.position_bias"),
    )


def _slot(space: SearchSpace, kind: str, slot: Slot, where: str) -> Slot:
    try:
        return tuple(_choice(kind, choice) for choice in slot)
    except InputError as error:
        raise _located(error, where, space) from None


def _located(error: InputError, where: str, space: SearchSpace) -> InputError:
    return InputError(f"{where} of space {space.name}: {error.given}", error.allowed, error.instead)


def _choice(kind: str, choice: PartChoice) -> PartChoice:
    if (kind, choice.name) == ("position_bias", NO_BIAS):
        if choice.options:
            raise unknown("option of position bias 'none':", choice.options[0][0], ["part"], "{} = ...")
        return choice
    merged: dict[str, list[Value]] = {}
    for member in choice.members():
        for key, value in complete_part(kind, member).values().items():
            merged.setdefault(key, [])
            if value not in merged[key]:
                merged[key].append(value)
    check_order(kind, choice)
    offered = [(key, tuple(values)) for key, values in merged.items()]
    # A choice with one value that members leave out is left out too, so that the space keeps its digest.
    offered = [(k, found) for k, found in offered if not all(is_left_out(choice.name, k, v) for v in found)]
    return PartChoice(choice.name, tuple(sorted(offered)))


def _kept(ties: tuple[str, ...], stages: list[tuple[Slot, ...]]) -> tuple[str, ...]:
    """The ties of slots, and of options that are not left out."""
    kept = {
        f"{kind}.{choice.name}.{key}"
        for blocks in stages
        for kind, choices in zip(SLOTS, blocks, strict=True)
        for choice in choices
        for key, _ in choice.options
    }
    return tuple(tie for tie in ties if tie in SLOTS or tie in kept)


def check_order(kind: str, choice: PartChoice) -> None:
    """Whether the values of each option stand from the smallest to the largest.

    Numbers ascend, false stands before true, and no list stands before a shorter one. Words have no order, and neither have options
    of which the part says so (`PartModule.unordered`).

    Raises:
        InputError: they do not.
    """
    unordered = lookup(kind, choice.name).unordered
    for key, values in choice.options:
        ranks = [_rank(value) for value in values]
        if key not in unordered and any(rank > following for rank, following in pairwise(ranks)):
            given = json.dumps([_thaw(value) for value in values])
            ascending = json.dumps([_thaw(value) for value in sorted(values, key=_rank)])
            raise InputError(
                f"{choice.name}.{key} is {given}",
                "values from the smallest to the largest, since training takes the last one as the largest",
                f"{key} = {ascending}",
            )


def _rank(value: Value) -> Any:
    """What the values of an option are ordered by; the same number for all words."""
    if isinstance(value, tuple):
        return len(value)
    return 0 if isinstance(value, str) else value


def check_built(space: SearchSpace) -> None:
    """Builds the parts of a completed space without weights: all members of a choice, some of one that has very many.

    Raises:
        InputError: sizes that no network can have, or a space whose supernet is larger than any that could be used.
    """
    largest: dict[tuple[str, str, str], tuple[int, Made]] = {}
    left = frozenset(_beyond(space))
    for where, copies, kind, part, dims, _ in space.buildable():
        if part in left:
            continue
        try:
            made = check_build(kind, part, dims)
        except InputError as error:
            raise _located(error, where, space) from error.__cause__
        place = where, kind, part.name
        if place not in largest or made.numbers > largest[place][1].numbers:
            largest[place] = copies, made
    # The supernet has the largest of each part in each place, and the largest network is not larger.
    found = largest.values()
    total = Made(*(sum(n * getattr(made, name) for n, made in found) for name in ("numbers", "tensors", "modules")))
    check_made(total, MOST, f"space {space.name}")


def _beyond(space: SearchSpace) -> Iterator[Part]:
    """The members of large choices that are not built: building all of them would take longer than the smallest searches."""
    for stage in space.stages:
        for slot in (stage.embedding, *stage.blocks):
            for choice in slot:
                if math.prod(len(values) for _, values in choice.options) > MANY:
                    yield from set(choice.members()) - set(some_members((choice,)))

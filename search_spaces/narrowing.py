"""Narrowing a space to limits on costs: choices that no feasible network can have are removed.

A choice is removed when a bound of `search_spaces.bounds` proves that every member which has it is outside a limit. Each removal may
raise the bounds of other choices, so this is repeated until nothing more can be removed. Blocks of a stage share their choices, and so
a choice stays when any block of the stage may have it.

What is left is a space of its own that has every feasible member of the old one. Most of its members may still be outside the limits:
a space is a product of choices, and a product cannot say that a network may be deep or wide but not both.

Costs that do not add up over units, such as activations, narrow nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace

from search_spaces.architecture import SLOTS, Value, _thaw
from search_spaces.bounds import Choice, Price, every_choice, least_totals, remembered
from search_spaces.costs import cost_named
from search_spaces.errors import OutsideBudget
from search_spaces.limits import Limits, outside
from search_spaces.space import PartChoice, SearchSpace, Slot, StageSpace

TOLERANCE = 1e-9
"""How far a bound has to be outside a limit, as a share of it: sums of floats depend on their order."""

_Test = tuple[Price, float, float]
"""A price, what every member costs beside its units, and the most that the total may be."""


def narrowed(space: SearchSpace, limits: Limits) -> SearchSpace:
    """The space without the choices that no member within the limits can have; the same object where there are none.

    The genes that are left have their names, and their choices the order that they had.

    Args:
        space: checked and bound to its data, whose resolution costs depend on.

    Raises:
        OutsideBudget: no member is within the limits; it has the nearest one that was found.
        InputError: there is no cost of a name.
    """
    tests = list(_tests(limits))
    now = space
    while doomed := {choice for test in tests for choice in _doomed(now, test)}:
        left = without(now, doomed)
        if left is None:
            raise OutsideBudget(space.nearest(outside(limits)))
        now = left
    return now


def _tests(limits: Limits) -> Iterator[_Test]:
    for name, (low, high) in limits.items():
        additive = cost_named(name).additive
        if additive is not None and high is not None:
            yield remembered(additive.of_unit), additive.base, high
        if additive is not None and low is not None and low > 0:  # costs are at least 0
            yield remembered(additive.of_unit, -1), -additive.base, -low


def _doomed(space: SearchSpace, test: _Test) -> Iterator[Choice]:
    price, base, most = test
    for choice, total in least_totals(space, price, base).items():
        if total > most + TOLERANCE * abs(most):
            yield choice


def without(space: SearchSpace, doomed: Collection[Choice]) -> SearchSpace | None:
    """The space without some choices; None where nothing is left of a list of them.

    What the stages share goes only where none of them may keep it, for they have to offer the same.
    """
    doomed = _of_all_stages(space, doomed) if space.per_network else doomed

    def keep(values: tuple[int, ...], number: int, place: str) -> tuple[int, ...]:
        return tuple(value for value in values if Choice(number, place, value=value) not in doomed)

    def kept_slot(slot: Slot, number: int, place: str) -> Slot:
        found = []
        for choice in slot:
            options = tuple(
                (key, tuple(v for v in values if Choice(number, place, choice.name, key, v) not in doomed))
                for key, values in choice.options
            )
            if Choice(number, place, choice.name) not in doomed and all(values for _, values in options):
                found.append(PartChoice(choice.name, options))
        return tuple(found)

    stages = []
    for number, stage in enumerate(space.stages):
        width, depth = keep(stage.width, number, "width"), keep(stage.depth, number, "depth")
        embedding = kept_slot(stage.embedding, number, "embedding")
        bias = kept_slot(stage.position_bias, number, "position_bias")
        blocks = stage.blocks
        if any(depth):  # a stage without blocks says all the same what they would be
            blocks = tuple(kept_slot(slot, number, name) for name, slot in zip(SLOTS, blocks, strict=True))
        if not all((width, depth, embedding, *blocks, bias or not stage.position_bias)):
            return None
        stages.append(
            StageSpace(
                width=width, depth=depth, embedding=embedding, blocks=blocks, per_stage=_ties(stage.per_stage, blocks),
                position_bias=bias,
            )
        )  # fmt: skip
    head = kept_slot(space.head, len(space.stages), "head")
    shared = tuple(tie for tie in space.per_network if any(_ties((tie,), stage.blocks) for stage in stages))
    return replace(space, stages=tuple(stages), head=head, per_network=shared) if head else None


def _of_all_stages(space: SearchSpace, doomed: Collection[Choice]) -> set[Choice]:
    """The doomed choices, without those of a shared slot or option that some other stage may keep."""
    kept = {_anywhere(choice) for choice in every_choice(space) if choice not in doomed and _is_shared(choice, space)}
    return {choice for choice in doomed if not (_is_shared(choice, space) and _anywhere(choice) in kept)}


def _is_shared(choice: Choice, space: SearchSpace) -> bool:
    """Whether all stages make a choice together."""
    if choice.stage == len(space.stages) or not space.stages[choice.stage].depth[-1]:
        return False
    return choice.place in space.per_network or (
        bool(choice.option) and f"{choice.place}.{choice.part}.{choice.option}" in space.per_network
    )


def _anywhere(choice: Choice) -> tuple[str, str, str, str]:
    return choice.place, choice.part, choice.option, repr(choice.value)


def _ties(per_stage: tuple[str, ...], blocks: tuple[Slot, ...]) -> tuple[str, ...]:
    """Those that name a slot, or an option of a part that is still there."""
    there = {f"{name}.{choice.name}" for name, slot in zip(SLOTS, blocks, strict=True) for choice in slot}
    return tuple(tie for tie in per_stage if tie in SLOTS or tie.rpartition(".")[0] in there)


def removed(before: SearchSpace, after: SearchSpace) -> list[str]:
    """What a narrowed space has no more, in words: a line per stage that lost anything, and one for the head.

    Args:
        after: from `narrowed(before, ...)`.
    """
    left = set(every_choice(after))
    gone = [choice for choice in every_choice(before) if choice not in left]
    parts = {(choice.stage, choice.place, choice.part) for choice in gone if choice.part and not choice.option}
    lines: dict[int, dict[str, list[str]]] = {}
    for choice in gone:
        if choice.option and (choice.stage, choice.place, choice.part) in parts:
            continue  # said by the part
        what, value = _worded(choice)
        lines.setdefault(choice.stage, {}).setdefault(what, []).append(value)
    names = [*(f"stage {number}" for number in range(len(before.stages))), "head"]
    return [
        f"{names[number]}: " + "; ".join(f"{what} {', '.join(values)}" for what, values in found.items())
        for number, found in sorted(lines.items())
    ]


def _worded(choice: Choice) -> tuple[str, str]:
    """What is chosen, and the value of it."""
    if not choice.part:
        return choice.place, str(choice.value)
    if not choice.option:
        return choice.place, choice.part
    return f"{choice.option} of {choice.place} {choice.part}", _shown(choice.value)


def _shown(value: Value) -> str:
    return str(_thaw(value))

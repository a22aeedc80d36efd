"""The choices of a space for images of another side. Standard library only."""

from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.architecture import SLOTS
from search_spaces.choices import NO_BIAS, PartChoice, Rules, StageSpace

if TYPE_CHECKING:  # it imports this module
    from search_spaces.space.description import Description


def resized_stages(space: "Description", resolution: int, rules: Rules) -> tuple[StageSpace, ...]:
    """The stages for images of another side: position tables that were made for a map of their stage are made for its new one."""
    stages, before = [], {(space.resolution, resolution)}
    dim = space.in_channels
    for stage in space.stages:
        dims = (dim, stage.width[0])
        parts = [part for choice in stage.embedding for part in choice.members()]
        before = {
            tuple(rules.size_after(part, dims, side, side)[0] for side in sides) for part in parts for sides in before
        }
        sides = sorted(before)
        bias = tuple(_resized("position_bias", choice, sides, rules) for choice in stage.position_bias)
        blocks = tuple(
            tuple(_resized(kind, choice, sides, rules) for choice in slot) if kind == "position" else slot
            for kind, slot in zip(SLOTS, stage.blocks, strict=True)
        )
        stages.append(replace(stage, blocks=blocks, position_bias=bias))
        dim = stage.width[0]
    return tuple(stages)


def _resized(kind: str, choice: PartChoice, sides: list[tuple[int, ...]], rules: Rules) -> PartChoice:
    """What is offered of a part for other maps: sides before and after, of each map that the stage may have."""
    if choice.name == NO_BIAS:
        return choice
    values: dict[str, dict] = {key: {} for key, _ in choice.options}
    for part in choice.members():
        changed = [new for old in sides if (new := rules.resized(kind, part, *old)) != part]
        for new in changed or [part]:
            for key, value in new.options:
                values[key].setdefault(repr(value), value)
    return PartChoice(choice.name, tuple((key, tuple(values[key].values())) for key, _ in choice.options))

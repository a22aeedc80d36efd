"""The choices that all stages of a space share (`per_network`), for sampling: what is left of a prior when they are made.

Stages are drawn independently of one another once the shared choices are known, and so there is a prior for each combination of them.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from search_spaces.genes import GeneMatrix, SlotGenes
from search_spaces.priors import Prior, SlotPrior, StagePrior
from search_spaces.space import SearchSpace


class Shared(NamedTuple):
    """A choice that stages share.

    Args:
        slot: of the blocks.
        part, option: names; empty where the member of the slot itself is shared.
        alternatives: how many there are.
    """

    slot: str
    part: str
    option: str
    alternatives: int


def shared_by_stages(space: SearchSpace) -> list[Shared]:
    """The choices with several alternatives that the stages of a space share."""
    found: dict[Shared, None] = {}
    for tie in space.per_network:
        slot, _, rest = tie.partition(".")
        if rest and slot in space.per_network:
            continue  # the whole slot is shared anyway
        part, _, option = rest.partition(".")
        for number, stage in enumerate(space.stages):
            if stage.depth[-1]:
                offered = space.place(number, slot, 0).slot
                count = sum(1 for choice in offered for _ in choice.members())
                if part:
                    values = [v for c in offered if c.name == part for key, v in c.options if key == option]
                    count = len(values[0]) if values else 1
                if count > 1:
                    found[Shared(slot, part, option, count)] = None
    return list(found)


def shared_choices(matrix: GeneMatrix, prior: Prior) -> Iterator[tuple[float, Prior]]:
    """For each combination of the shared choices its log probability, and the prior of everything else; none that is impossible."""
    shared = shared_by_stages(matrix.space)
    for numbers in itertools.product(*(range(one.alternatives) for one in shared)):
        chance, stages = 0.0, list(prior.stages)
        for one, number in zip(shared, numbers, strict=True):
            log = None
            for s, genes in enumerate(matrix.stages):
                if genes.blocks and (fits := _fitting(genes.slots[one.slot], one)) is not None:
                    stages[s] = _given(stages[s], genes.slots[one.slot], one.slot, fits, number)
                    log = (
                        float(genes.slots[one.slot].log_prior[number])
                        if not one.part
                        else -float(np.log(one.alternatives))
                    )
            chance += log or 0.0
        if all(
            np.isfinite(late.max()) for stage in stages for slot in stage.slots.values() for late in slot.late.values()
        ):
            yield chance, replace(prior, stages=tuple(stages))


def _fitting(genes: SlotGenes, one: Shared) -> tuple[int, int] | None:
    """Number of the part and of the option in a stage's slot, (-1, -1) of the slot itself; None where the stage does not have them."""
    if not one.part:
        return -1, -1
    for part, start in enumerate(genes.starts.tolist()):
        names = [key for key, _ in genes.members[start].options]
        if genes.members[start].name == one.part and one.option in names:
            return part, names.index(one.option)
    return None


def _given(stage: StagePrior, genes: SlotGenes, name: str, fits: tuple[int, int], number: int) -> StagePrior:
    """The prior of a stage when a shared choice is made."""
    slot = stage.slots[name]
    if fits in slot.late:
        values = np.arange(len(slot.late[fits]))
        late = np.where((values == number) & np.isfinite(slot.late[fits]), 0.0, -np.inf)
        made = replace(slot, late=slot.late | {fits: late})
    elif fits == (-1, -1):  # contexts are the members
        kept = (np.arange(len(slot.contexts)) == number) & np.isfinite(slot.contexts)
        made = replace(slot, contexts=np.where(kept, 0.0, -np.inf))
    elif genes.whole:
        every = np.arange(len(slot.contexts))
        concerned, more = genes.part_of == fits[0], np.log(genes.sizes[fits[0]][fits[1]])
        having = np.where(genes.value(*fits, every) == number, slot.contexts + more, -np.inf)
        made = replace(slot, contexts=np.where(concerned, having, slot.contexts))
    else:
        made = _in_contexts(slot, genes, fits, number)
    return replace(stage, slots=stage.slots | {name: made})


def _in_contexts(slot: SlotPrior, genes: SlotGenes, fits: tuple[int, int], number: int) -> SlotPrior:
    """The contexts in which an option has one value, each as probable as it is among those."""
    of_part = np.flatnonzero(genes.part_of == fits[0])
    having = of_part[genes.value(*fits, of_part) == number]
    kept = np.isfinite(slot.members[:, having]).any(axis=1)
    more = np.log(genes.sizes[fits[0]][fits[1]])
    return replace(slot, contexts=np.where(kept, slot.contexts + more, -np.inf))


__all__ = ["Shared", "shared_by_stages", "shared_choices"]

"""Every choice of every gene that some member within limits has, in a sample of members.

What a sample lacks is looked for in three ways, the cheapest first:

1. Blocks of a stage may change places without changing any additive cost, so a choice that one block has is moved to the block that
   lacks it.
2. The choice is forced: members are drawn under a prior in which no other choice of that gene is left and the gene matters.
3. Where the bound of such a draw is below the probability of any single member, no member within the limits has the choice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from search_spaces.genes import GeneMatrix, SlotGenes
from search_spaces.priors import Prior, StagePrior
from search_spaces.tilting import EmptyError

FORCED = 16
"""Members that are drawn for a choice that a sample lacks: the others help with what else is rare there."""


@dataclass(frozen=True)
class Place:
    """Where a gene stands.

    Args:
        gene: its column.
        stage: number of the stage; -1 for the head.
        slot: "width", "depth", "embedding", "position_bias", "head", or the slot of a block.
        block: number of the block; -1 of what does not belong to one.
        part, option: numbers, -1 of the gene that chooses the part.
    """

    gene: int
    stage: int
    slot: str
    block: int = -1
    part: int = -1
    option: int = -1


def places(matrix: GeneMatrix) -> list[Place]:
    """Where each gene of a space stands, by column."""
    found: dict[int, Place] = {}

    def add(genes: SlotGenes, stage: int, slot: str, blocks: int) -> None:
        columns = [(genes.part_column, -1, -1)]
        columns += [(c, p, o) for p, options in enumerate(genes.option_columns) for o, c in enumerate(options)]
        for column, part, option in columns:
            if column is not None:
                shared = blocks == 0 or genes.whole or (part, option) in genes.tied_options
                for block, gene in enumerate(column.tolist()):
                    found.setdefault(gene, Place(gene, stage, slot, -1 if shared else block, part, option))

    for number, stage in enumerate(matrix.stages):
        for slot, choice in (("width", stage.width), ("depth", stage.depth)):
            if choice.column is not None:
                found[choice.column] = Place(choice.column, number, slot)
        add(stage.embedding, number, "embedding", 0)
        add(stage.bias, number, "position_bias", 0)
        for slot, genes in stage.slots.items():
            add(genes, number, slot, stage.blocks)
    add(matrix.head, -1, "head", 0)
    return [found[gene] for gene in range(len(matrix.sizes))]


def _only(logs: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept, logs, -np.inf)


def _having(genes: SlotGenes, place: Place, value: int) -> np.ndarray:
    """Which members of a slot have a choice."""
    if place.part < 0:
        return genes.part_of == value
    every = np.arange(len(genes.members))
    return (genes.part_of == place.part) & (genes.value(place.part, place.option, every) == value)


def forced(matrix: GeneMatrix, prior: Prior, place: Place, value: int) -> Prior:
    """The prior in which a gene matters and has one value. What a block is to have, the first block of its stage has."""
    if place.slot == "head":
        return replace(prior, head=_only(prior.head, _having(matrix.head, place, value)))
    genes, stage = matrix.stages[place.stage], prior.stages[place.stage]
    if place.slot in ("width", "depth"):
        logs = getattr(stage, place.slot)
        changed = replace(stage, **{place.slot: _only(logs, np.arange(len(logs)) == value)})
    elif place.slot == "embedding":
        changed = replace(stage, embedding=_only(stage.embedding, _having(genes.embedding, place, value)))
    elif place.slot == "position_bias":
        changed = replace(stage, bias=_only(stage.bias, _having(genes.bias, place, value)))
    else:
        changed = _forced_block(genes.slots[place.slot], stage, place, value)
        deep = genes.depth.values > max(place.block, 0)
        changed = replace(changed, depth=_only(changed.depth, deep))
    stages = list(prior.stages)
    stages[place.stage] = changed
    return replace(prior, stages=tuple(stages))


def _forced_block(genes: SlotGenes, stage: StagePrior, place: Place, value: int) -> StagePrior:
    slot = stage.slots[place.slot]
    fits, option = _having(genes, place, value), (place.part, place.option)
    late = dict(slot.late)
    if option in late:
        late[option] = _only(late[option], np.arange(len(late[option])) == value)
        fits = genes.part_of == place.part
    first = {place.slot: _only(slot.members, fits)}
    return replace(stage, slots=stage.slots | {place.slot: replace(slot, late=late)}, first=first)


class _Cover:
    """A sample that is being completed.

    Args:
        genes: the sample (n, genes), -1 where a gene does not matter.

    Attributes:
        seen: (genes, values): whether a choice is there.
        extras: members that were added for what only they have.
    """

    def __init__(self, matrix: GeneMatrix, genes: np.ndarray) -> None:
        self.matrix, self.places = matrix, places(matrix)
        self.seen = np.zeros((len(matrix.sizes), int(matrix.sizes.max(initial=1))), bool)
        for value in range(self.seen.shape[1]):
            self.seen[:, value] = (genes == value).any(axis=0)
        self.extras: list[np.ndarray] = []
        self.columns: dict[tuple[int, str, int, int], np.ndarray] = {}
        for place in self.places:
            if place.block >= 0:
                slot = matrix.stages[place.stage].slots[place.slot]
                column = slot.part_column if place.part < 0 else slot.option_columns[place.part][place.option]
                assert column is not None
                self.columns[_key(place)] = column
        # By gene and choice of a block: the deepest stage in which some block has it, and the member.
        self.deepest: dict[tuple[tuple[int, str, int, int], int], tuple[int, np.ndarray]] = {}
        self._look(genes)

    def _look(self, genes: np.ndarray) -> None:
        """Takes note of where a choice can be moved from."""
        depths = [stage.depth.values[np.maximum(stage.depth.read(genes), 0)] for stage in self.matrix.stages]
        for key, columns in self.columns.items():
            here, depth = genes[:, columns], depths[key[0]]
            for value in range(self.matrix.sizes[columns[0]]):
                held = np.where((here == value).any(axis=1), depth, 0)
                row = int(held.argmax()) if len(held) else 0
                if len(held) and held[row] > self.deepest.get((key, value), (0,))[0]:
                    self.deepest[key, value] = int(held[row]), genes[row]

    def missing(self) -> list[tuple[Place, int]]:
        """Choices that are not there: of whole stages first, then of blocks, the last ones first."""
        wanted = np.arange(self.seen.shape[1]) < self.matrix.sizes[:, None]
        lacking = [(self.places[gene], int(value)) for gene, value in np.argwhere(wanted & ~self.seen)]
        return sorted(lacking, key=lambda found: (found[0].block >= 0, -found[0].block, found[0].gene))

    def add(self, genes: np.ndarray) -> None:
        """Takes in further members, each where it has a choice that is not there."""
        self._look(genes)
        for row in genes:
            active = np.flatnonzero(row >= 0)
            if not self.seen[active, row[active]].all():
                self.seen[active, row[active]] = True
                self.extras.append(row)

    def moved(self, place: Place, value: int) -> np.ndarray | None:
        """A member (1, genes) with its blocks in another order, so that the block has the choice; None where no member has it."""
        depth, row = self.deepest.get((_key(place), value), (0, np.empty(0)))
        if depth <= place.block:
            return None
        source = int(np.flatnonzero(row[self.columns[_key(place)]] == value)[0])
        turn = place.block - source
        found = row.copy()
        for key, columns in self.columns.items():
            if key[0] == place.stage:  # all blocks move on together, so that one member serves many places
                found[columns[:depth]] = np.roll(row[columns[:depth]], turn)
        return found[None]

    def result(self, genes: np.ndarray) -> np.ndarray:
        """The sample with the extras in the places of members that have nothing of their own; behind it, where these are too few."""
        extras = np.array(self.extras, genes.dtype).reshape(len(self.extras), genes.shape[1])
        counts = np.zeros(self.seen.shape, np.int64)
        for value in range(self.seen.shape[1]):
            counts[:, value] = (genes == value).sum(axis=0) + (extras == value).sum(axis=0)
        free = []
        for number in range(len(genes) - 1, -1, -1):
            if len(free) == len(extras):
                break
            active = np.flatnonzero(genes[number] >= 0)
            chosen = genes[number, active]
            if (counts[active, chosen] > 1).all():
                counts[active, chosen] -= 1
                free.append(number)
        found = genes.copy()
        found[free] = extras[: len(free)]
        return np.concatenate((found, extras[len(free) :]))


def _homes(matrix: GeneMatrix, place: Place) -> list[Place]:
    """Where a gene stands: in one stage, or in each that shares it."""
    if place.stage < 0 or place.slot not in matrix.stages[place.stage].slots or place.block >= 0:
        return [place]
    found = []
    for number, stage in enumerate(matrix.stages):
        genes = stage.slots[place.slot]
        columns = [(-1, -1, genes.part_column)]
        columns += [
            (p, o, column) for p, options in enumerate(genes.option_columns) for o, column in enumerate(options)
        ]
        for part, option, column in columns:
            if column is not None and place.gene in column:
                found.append(replace(place, stage=number, part=part, option=option))
    return found


def _key(place: Place) -> tuple[int, str, int, int]:
    return place.stage, place.slot, place.part, place.option


def covered(
    genes: np.ndarray, prior: Prior, matrix: GeneMatrix, draw: Callable[[Prior, int], np.ndarray], accept: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, list[tuple[str, int, bool]]]:  # fmt: skip
    """A sample with every choice that can be within the limits.

    Args:
        genes: members within the limits (n, genes), -1 where a gene does not matter.
        prior: of the space.
        draw: members within the limits under another prior, up to so many.
        accept: whether members (n, genes) are within the limits.

    Returns:
        The sample, and what it lacks: name of the gene, number of the choice, and whether it is proven that no member has it.
    """
    cover, without = _Cover(matrix, genes), list[tuple[str, int, bool]]()
    tried: dict[tuple[tuple[int, str, int, int], int, int], bool] = {}
    for place, value in cover.missing():
        if cover.seen[place.gene, value]:
            continue
        if place.block >= 0 and (moved := cover.moved(place, value)) is not None and accept(moved)[0]:
            cover.add(moved)
            continue
        depths = matrix.stages[place.stage].depth.values if place.block >= 0 else np.empty(0)
        key = (_key(place), value, int((depths > place.block).sum()))
        if key not in tried:  # blocks behind which there are the same depths can have the same
            empty = []
            for home in _homes(matrix, place):
                try:
                    cover.add(draw(forced(matrix, prior, home, value), FORCED))
                    if place.block >= 0 and (moved := cover.moved(place, value)) is not None:
                        cover.add(moved[accept(moved)])
                    break
                except EmptyError as error:
                    empty.append(error.proven)
            else:
                tried[key] = all(empty)
        if not cover.seen[place.gene, value]:
            without.append((matrix.space.genes[place.gene].name, value, tried.get(key, False)))
    return cover.result(genes), without


__all__ = ["FORCED", "Place", "covered", "forced", "places"]

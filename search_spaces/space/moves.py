"""A search space: members are drawn, changed, crossed and brought within a budget."""

import math
import random
from collections.abc import Callable

from search_spaces.architecture import Architecture
from search_spaces.errors import OutsideBudget
from search_spaces.space.genes import Encoded, Genes
from search_spaces.space.neighbours import Neighbours

Cost = Callable[[Architecture], float]
"""What a member costs."""

Excess = Callable[[Architecture], float]
"""How far a member exceeds a budget, on any costs. 0 or less means that it is within the budget."""

REJECTIONS = 50
"""Draws that are tried before a sample is repaired into its budget instead."""

RESTARTS = 1
"""Further descents if the first one finds nothing within a budget."""


class SearchSpace(Encoded):
    """A set of architectures. Args as of `Description`."""

    def sample(self, rng: random.Random, excess: Excess | None = None) -> Architecture:
        """A member drawn gene by gene, uniformly; within the budget if one is given.

        Up to `REJECTIONS` draws are tried; then the last one is repaired.

        Raises:
            OutsideBudget: no member was found within the budget.
        """
        genes: Genes = ()
        for _ in range(REJECTIONS):
            genes = tuple(rng.randrange(len(gene.choices)) for gene in self.genes)
            arch = self.decode(genes)
            if excess is None or excess(arch) <= 0:
                return arch
        assert excess is not None
        return self.repair(self.decode(genes), rng, excess)

    def mutate(
        self, arch: Architecture, rng: random.Random, rate: float = 0.1, excess: Excess | None = None
    ) -> Architecture:
        """A member that differs from `arch` in at least one choice, with each gene that has an effect redrawn with probability `rate`.

        Within a budget the result is repaired and may equal `arch`.

        Raises:
            InputError: `arch` is not a member.
            OutsideBudget: no member was found within the budget.
        """
        genes = list(self.encode(arch))
        positions = self.active(tuple(genes))
        if positions:
            forced = rng.choice(positions)
            count = len(self.genes[forced].choices)
            others = [(genes[forced] + step) % count for step in range(1, count)]
            if self.functions is not None:
                others = [other for other in others if self._changes(tuple(genes), forced, other)]
            for position in positions:
                if position == forced:
                    genes[position] = others[rng.randrange(len(others))]
                elif rng.random() < rate:
                    genes[position] = rng.randrange(len(self.genes[position].choices))
        return self._within(tuple(genes), rng, excess)

    def _changes(self, genes: Genes, position: int, index: int) -> bool:
        """Whether another choice of one gene gives another function."""
        return self.decode((*genes[:position], index, *genes[position + 1 :])) != self.decode(genes)

    def crossover(
        self, one: Architecture, other: Architecture, rng: random.Random, excess: Excess | None = None
    ) -> Architecture:
        """A member that has each gene from one parent or the other.

        Raises:
            InputError: a parent is not a member.
            OutsideBudget: no member was found within the budget.
        """
        pairs = zip(self.encode(one), self.encode(other), strict=True)
        return self._within(tuple(rng.choice(pair) for pair in pairs), rng, excess)

    def _within(self, genes: Genes, rng: random.Random, excess: Excess | None) -> Architecture:
        arch = self.decode(genes)
        return arch if excess is None else self.repair(arch, rng, excess)

    def repair(self, arch: Architecture, rng: random.Random, excess: Excess) -> Architecture:
        """`arch` if it is within the budget, else a member near it that is within the budget.

        One gene at a time, in random order, steps to its choice with the next smaller excess until the budget holds; bounded by the
        total number of choices, after which the nearest member is taken.

        Raises:
            InputError: `arch` is not a member.
            OutsideBudget: no member was found within the budget.
        """
        now = excess(arch)
        if now <= 0:
            return arch
        genes = list(self.encode(arch))
        for _ in range(sum(len(gene.choices) for gene in self.genes)):
            positions = list(self.active(tuple(genes)))
            rng.shuffle(positions)
            for position in positions:
                best = None
                for index in range(len(self.genes[position].choices)):
                    found = excess(self.decode((*genes[:position], index, *genes[position + 1 :])))
                    if found < now and (best is None or found > best[0]):
                        best = (found, index)
                if best is not None:
                    now, genes[position] = best
                    break
            else:
                break
            if now <= 0:
                return self.decode(tuple(genes))
        nearest = self._nearest(excess, -math.inf)
        if excess(nearest) > 0:
            raise OutsideBudget(nearest)
        return nearest

    def nearest(self, excess: Excess) -> Architecture:
        """The member of least excess that coordinate descent finds, from the first choice everywhere and, if that ends above the
        budget, from `RESTARTS` random starts; the first one within the budget, if there is one.
        """
        return self._nearest(excess, 0)

    def _nearest(self, excess: Excess, stop: float) -> Architecture:
        found = self._descend(excess, 1, stop)
        least, rng = excess(found), random.Random(0)  # the same starts each time
        for _ in range(RESTARTS if self.genes else 0):
            if least > 0:
                start = tuple(rng.randrange(len(gene.choices)) for gene in self.genes)
                other = self._descend(excess, 1, stop, start)
                if excess(other) < least:
                    found, least = other, excess(other)
        return found

    def smallest(self, cost: Cost) -> Architecture:
        """The member of least cost, by coordinate descent from the first choice everywhere."""
        return self._descend(cost, 1)

    def largest(self, cost: Cost) -> Architecture:
        """The member of most cost, by coordinate ascent from the last choice everywhere."""
        return self._descend(cost, -1)

    def _descend(self, cost: Cost, sign: int, stop: float = -math.inf, start: Genes | None = None) -> Architecture:
        """Coordinate descent, from the first choice everywhere (ascent: the last) or from `start`, until the value is no larger than
        `stop`. A change that makes other genes matter (another part, a further block) is judged with the best
        values of those, chosen one after another; alone it would be judged with options that nobody has looked at.
        """

        near = Neighbours(self)
        known: dict[tuple[int, ...], float] = {}

        def value(genes: Genes) -> float:
            pieces, _ = near.pieces(genes)
            key = tuple(map(id, pieces))  # equal stages are one object, which lives as long as `near`
            if key not in known:
                known[key] = sign * cost(near.decode(genes))
            return known[key]

        def settled(genes: Genes, before: frozenset[int]) -> tuple[float, Genes]:
            """`genes` with a good choice for each gene that newly has an effect, and the value."""
            now, done = value(genes), set(before)
            while fresh := [position for position in near.active(genes) if position not in done]:
                position = fresh[0]
                done.add(position)
                trials = [
                    (*genes[:position], i, *genes[position + 1 :]) for i in range(len(self.genes[position].choices))
                ]
                now, genes = min(((value(trial), trial) for trial in trials), key=lambda found: found[0])
            return now, genes

        genes = start or tuple(0 if sign == 1 else len(gene.choices) - 1 for gene in self.genes)
        now, improved = value(genes), True
        while improved and now > stop:  # ends: the cost falls strictly, and there are finitely many members
            improved = False
            for position, gene in enumerate(self.genes):
                before = frozenset(near.active(genes))
                if position not in before:  # every choice of it gives the same network
                    continue
                for index in range(len(gene.choices)):
                    found = settled((*genes[:position], index, *genes[position + 1 :]), before)
                    if found[0] < now:
                        (now, genes), improved = found, True
                    if now <= stop:
                        return near.decode(genes)
        return near.decode(genes)

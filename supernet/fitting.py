"""Sub-networks of a training step that fit limits on costs.

A chain between two networks with the same operators raises one size at a time, in random order, from the smaller to the larger one.
Costs grow with most sizes, so bisection finds the last network of a chain that fits. A training step then counts about ten networks, not
one for each of the hundreds of choices of a space. A few options make a network cheaper (`sr_ratio`, `pool_size`, `num_groups`), so
every network is tested before it is taken.

    the largest   the last network that fits on a chain from the smallest to the largest sizes; raised further, size by size, where
                  a single large step is in the way. Which stages are wide and which are deep is random, so that over the steps every
                  shape that fits is a largest one.
    the smallest  the smallest sizes.
    a random one  as it was drawn where that fits; else one at random on a chain from the smallest sizes to those drawn, or the last one
                  before it that fits.

A range of costs may be so narrow that no such step leads into it. Then all networks are drawn within it as a search draws them
(`search_spaces.feasible`), whatever operators the fair draw wanted, and the largest and the smallest are drawn like any other.

Fairness of operators: they are drawn as without limits, and sizes shrink first. A network is repaired only if its operators exceed the
limits even at the smallest sizes: one choice after another is changed, in random order. Expensive operators are then trained less often
than others. Limits that exclude an operator altogether remove it from the space (`search_spaces.narrowing`).
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.errors import OutsideBudget
from search_spaces.feasible import FeasibleSampler
from search_spaces.limits import Limits, above, below, outside
from search_spaces.space import Excess, Genes, SearchSpace

FULL = 0.02
"""A network within this share below its limit is full: it is raised no further."""

POOL = 512
"""Networks that are drawn within limits that the sizes of networks step over."""

RAISES = 6
"""Sizes that may be too large a step, one after another, before a network is taken as it is."""


@dataclass(frozen=True)
class Fit:
    """What fits into a space.

    Args:
        space: narrowed to the limits, with networks within them that `check` finds.
        limits: of every sub-network of a step.
        largest: the multiple of the upper limits that the largest one may have, at least 1.
    """

    space: SearchSpace
    limits: Limits
    largest: float = 1.0

    @cached_property
    def _above(self) -> Excess:
        return above(self.limits)

    @cached_property
    def _far_above(self) -> Excess:
        return above(self.limits, self.largest)

    @cached_property
    def _far_outside(self) -> Excess:
        return outside(self.limits, self.largest)

    @cached_property
    def _below(self) -> Excess:
        return below(self.limits)

    @cached_property
    def _outside(self) -> Excess:
        return outside(self.limits)

    @cached_property
    def _nearest(self) -> Architecture:
        """What is taken where nothing else is found."""
        return self.space.nearest(self._outside)

    def check(self) -> None:
        """
        Raises:
            OutsideBudget: no network within the limits is found.
        """
        if self._outside(self._nearest) > 0 and not self._drawn:
            raise OutsideBudget(self._nearest)

    @cached_property
    def _drawn(self) -> tuple[Genes, ...]:
        """`POOL` members that are drawn within the limits where no step from one network to another leads there; none where one does, or
        where none are found. They are drawn once, because one draw from a narrow range takes a good part of a second.
        """
        if self._outside(self._nearest) <= 0:
            return ()
        limits = [(name, low or 0, math.inf if high is None else high) for name, (low, high) in self.limits.items()]
        try:
            found = FeasibleSampler(self.space, limits).sample_many(POOL, np.random.default_rng(0))
        except OutsideBudget:
            return ()
        return tuple(map(tuple, np.maximum(found, 0).tolist()))

    def _one_of_drawn(self, rng: random.Random) -> Architecture:
        return self.space.decode(rng.choice(self._drawn))

    def largest_of(self, drawn: Genes, rng: random.Random) -> Architecture:
        """The largest network that fits with the operators of `drawn`."""
        return self._one_of_drawn(rng) if self._drawn else self._largest(self._smallest(drawn, rng), drawn, rng)

    def smallest_of(self, drawn: Genes, rng: random.Random) -> Architecture:
        """The smallest network that fits with the operators of `drawn`."""
        return self._one_of_drawn(rng) if self._drawn else self.space.decode(self._smallest(drawn, rng))

    def random_of(self, drawn: Genes, rng: random.Random) -> Architecture:
        """`drawn` where it fits, else a network at random on a chain below it."""
        arch = self.space.decode(drawn)
        if self._above(arch) <= 0 and self._below(arch) <= 0:
            return arch
        if self._drawn:
            return self._one_of_drawn(rng)
        start = self._smallest(drawn, rng)
        chain = Chain(start, self._with_sizes(drawn, self._ends if self._below(arch) > 0 else drawn, start), rng)
        number = rng.randint(0, chain.last(self._of(self._above)))
        found = self.space.decode(chain.at(number))
        while number and self._outside(found) > 0:
            number -= 1
            found = self.space.decode(chain.at(number))
        return found

    def _of(self, excess: Excess) -> Callable[[Genes], float]:
        return lambda genes: excess(self.space.decode(genes))

    @cached_property
    def _ends(self) -> Genes:
        """The last choice everywhere."""
        return tuple(len(gene.choices) - 1 for gene in self.space.genes)

    @cached_property
    def _chooses_part(self) -> tuple[bool, ...]:
        return tuple(gene.chooses_part for gene in self.space.genes)

    def _with_sizes(self, operators: Genes, sizes: Genes, least: Genes) -> Genes:
        """Operators of one, sizes of another network, which are at least those of a third."""
        return tuple(
            low if kind else max(low, size) for kind, low, size in zip(self._chooses_part, least, sizes, strict=True)
        )

    def _smallest(self, drawn: Genes, rng: random.Random) -> Genes:
        """The smallest sizes with the operators of `drawn` where that fits; a repaired network where it does not."""
        genes = tuple(index if kind else 0 for kind, index in zip(self._chooses_part, drawn, strict=True))
        if self._below(self.space.decode(genes)) > 0:
            chain = Chain(genes, self._with_sizes(genes, self._ends, genes), rng)
            genes = chain.at(chain.last(lambda found: -self._below(self.space.decode(found))) + 1)
        if self._outside(self.space.decode(genes)) <= 0:
            return genes
        try:
            found = self.space.repair(self.space.decode(genes), rng, self._outside)
        except OutsideBudget:
            found = self._nearest
        encoded = self.space.encode(found)
        used = {*self.space.active(encoded)}
        # Blocks beyond the depth keep the operators of the fair draw.
        return tuple(
            new if position in used else old for position, (old, new) in enumerate(zip(genes, encoded, strict=True))
        )

    def _largest(self, start: Genes, drawn: Genes, rng: random.Random) -> Architecture:
        genes = start
        chain = Chain(start, self._with_sizes(drawn, self._ends, start), rng)
        for _ in range(RAISES):
            last = chain.last(self._of(self._far_outside))
            genes = chain.at(last)
            if last == len(chain) or self._far_above(self.space.decode(genes)) > -FULL:
                break
            chain = chain.without_step(last)
        return self.space.decode(genes)


class Chain:
    """Networks from one to another, each with one size one choice further than the one before; number 0 is the first.

    Args:
        rng: of the order, which is drawn here.
    """

    def __init__(self, start: Genes, end: Genes, rng: random.Random) -> None:
        self._start = start
        self._steps = [
            place for place, (low, high) in enumerate(zip(start, end, strict=True)) for _ in range(high - low)
        ]
        rng.shuffle(self._steps)

    def __len__(self) -> int:
        """The number of steps; the last network has this number."""
        return len(self._steps)

    def at(self, number: int) -> Genes:
        """The network of a number; the last one for those beyond it."""
        genes = list(self._start)
        for place in self._steps[:number]:
            genes[place] += 1
        return tuple(genes)

    def last(self, excess: Callable[[Genes], float]) -> int:
        """The number of a network that fits and whose next one does not; 0 where none fits, the last one where that fits.

        Found by interpolation and bisection in turn, as costs grow nearly evenly along a chain.

        Args:
            excess: not above 0 up to some network of the chain, or nearly so: where a larger size costs less, any such border is found,
                and networks before it may not fit.
        """
        low, high = 0, len(self._steps)
        over = excess(self.at(high))
        if over <= 0:
            return high
        under, interpolate = excess(self.at(low)), True
        while high - low > 1:
            middle = (low + high) // 2
            if interpolate and under < 0:
                middle = min(max(round(low + (high - low) * under / (under - over)), low + 1), high - 1)
            found = excess(self.at(middle))
            if found <= 0:
                low, under = middle, found
            else:
                high, over = middle, found
            interpolate = not interpolate
        return low

    def without_step(self, number: int) -> "Chain":
        """The chain from a network on, without any further step of the size whose next step is too large."""
        found = Chain.__new__(Chain)
        found._start = self.at(number)
        stuck = self._steps[number]
        found._steps = [place for place in self._steps[number:] if place != stuck]
        return found

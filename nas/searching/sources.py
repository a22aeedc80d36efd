"""Where a search draws members from: a space within its budget, or the networks of which a cost was measured.

Both stand for the space in `nas.searching.engine.run_search`.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import cached_property

from nas.goals.budget import Budget
from search_spaces.architecture import Architecture
from search_spaces.errors import OutsideBudget
from search_spaces.feasible import FeasibleSampler
from search_spaces.space import SearchSpace


class Within:
    """A space whose members within a budget are drawn as `search_spaces.feasible` does: with the distribution of `SearchSpace.sample`
    given the budget. Where that finds none, the space's own way of drawing and repairing has a try.

    Args:
        budget: on costs that are known for every member.
    """

    def __init__(self, space: SearchSpace, budget: Budget) -> None:
        self.space, self.budget = space, budget
        self.genes, self.decode, self.encode = space.genes, space.decode, space.encode

    @cached_property
    def size(self) -> int:
        return self.space.size

    @cached_property
    def _sampler(self) -> FeasibleSampler | None:
        """None where it finds nothing. It is tried once, by a generator of its own, so that no draw depends on those before it."""
        limits = [(n, self.budget.floor(n) or 0.0, self.budget.limit(n) or math.inf) for n in self.budget.names]
        found = FeasibleSampler(self.space, limits)
        try:
            found.sample(random.Random(0))
        except OutsideBudget:
            return None
        return found

    def sample(self, rng: random.Random, excess: Callable[[Architecture], float] | None = None) -> Architecture:
        """A member within the budget."""
        if self._sampler is not None:
            try:
                return self._sampler.sample(rng)
            except OutsideBudget:
                self._sampler = None  # giving up takes seconds, and samplers ask for hundreds of members
        return self.space.sample(rng, excess)


class Listed:
    """A space whose members within a budget on measured costs are drawn from the networks that were measured.

    No rule leads from a network that was not measured to one that was, so nothing can be repaired.
    """

    def __init__(
        self, space: SearchSpace, listed: Sequence[Architecture], excess: Callable[[Architecture], float]
    ) -> None:
        found = {arch.digest: arch for arch in listed if space.contains(arch) and excess(arch) <= 0}
        self.feasible = [found[digest] for digest in sorted(found)]
        members = [arch for arch in listed if space.contains(arch)]
        self.nearest = min(members, key=excess) if members else space.sample(random.Random(0))
        self.genes, self.decode, self.encode = space.genes, space.decode, space.encode

    @cached_property
    def size(self) -> int:
        return len(self.feasible)

    def sample(self, rng: random.Random, excess: Callable[[Architecture], float] | None = None) -> Architecture:
        """One of the measured networks within the budget."""
        if not self.feasible:
            raise OutsideBudget(self.nearest)
        return rng.choice(self.feasible)

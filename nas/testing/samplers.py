"""What every sampler promises: it works as a search asks it, and the seed alone decides what it proposes."""

import random
from functools import cache
from typing import Any, ClassVar

import numpy as np

from nas.goals.objectives import parse_objectives
from nas.samplers import make_sampler
from nas.samplers.proposer import Proposer
from search_spaces.costs import costs_of
from search_spaces.space import Genes, SearchSpace
from search_spaces.testing import elastic_space

POPULATION = 4


@cache
def _space() -> SearchSpace:
    return elastic_space("mixer", "depthwise_conv")


class SamplerLaws:
    """Laws of one sampler, by its name or dotted path.

    options: of its constructor. objectives: of the search. proposals: how many are asked for.
    """

    sampler: ClassVar[str]
    options: ClassVar[dict[str, Any]] = {}
    objectives: ClassVar[str] = "top1,macs"
    proposals: ClassVar[int] = 12

    def proposer(self, seed: int) -> Proposer:
        """The sampler at work on a small space."""
        sampler = make_sampler(self.sampler, seed=seed, population=POPULATION, options=self.options)
        names = tuple(self.objectives.split(","))
        return Proposer(_space(), self.sampler, sampler, parse_objectives(names), ("macs",))

    def values(self, genes: Genes) -> list[float]:
        """Made-up accuracy, and costs as they are."""
        arch = _space().decode(genes)
        known = costs_of(arch) | {"top1": int(arch.digest, 16) % 997 / 997, "loss": int(arch.digest, 16) % 991 / 99}
        return [known[name] for name in self.objectives.split(",")]

    def violations(self, genes: Genes) -> dict[str, float]:
        """Above or below the MACs of the middle of the space."""
        ends = [costs_of(arch)["macs"] for arch in (_space().smallest(_macs), _space().largest(_macs))]
        return {"macs": costs_of(_space().decode(genes))["macs"] / (sum(ends) / 2) - 1}

    def course(self, seed: int) -> list[Genes]:
        """The proposals of a search in which every third network is refused, and the others are evaluated."""
        proposer, found = self.proposer(seed), list[Genes]()
        for turn in range(self.proposals):
            number, genes = proposer.ask()
            assert number == turn
            if turn % 3 == 2:
                proposer.refuse(number, self.violations(genes))
            else:
                proposer.tell(number, self.values(genes), self.violations(genes))
            found.append(genes)
        return found

    def test_proposals_are_members(self) -> None:
        assert all(_space().contains(_space().decode(genes)) for genes in self.course(0))

    def test_the_seed_decides_alone(self) -> None:
        """A search is resumed by asking again for what it had asked for, in another process with other global generators."""
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - the generator that a sampler must not use
        found = self.course(3)
        random.seed(2)
        np.random.seed(2)  # noqa: NPY002
        assert self.course(3) == found
        assert self.course(4) != found, "the seed makes no difference"

    def test_networks_that_are_given_come_first(self) -> None:
        """Where a search starts from networks of the user."""
        proposer = self.proposer(0)
        given = [_space().encode(_space().sample(random.Random(seed))) for seed in range(2)]
        for genes in given:
            proposer.enqueue(genes)
        for genes in given:
            number, found = proposer.ask()
            assert found == genes
            proposer.tell(number, self.values(found), self.violations(found))
        assert _space().contains(_space().decode(proposer.ask()[1]))

    def test_several_proposals_may_be_open_at_once(self) -> None:
        """A search evaluates on several workers."""
        proposer = self.proposer(0)
        asked = [proposer.ask() for _ in range(POPULATION)]
        for number, genes in asked:
            proposer.tell(number, self.values(genes), self.violations(genes))
        assert proposer.ask()[0] == POPULATION


def _macs(arch: Any) -> float:
    return costs_of(arch, ["macs"])["macs"]

"""Members that a search draws within its budget."""

import random

import pytest

from nas.goals.budget import Budget
from nas.goals.costing import excess_of, violations_of
from nas.searching.sources import Within
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of
from search_spaces.errors import OutsideBudget
from search_spaces.feasible import FeasibleSampler
from search_spaces.named import load_space

SPACE = load_space("digits")


@pytest.mark.parametrize("text", ["macs=300K", "macs=300K..320K,params=30K", "macs=1M,activations=32K"])
def test_within_the_budget_and_the_same_each_time(text: str) -> None:
    budget = Budget.parse(text)
    drawn = []
    for _ in range(2):
        rng, source = random.Random(0), Within(SPACE, budget)
        drawn.append([source.sample(rng) for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert len({arch.digest for arch in drawn[0]}) > 5
    assert all(budget.allows(costs_of(arch, budget.names)) for arch in drawn[0])


def test_what_no_network_keeps() -> None:
    budget = Budget.parse("macs=1K")
    with pytest.raises(OutsideBudget):
        Within(SPACE, budget).sample(random.Random(0), excess_of(violations_of(budget)))


def nothing_found(monkeypatch: pytest.MonkeyPatch) -> list[FeasibleSampler]:
    """Samplers within limits find nothing from now on; the list grows with each that tries."""
    tried = []

    def nothing(self: FeasibleSampler, rng: random.Random) -> Architecture:
        tried.append(self)
        raise OutsideBudget(SPACE.sample(random.Random(0)))

    monkeypatch.setattr(FeasibleSampler, "sample", nothing)
    return tried


def test_a_search_that_was_given_up_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samplers ask hundreds of times where little fits, and giving up takes seconds."""
    tried = nothing_found(monkeypatch)
    budget = Budget.parse("macs=300K")
    source, excess = Within(SPACE, budget), excess_of(violations_of(budget))
    found = [source.sample(random.Random(seed), excess) for seed in range(5)]
    assert found == [SPACE.sample(random.Random(seed), excess) for seed in range(5)]
    assert len(tried) == 1


def test_nor_is_one_that_is_given_up_later(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget.parse("macs=300K")
    source, excess = Within(SPACE, budget), excess_of(violations_of(budget))
    assert budget.allows(costs_of(source.sample(random.Random(0)), budget.names))
    tried = nothing_found(monkeypatch)
    assert all(budget.allows(costs_of(source.sample(random.Random(n), excess), budget.names)) for n in range(5))
    assert len(tried) == 1

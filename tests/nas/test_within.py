"""Members that a search draws within its budget."""

import random

import pytest

from nas.budget import Budget
from nas.costing import excess_of, violations_of
from nas.searching import Within
from search_spaces.costs import costs_of
from search_spaces.errors import OutsideBudget
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

"""The sub-networks of a training step within limits on costs."""

import itertools
import random
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from search_spaces.architecture import SLOTS
from search_spaces.costs import Cost, add_cost, temporary_costs
from search_spaces.costs.macs import macs
from search_spaces.errors import OutsideBudget
from search_spaces.limits import Limits, outside
from search_spaces.named import load_space
from search_spaces.narrowing import narrowed
from search_spaces.space import Genes, SearchSpace
from supernet.activation_memory import activations, sampled_activations
from supernet.fitting import FULL, Chain, Fit
from supernet.memory import training_need
from supernet.sampling import sandwich
from tests.supernet.steps import sandwich_paths

DIGITS = load_space("digits")
SEEDS = range(30)


@cache
def share(of: float) -> float:
    """So much of the way from the fewest to the most MACs of the space."""
    least, most = macs(DIGITS.smallest(macs)), macs(DIGITS.largest(macs))
    return round(least + of * (most - least))


def fit_of(limits: Limits, largest: float = 1.0) -> Fit:
    fit = Fit(narrowed(DIGITS, limits), limits, largest)
    fit.check()
    return fit


def test_limits_that_bind_nothing_change_nothing() -> None:
    """So that a run with a generous budget is the run without one."""
    for limits in ({"macs": (None, share(1.0))}, {"macs": (1, None), "params": (None, 10**9)}):
        fit = fit_of(limits)
        assert fit.space is DIGITS
        for seed in SEEDS:
            assert sandwich(DIGITS, random.Random(seed), 2, fit) == sandwich(DIGITS, random.Random(seed), 2)


def test_a_range_so_narrow_that_sizes_step_over_it() -> None:
    """A ten-thousandth wide: networks are drawn within it, and there is more than one."""
    low = share(0.5)
    high = low + low // 10_000
    fit = fit_of({"macs": (low, high)})
    found = {arch for seed in SEEDS[:10] for arch in sandwich(fit.space, random.Random(seed), 2, fit)}
    assert len(found) > 10
    assert all(low <= macs(arch) <= high for arch in found)


@pytest.mark.parametrize("of", [0.02, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_all_paths_are_within_the_limits(of: float, floor: float) -> None:
    high, low = share(of), floor * share(of) or None
    fit = fit_of({"macs": (low, high)})
    for seed in SEEDS:
        archs = sandwich(fit.space, random.Random(seed), 2, fit)
        assert archs == sandwich(fit.space, random.Random(seed), 2, fit)
        assert all((low or 0) <= macs(arch) <= high for arch in archs)
        assert all(fit.space.contains(arch) for arch in archs)


@pytest.mark.parametrize("of", [0.1, 0.3])
def test_the_largest_fills_the_budget(of: float) -> None:
    limits = {"macs": (None, share(of))}
    fit = fit_of(limits)
    largest = [sandwich(fit.space, random.Random(seed), 0, fit)[0] for seed in SEEDS]
    filled = sorted(macs(arch) / share(of) for arch in largest)
    assert filled[len(filled) // 2] >= 1 - 1.5 * FULL
    assert filled[len(filled) // 5] >= 0.9  # some cheap operators do not reach the budget with any sizes
    shapes = {tuple((stage.width, len(stage.blocks)) for stage in arch.stages) for arch in largest}
    assert len(shapes) > 3


def test_the_largest_may_have_a_multiple_of_the_budget() -> None:
    limits = {"macs": (None, share(0.2))}
    one, two = fit_of(limits), fit_of(limits, largest=2.0)
    for seed in SEEDS:
        (big, *others), usual = (sandwich(fit.space, random.Random(seed), 2, fit) for fit in (two, one))
        assert macs(usual[0]) <= share(0.2)
        assert share(0.2) < macs(big) <= 2 * share(0.2)
        assert all(macs(arch) <= share(0.2) for arch in others)


@pytest.mark.parametrize("largest", [1.0, 1.5])
def test_all_paths_are_within_limits_on_a_cost_that_larger_sizes_may_lower(largest: float) -> None:
    """A cost that says nothing about sizes, of which a chain crosses the limits many times."""
    with temporary_costs():
        add_cost(Cost("drawn", "", "", lambda arch: zlib.crc32(arch.digest.encode()) % 1000, "test"))
        limits = {"drawn": (200.0, 600.0)}
        fit = Fit(DIGITS, limits, largest)
        fit.check()
        excess, loose = outside(limits), outside(limits, largest)
        for seed in range(100):
            first, *others = sandwich(DIGITS, random.Random(seed), 2, fit)
            assert loose(first) <= 0
            assert all(excess(arch) <= 0 for arch in others)


def test_random_paths_are_spread_over_what_is_feasible() -> None:
    fit = fit_of({"macs": (None, share(0.2))})
    archs = [sandwich(fit.space, random.Random(seed), 2, fit)[2] for seed in range(60)]
    assert {arch.stages[1].width for arch in archs} == set(fit.space.stages[1].width)
    thirds = Counter(int(3 * (macs(arch) - share(0)) / (share(0.2) - share(0) + 1)) for arch in archs)
    assert all(thirds[third] >= 5 for third in range(3))


def test_operators_are_dealt_out_where_they_fit_together() -> None:
    fit = fit_of({"macs": (None, share(0.4))})
    mixers = {choice.name for choice in DIGITS.stages[0].blocks[SLOTS.index("mixer")]}
    for seed in SEEDS:
        archs = sandwich(fit.space, random.Random(seed), 2, fit)
        for stage in range(2):
            assert {arch.stages[stage].blocks[0].mixer.name for arch in archs} == mixers


def test_every_operator_is_trained_where_few_fit_together() -> None:
    """Near the cheapest networks, repaired ones still have each operator that the narrowed space has."""
    fit = fit_of({"macs": (None, share(0.02))})
    trained = [arch for seed in range(60) for arch in sandwich(fit.space, random.Random(seed), 2, fit)]
    for number, stage in enumerate(fit.space.stages):
        for place, slot in zip(SLOTS, stage.blocks, strict=True):
            found = {getattr(block, place).name for arch in trained for block in arch.stages[number].blocks}
            assert found == {choice.name for choice in slot}


def test_several_costs() -> None:
    limits = {"macs": (None, share(0.3)), "params": (None, 40_000), "activations": (None, 60_000)}
    fit, excess = fit_of(limits), outside(limits)
    for seed in SEEDS:
        assert all(excess(arch) <= 0 for arch in sandwich(fit.space, random.Random(seed), 2, fit))


def test_nothing_fits() -> None:
    """Activations narrow nothing, so that only the search for a network finds out."""
    fit = Fit(DIGITS, {"activations": (None, 1)})
    with pytest.raises(OutsideBudget):
        fit.check()


def test_paths_of_a_step_depend_on_the_seed_and_the_step_alone() -> None:
    fit = fit_of({"macs": (None, share(0.1))})
    one, other = (sandwich_paths(fit.space, 3, 2, first, fit=fit) for first in (0, 2))
    assert [one(step) for step in (4, 1, 2)] == [one(4), one(1), other(2)]
    assert other(1) == one(1)[:1]
    assert one(0) != one(1)


# Chains


def test_a_chain_raises_one_size_at_a_time() -> None:
    rng = random.Random(0)
    chain = Chain((0, 1, 0), (3, 1, 2), rng)
    found = [chain.at(number) for number in range(len(chain) + 1)]
    assert (found[0], found[-1], len(chain)) == ((0, 1, 0), (3, 1, 2), 5)
    for before, after in itertools.pairwise(found):
        assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0, 0, 1]
    assert chain.at(9) == found[-1]


@pytest.mark.parametrize("power", [1, 4])
def test_the_last_that_fits_is_found_in_few_trials(power: int) -> None:
    asked: list[int] = []

    def excess_over(limit: float) -> Callable[[Genes], float]:
        def excess(genes: Genes) -> float:
            asked.append(sum(genes))
            return (sum(genes) / limit) ** power - 1

        return excess

    for seed in range(20):
        chain = Chain((0,) * 100, (4,) * 100, random.Random(seed))
        for limit in (0.5, 1, 57, 200, 399, 400, 500):
            asked.clear()
            assert chain.last(excess_over(limit)) == min(int(limit), 400)
            assert len(asked) <= 20


def test_a_size_that_is_stuck_is_raised_no_further() -> None:
    chain = Chain((0, 0), (2, 3), random.Random(1))
    rest = chain.without_step(1)
    stuck = next(place for place in range(2) if chain.at(2)[place] > chain.at(1)[place])
    assert rest.at(0) == chain.at(1)
    assert rest.at(len(rest))[stuck] == chain.at(1)[stuck]
    assert rest.at(len(rest))[1 - stuck] == (2, 3)[1 - stuck]


# Memory


@pytest.fixture(scope="module")
def tight() -> tuple[SearchSpace, Fit]:
    fit = fit_of({"macs": (None, share(0.1))})
    return fit.space, fit


def test_training_within_a_budget_needs_less_memory(tight: tuple[SearchSpace, Fit]) -> None:
    space, fit = tight
    paths = sandwich_paths(space, 0, 1, fit=fit)
    kept = sampled_activations([paths(step)[0] for step in range(8)])
    later = sampled_activations([paths(step)[0] for step in range(100, 120)])
    assert later.most <= kept.bound(64) / 64 * 1.2
    assert max(sampled_activations([paths(step)[0]]).mean for step in range(100, 120)) * 64 <= kept.bound(64)
    assert kept.bound(64) < activations(DIGITS).bound(64) / 2
    less, more = (training_need(space, 64, ema=True, paths=3, kept=found) for found in (kept, None))
    assert less.activations == kept.bound(64) < more.activations
    assert less.weights == more.weights


def test_sampled_activations_of_the_ends_are_near_those_of_the_space() -> None:
    """Without a budget both describe the same sub-networks."""
    drawn = [sandwich(DIGITS, random.Random(seed), 0)[0] for seed in range(20)]
    found, expected = sampled_activations(drawn), activations(DIGITS)
    assert 0.7 <= found.mean / expected.mean <= 1.05
    assert found.largest <= expected.largest

"""Budgets are values: read from text, written back, and one number says how far a network is above them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.budget import UNKNOWN, Budget, quantity, rounded_up
from search_spaces.errors import InputError

NAMES = st.sampled_from(["macs", "params", "activations", "latency_ms"])
LIMITS = st.one_of(st.integers(1, 10**15), st.floats(1e-3, 1e9).map(lambda x: float(f"{x:.6g}")))
BUDGETS = st.dictionaries(NAMES, LIMITS).map(lambda limits: Budget(tuple(sorted(limits.items()))))


@given(BUDGETS)
def test_a_budget_is_what_is_typed_for_it(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2000K", "2M"), ("2M", "macs=2M"), ("0.002G", "2000000"), (" none ", "NONE"), ("macs=1M,params=5K", "params=5000, macs=1M"),
        ("latency_ms=3.50", "latency_ms=3.5"), ("1e6", "1M"), ("2m", "2M"),
    ],
)  # fmt: skip
def test_equal_values_are_equal(one: str, other: str) -> None:
    assert Budget.parse(one) == Budget.parse(other)
    assert str(Budget.parse(one)) == str(Budget.parse(other))


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1M", "0", "nan", "inf", "macs=", "=3M", "macs=2M,macs=3M", "macs=2M,3M", "1M,2M", "a b=3", "macs=none"],
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(InputError) as error:
        Budget.parse(text)
    assert error.value.instead.startswith("search.budget=")
    Budget.parse(error.value.instead.removeprefix("search.budget=").split(", or ")[0])


@given(BUDGETS, st.dictionaries(NAMES, LIMITS))
def test_excess_and_permission_agree(budget: Budget, costs: dict[str, float]) -> None:
    assert budget.allows(costs) == (budget.excess(costs) <= 0)
    assert budget.allows(costs) == all(costs.get(name, math.inf) <= limit for name, limit in budget.limits)
    for name, violation in budget.violations(costs).items():
        limit = budget.limit(name)
        assert limit is not None
        assert violation == (UNKNOWN if name not in costs else costs[name] / limit - 1)


@given(st.integers(1, 2**60), st.integers(-2, 2))
def test_a_network_exactly_at_the_limit_is_within_it(limit: int, above: int) -> None:
    """Also where floats no longer tell whole numbers apart: the engine, study.db and the report agree."""
    budget, costs = Budget((("macs", limit),)), {"macs": limit + above}
    assert (budget.violations(costs)["macs"] <= 0) == budget.allows(costs) == (above <= 0)


def test_no_limits() -> None:
    assert not Budget()
    assert Budget().allows({})
    assert Budget().excess({"macs": 10**18}) < 0


def test_the_refusal_names_the_binding_limit_and_offers_one_that_holds() -> None:
    budget = Budget.parse("macs=1M,activations=10K,params=5K")
    nearest = {"macs": 1_200_000, "activations": 24_576, "params": 4_000}
    error = budget.refusal("tiny", nearest)
    assert "activations is the binding limit" in error.given
    assert "1,200,000 MACs" in error.given
    offered = Budget.parse(error.instead.removeprefix("search.budget="))
    assert offered.allows(nearest)
    assert offered.limit("params") == 5_000


@given(st.floats(1e-6, 1e15))
def test_rounding_up(number: float) -> None:
    up = rounded_up(number)
    assert number <= up <= number * 1.0101
    assert float(f"{up:.3g}") == up


@given(st.integers(1, 10**15))
def test_every_digit_is_kept(number: int) -> None:
    assert Budget.parse(quantity(number)).limit("macs") == number

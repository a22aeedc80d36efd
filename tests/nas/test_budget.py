"""Budgets are values: read from text, written back, and one number says how far a network is above them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.config.search import _NAME, SearchConfig
from nas.goals.budget import UNKNOWN, Budget, quantity, rounded_down, rounded_up, worded
from search_spaces.errors import InputError

NAMES = st.sampled_from(["macs", "params", "activations", "latency_ms", "latency_ms@pi5", "latency_ms@a-b.2_c"])
LIMITS = st.one_of(st.integers(1, 10**15), st.floats(1e-3, 1e9).map(lambda x: float(f"{x:.6g}")))
ENDS = st.tuples(st.none() | LIMITS, st.none() | LIMITS).filter(any)


def budget_of(ends: dict[str, tuple[float | None, float | None]]) -> Budget:
    """A budget of (floor, limit) by cost; ends in the wrong order are swapped."""
    known = sorted((name, tuple(sorted(pair)) if None not in pair else pair) for name, pair in ends.items())
    floors = tuple((name, low) for name, (low, _) in known if low is not None)
    return Budget(tuple((name, high) for name, (_, high) in known if high is not None), floors)


BUDGETS = st.dictionaries(NAMES, ENDS).map(budget_of)


@given(BUDGETS)
def test_a_budget_is_what_is_typed_for_it(budget: Budget) -> None:
    assert Budget.parse(str(budget)) == budget


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2000K", "2M"), ("2M", "macs=2M"), ("0.002G", "2000000"), (" none ", "NONE"), ("macs=1M,params=5K", "params=5000, macs=1M"),
        ("latency_ms=3.50", "latency_ms=3.5"), ("1e6", "1M"), ("2m", "2M"), ("2000K..4M", "macs=2M..0.004G"), ("..4M", "4M"),
        ("LATENCY_MS@Pi5=3 .. 5", "latency_ms@pi5=3..5.0"), ("macs=2M..", " 2000K.. "),
    ],
)  # fmt: skip
def test_equal_values_are_equal(one: str, other: str) -> None:
    assert Budget.parse(one) == Budget.parse(other)
    assert str(Budget.parse(one)) == str(Budget.parse(other))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1M",
        "0",
        "nan",
        "inf",
        "macs=",
        "=3M",
        "macs=2M,macs=3M",
        "macs=2M,3M",
        "1M,2M",
        "a b=3",
        "macs=none",
        "..",
        "macs=..",
        "1..2..3",
        "0..2M",
        "-1M..2M",
        "2M..x",
        "2M..0",
        "2M..inf",
        "macs=2M..,macs=..3M",
        "latency_ms@=3",
        "latency_ms@a@b=3",
        "@pi5=3",
        "latency_ms@pi 5=3",
        "latency_ms@-x=3",
        "latency_ms@a/b=3",
    ],
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(InputError) as error:
        Budget.parse(text)
    assert error.value.instead.startswith("search.budget=")
    Budget.parse(error.value.instead.removeprefix("search.budget=").split(", or ")[0])


def test_a_range_whose_ends_are_swapped_is_named() -> None:
    with pytest.raises(InputError) as error:
        Budget.parse("params=1M,macs=4M..2M")
    assert "no macs can be at least 4M and at most 2M" in error.value.given
    assert error.value.instead == "search.budget=macs=2M..4M"


@given(BUDGETS, st.dictionaries(NAMES, LIMITS))
def test_excess_and_permission_agree(budget: Budget, costs: dict[str, float]) -> None:
    assert budget.allows(costs) == (budget.excess(costs) <= 0)
    low, high = dict(budget.floors), dict(budget.limits)
    assert budget.allows(costs) == all(
        name in costs and low.get(name, 0) <= costs[name] <= high.get(name, math.inf) for name in budget.names
    )
    for name, violation in budget.violations(costs).items():
        if name not in costs:
            assert violation == UNKNOWN
        elif name in high and costs[name] > high[name]:
            assert violation == costs[name] / high[name] - 1 > 0
        elif name in low and costs[name] < low[name]:
            assert violation == 1 - costs[name] / low[name] > 0
        else:
            assert violation <= 0


@given(BUDGETS)
def test_the_parts_of_a_budget_make_it_up(budget: Budget) -> None:
    whole = Budget()
    for part in budget.single():
        assert len(part.names) == 1
        whole = whole | part
    assert whole == budget | budget == budget == budget.over(budget.names)
    assert not budget.over(())


@given(BUDGETS)
def test_the_title_of_a_search_can_name_a_folder(budget: Budget) -> None:
    title = SearchConfig(budget=str(budget), objectives=("top1", "latency_ms@pi5")).title
    assert _NAME.fullmatch(title)
    assert ".." not in title


def test_titles_of_devices_differ() -> None:
    texts = ("latency_ms@pi5=8", "latency_ms@pi=58", "latency_ms=3..5", "latency_ms=3..", "latency_ms=3", "macs=2M..4M")
    titles = {SearchConfig(budget=text).title for text in texts}
    assert len(titles) == len(texts)
    assert SearchConfig(budget="3M").title == "macs3M_top1-macs_nsga2-random_seed0"  # as searches were called before


@given(st.integers(1, 2**60), st.integers(-2, 2))
def test_a_network_exactly_at_the_limit_is_within_it(limit: int, above: int) -> None:
    """Also where floats no longer tell whole numbers apart: the engine, study.db and the report agree."""
    budget, costs = Budget((("macs", limit),)), {"macs": limit + above}
    assert (budget.violations(costs)["macs"] <= 0) == budget.allows(costs) == (above <= 0)
    least = Budget(floors=(("macs", limit),))
    assert (least.violations(costs)["macs"] <= 0) == least.allows(costs) == (above >= 0)


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


def test_only_broken_limits_are_moved() -> None:
    budget = Budget.parse("macs=3.0001M..3.0003M,params=1234567,latency_ms=3.3333..7.7777")
    assert budget.widened({"macs": 3_000_200, "params": 1_234_567}) == budget
    assert budget.widened({"macs": 3_000_400}) == Budget.parse(
        "macs=3.0001M..3.01M,params=1234567,latency_ms=3.3333..7.7777"
    )
    assert budget.widened({"macs": 2_999_999}) == Budget.parse(
        "macs=2.99M..3.0003M,params=1234567,latency_ms=3.3333..7.7777"
    )


def test_the_refusal_of_a_floor_says_so() -> None:
    error = Budget.parse("macs=2M..3M,params=5K").refusal("tiny", {"macs": 1_234_567, "params": 4_000})
    assert "macs is the binding limit, from below" in error.given
    assert error.allowed.startswith("1,234,567 MACs or less")
    assert error.instead == "search.budget=macs=1.23M..3M,params=5K"


def test_the_refusal_of_two_limits_names_both() -> None:
    budget, nearest = Budget.parse("macs=2M..,params=5K"), {"macs": 2_000_000, "params": 7_654}
    error = budget.refusal("tiny", nearest, budget.single())
    assert "no network was found that has at most 5K params and at least 2M macs" in error.given
    assert "nearest network found has 2,000,000 MACs, 7,654 parameters" in error.given
    assert Budget.parse(error.instead.removeprefix("search.budget=")).allows(nearest)


def test_costs_in_words() -> None:
    assert worded("macs", 3_274_176) == "3,274,176 MACs"
    assert worded("latency_ms@pi5", 3.51234567) == "3.512 ms (latency_ms@pi5)"
    assert worded("energy", 2.25) == "2.25 energy"


@given(st.floats(1e-6, 1e15))
def test_rounding_down(number: float) -> None:
    down = rounded_down(number)
    assert number / 1.0101 <= down <= number
    assert float(f"{down:.3g}") == down


@given(st.floats(1e-6, 1e15))
def test_rounding_up(number: float) -> None:
    up = rounded_up(number)
    assert number <= up <= number * 1.0101
    assert float(f"{up:.3g}") == up


@given(st.integers(1, 10**15))
def test_every_digit_is_kept(number: int) -> None:
    assert Budget.parse(quantity(number)).limit("macs") == number

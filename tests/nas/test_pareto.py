"""The front, the hypervolume and the spread, against the slowest code that can be right."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.pareto import Point, front, hypervolume, hypervolume_curve, spread_over

SMALL = st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), max_size=14)
"""A coarse grid, so that ties and duplicates are common."""
REAL = st.lists(st.tuples(st.integers(1, 10**12), st.floats(0, 1)), max_size=25)
few = settings(max_examples=150, deadline=None)


def dominates(a: Point, b: Point) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@few
@given(st.one_of(SMALL, REAL))
def test_front_is_brute_force(points: list[Point]) -> None:
    expected = [
        i
        for i, point in enumerate(points)
        if not any(dominates(other, point) for other in points) and point not in points[:i]
    ]
    assert front(points) == sorted(expected, key=lambda i: points[i][0])


@few
@given(st.one_of(SMALL, REAL), st.randoms(use_true_random=False))
def test_front_does_not_depend_on_order(points: list[Point], random) -> None:
    shuffled = random.sample(points, len(points))
    assert [points[i] for i in front(points)] == [shuffled[i] for i in front(shuffled)]


@few
@given(SMALL, st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_hypervolume_counts_unit_squares(points: list[Point], reference: tuple[int, int]) -> None:
    limit, floor = reference
    squares = sum(
        any(macs <= x and top1 >= y + 1 for macs, top1 in points)
        for x, y in itertools.product(range(limit), range(floor, 9))
    )
    assert hypervolume(points, reference) == squares


@few
@given(REAL)
def test_hypervolume_curve_is_each_prefix(points: list[Point]) -> None:
    reference = (1.1e12, 0.0)
    curve = hypervolume_curve(points, reference)
    assert curve == [hypervolume(points[: n + 1], reference) for n in range(len(points))]
    assert all(later >= earlier for earlier, later in itertools.pairwise(curve))


@few
@given(st.one_of(SMALL, REAL), st.integers(1, 8))
def test_spread_contains_the_ends_and_is_nested(points: list[Point], k: int) -> None:
    whole = front(points)
    chosen = spread_over(points, k)
    assert chosen == spread_over(points, k)
    assert len(chosen) == min(k, len(whole))
    assert chosen == [index for index in whole if index in chosen]
    assert whole[-1:] == chosen[-1:]
    if k >= 2:
        assert whole[:1] == chosen[:1]
    assert set(chosen) <= set(spread_over(points, k + 1))


def test_spread_is_even_in_log_macs() -> None:
    points = [(10.0**e, e / 100) for e in range(1, 10)]
    assert spread_over(points, 3) == [0, 4, 8]
    assert spread_over(points, 5) == [0, 2, 4, 6, 8]
    assert spread_over([(1, 0.1), (2, 0.2), (999, 0.3), (1000, 0.4)], 3) == [0, 1, 3]


def test_ties_and_duplicates() -> None:
    points = [(5, 0.5), (5, 0.5), (5, 0.4), (6, 0.5), (4, 0.5), (4, 0.5)]
    assert front(points) == [4]
    assert front([]) == []
    assert hypervolume([], (1, 0)) == 0
    assert hypervolume_curve([], (1, 0)) == []
    assert spread_over([], 3) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_a_number_is_refused(bad: float) -> None:
    for call in (
        lambda: front([(1.0, bad)]),
        lambda: front([(bad, 0.5)]),
        lambda: hypervolume([], (bad, 0)),
        lambda: hypervolume_curve([(1.0, 0.5), (2.0, bad)], (3, 0)),
        lambda: spread_over([(bad, 0.5)], 1),
    ):
        with pytest.raises(ValueError, match="finite"):
            call()


def test_spread_refuses_what_has_no_logarithm() -> None:
    with pytest.raises(ValueError, match="positive"):
        spread_over([(0, 0.5)], 1)
    with pytest.raises(ValueError, match="1 or more"):
        spread_over([(1, 0.5)], 0)

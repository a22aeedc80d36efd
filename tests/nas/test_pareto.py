"""The front, the hypervolume and the spread, against the slowest code that can be right, for one to four objectives."""

import itertools
import math
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.goals.objectives import parse_objectives
from nas.goals.pareto import Point, front, hypervolume, hypervolume_curve, losses, spread_over


def grid(dimensions: int, most: int = 14) -> st.SearchStrategy[list[Point]]:
    """Points of a coarse grid, so that ties and duplicates are common."""
    return st.lists(st.tuples(*[st.integers(0, 8 if dimensions < 3 else 4)] * dimensions), max_size=most)


SMALL = st.integers(1, 4).flatmap(grid)
REAL = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.tuples(*[st.floats(-1, 0)] * (n - 1), st.integers(1, 10**12)), max_size=25)
)
few = settings(max_examples=150, deadline=None)


def dominates(a: Point, b: Point) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def brute_front(points: list[Point]) -> list[int]:
    return [
        i
        for i, point in enumerate(points)
        if not any(dominates(other, point) for other in points) and point not in points[:i]
    ]


@few
@given(st.one_of(SMALL, REAL))
def test_front_is_brute_force(points: list[Point]) -> None:
    expected = brute_front(points)
    assert front(points) == sorted(expected, key=lambda i: (points[i][-1], tuple(points[i])))
    assert front(points, 0) == sorted(expected, key=lambda i: tuple(points[i]))


@few
@given(st.one_of(SMALL, REAL), st.randoms(use_true_random=False))
def test_front_does_not_depend_on_order(points: list[Point], random) -> None:
    shuffled = random.sample(points, len(points))
    assert [points[i] for i in front(points)] == [shuffled[i] for i in front(shuffled)]


@few
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(grid(n), st.tuples(*[st.integers(0, 5)] * n))))
def test_hypervolume_counts_unit_cubes(case: tuple[list[Point], tuple[int, ...]]) -> None:
    points, reference = case
    cubes = sum(
        any(all(x <= corner for x, corner in zip(point, cube, strict=True)) for point in points)
        for cube in itertools.product(*(range(limit) for limit in reference))
    )
    assert hypervolume(points, reference) == cubes


@few
@given(REAL)
def test_hypervolume_curve_is_each_prefix(points: list[Point]) -> None:
    reference = (*[0.0] * (len(points[0]) - 1), 1.1e12) if points else (1.0,)
    curve = hypervolume_curve(points, reference)
    prefixes = [hypervolume(points[: n + 1], reference) for n in range(len(points))]
    assert curve == pytest.approx(prefixes, rel=1e-9, abs=1e-6)
    assert len(reference) > 2 or curve == prefixes
    assert all(later >= earlier for earlier, later in itertools.pairwise(curve))


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_hypervolume_curve_is_quick(dimensions: int) -> None:
    """400 points, all on the front."""
    rng, points = random.Random(0), []
    for _ in range(400):
        point = [rng.random() + 0.01 for _ in range(dimensions)]
        points.append(tuple(-x / math.hypot(*point) for x in point))
    began = time.process_time()
    curve = hypervolume_curve(points, (0.0,) * dimensions)
    assert time.process_time() - began < 4
    assert curve[-1] == hypervolume(points, (0.0,) * dimensions)
    assert len(front(points)) == 400


@few
@given(st.one_of(SMALL, REAL), st.integers(1, 8), st.booleans())
def test_spread_contains_the_best_and_is_nested(points: list[Point], k: int, along_cost: bool) -> None:
    cost = -1 if along_cost else None
    whole = front(points, -1 if along_cost else 0)
    chosen = spread_over(points, k, cost=cost)
    assert chosen == spread_over(points, k, cost=cost)
    assert len(chosen) == len(set(chosen)) == min(k, len(whole))
    assert chosen == [index for index in whole if index in chosen]
    if points:
        assert min(map(tuple, points)) in [points[index] for index in chosen]
    if points and k >= 2 and along_cost and len(points[0]) == 2:
        assert (chosen[0], chosen[-1]) == (whole[0], whole[-1])
    assert set(chosen) <= set(spread_over(points, k + 1, cost=cost))


@few
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=14), st.integers(1, 5))
def test_two_objectives_are_chosen_by_the_logarithm_of_cost(points: list[tuple[int, int]], k: int) -> None:
    """The rule written out: the best, then always the farthest in log cost, of equally far ones the cheapest."""
    whole = sorted(brute_front(list(points)), key=lambda i: points[i][1])
    chosen = whole[-1:]
    while len(chosen) < min(k, len(whole)):
        left = [i for i in whole if i not in chosen]
        place = {i: math.log(points[i][1]) for i in whole}
        chosen.append(max(left, key=lambda i: min(abs(place[i] - place[c]) for c in chosen)))
    assert spread_over(points, k) == sorted(chosen, key=whole.index)


def test_spread_is_even_in_log_cost() -> None:
    points = [(-e / 100, 10.0**e) for e in range(1, 10)]
    assert spread_over(points, 3) == [0, 4, 8]
    assert spread_over(points, 5) == [0, 2, 4, 6, 8]
    assert spread_over([(-0.1, 1), (-0.2, 2), (-0.3, 999), (-0.4, 1000)], 3) == [0, 1, 3]
    assert spread_over([(cost, top1) for top1, cost in points], 3, score=1, cost=0) == [0, 4, 8]


def test_spread_of_costs_without_a_logarithm() -> None:
    assert spread_over([(-1, 0), (-2, 1), (-3, 5), (-4, 10)], 3) == [0, 2, 3]
    assert spread_over([(-1, -10), (-2, 0), (-3, 1)], 2) == [0, 2]


def test_spread_without_a_cost_is_over_the_points() -> None:
    """Scaled to the front: of (1 - top1, loss) the two ends and the middle, although loss has the larger numbers."""
    points = [(0.1, 400.0), (0.12, 399.0), (0.2, 250.0), (0.3, 100.0), (0.29, 110.0)]
    assert spread_over(points, 3, cost=None) == [0, 2, 3]


def test_ties_and_duplicates() -> None:
    points = [(-0.5, 5), (-0.5, 5), (-0.4, 5), (-0.5, 6), (-0.5, 4), (-0.5, 4)]
    assert front(points) == [4]
    assert front([(1, 2, 3), (1, 2, 3), (2, 2, 3)]) == [0]
    assert front([(3,), (1,), (1,)]) == [1]
    assert front([]) == []
    assert hypervolume([], (1, 0)) == 0
    assert hypervolume_curve([], (1, 0)) == []
    assert spread_over([], 3) == []


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_not_a_number_is_refused(bad: float, dimensions: int) -> None:
    good, wrong = (1.0,) * dimensions, (*(1.0,) * (dimensions - 1), bad)
    for call in (
        lambda: front([good, wrong]),
        lambda: hypervolume([], wrong),
        lambda: hypervolume([wrong], good),
        lambda: hypervolume_curve([good, wrong], good),
        lambda: spread_over([wrong], 1),
    ):
        with pytest.raises(ValueError, match="finite"):
            call()


def test_points_of_different_lengths_are_refused() -> None:
    for call in (
        lambda: front([(1, 2), (1,)]),
        lambda: front([()]),
        lambda: hypervolume([(1, 2)], (1, 2, 3)),
        lambda: hypervolume_curve([(1, 2, 3)], (1, 2)),
    ):
        with pytest.raises(ValueError, match="coordinates"):
            call()
    with pytest.raises(ValueError, match="1 or more"):
        spread_over([(1, 0.5)], 0)


@dataclass
class Measured:
    top1: float = 0.75
    loss: float = 0.5
    costs: dict[str, float] = field(default_factory=lambda: {"macs": 3})


def test_losses() -> None:
    assert losses(Measured(), parse_objectives(["macs", "top1", "loss"])) == (3, -0.75, 0.5)
    assert losses(Measured(), parse_objectives(["top1", "latency_ms"])) is None


def test_two_objectives_need_no_library() -> None:
    code = (
        "import sys; from nas.goals.pareto import front, hypervolume_curve, spread_over\n"
        "p = [(-1, 2), (-2, 3)]; front(p); hypervolume_curve(p, (0, 4)); spread_over(p, 1)\n"
        "assert not {'moocore', 'numpy', 'torch'} & set(sys.modules)\n"
        "front([(1, 2, 3)]); assert 'moocore' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

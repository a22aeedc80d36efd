"""Which networks no other network beats: the front, its hypervolume, and a few points spread over it.

A point is (macs, top1): fewer MACs are better, a higher top-1 is better. Standard library only. Every result depends on
the arguments and their order alone, so equal runs give equal fronts.
"""

import math
from collections.abc import Sequence

Point = tuple[float, float]
"""(macs, top1): MACs of one image, and top-1 in [0, 1]."""


def _check(points: Sequence[Point]) -> None:
    for index, (macs, top1) in enumerate(points):
        if not (math.isfinite(macs) and math.isfinite(top1)):
            raise ValueError(f"point {index} is ({macs}, {top1}); macs and top1 must be finite")


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other point dominates, by rising MACs (and so by rising top-1).

    A point dominates another when it is no worse in both objectives and better in one. Of equal points the one with the
    lowest index is kept. The last index is therefore the best top-1, at the fewest MACs it was reached with.

    Raises:
        ValueError: a coordinate is infinite or not a number.
    """
    _check(points)
    kept: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i)):
        if not kept or points[index][1] > points[kept[-1]][1]:
            kept.append(index)
    return kept


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Area that the points dominate and that dominates `reference`, in MACs x top-1; exact up to rounding.

    Points that are not better than the reference in both objectives add nothing.

    Raises:
        ValueError: a coordinate is infinite or not a number.
    """
    _check([reference])
    limit, floor = reference
    steps = []
    for index in front(points):
        macs, top1 = points[index]
        if macs < limit and top1 > floor:
            steps.append((limit - macs) * (top1 - floor))
            floor = top1
    return math.fsum(steps)


def hypervolume_curve(points: Sequence[Point], reference: Point) -> list[float]:
    """The hypervolume of the first 1, 2, ... of all points; it never falls.

    Raises:
        ValueError: a coordinate is infinite or not a number.
    """
    _check(points)
    kept: list[Point] = []
    curve: list[float] = []
    for macs, top1 in points:
        if any(m <= macs and t >= top1 for m, t in kept):
            curve.append(curve[-1])
        else:
            kept.append((macs, top1))
            kept = [kept[index] for index in front(kept)]
            curve.append(hypervolume(kept, reference))
    return curve


def spread_over(points: Sequence[Point], k: int) -> list[int]:
    """Indices of `k` points of the front of `points`, spread over the logarithm of MACs, by rising MACs.

    The first choice is the best top-1; each further one is the point farthest from all chosen ones, of equally far
    points the cheapest. So the second is the cheapest of the front, and a larger `k` only adds to what a smaller one
    chooses. The whole front is returned when it has no more than `k` points.

    Raises:
        ValueError: `k` is below 1, or a point has no finite coordinates or no positive MACs.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")
    candidates = front(points)
    if candidates and points[candidates[0]][0] <= 0:
        raise ValueError(f"point {candidates[0]} has {points[candidates[0]][0]} MACs; they must be positive")
    position = {index: math.log(points[index][0]) for index in candidates}
    chosen = candidates[-1:]
    while len(chosen) < min(k, len(candidates)):
        left = [index for index in candidates if index not in chosen]
        chosen.append(max(left, key=lambda i: min(abs(position[i] - position[c]) for c in chosen)))
    return sorted(chosen, key=candidates.index)

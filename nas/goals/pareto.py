"""Which points no other point beats: the Pareto front, its hypervolume, and a few points spread over it.

A point is a sequence of one or more finite numbers, one for each objective and all points as many; smaller is better in every
one. `losses` makes such a point of what a search evaluated. Results depend on the arguments and their order alone, so equal runs
give equal fronts, and they are exact (hypervolumes up to rounding) for any number of objectives. One and two objectives need the
standard library only; from three up, moocore does the work, imported here alone and when it is first needed.
"""

import math
from collections.abc import Sequence

from nas.goals.objectives import Objective, Scored

Point = Sequence[float]
"""One number for each objective; smaller is better."""


def losses(scored: Scored, objectives: Sequence[Objective]) -> tuple[float, ...] | None:
    """The point of an evaluation: its objectives in order, negated where more is better. None where one has no value."""
    point = []
    for objective in objectives:
        value = objective.of(scored)
        if value is None:
            return None
        point.append(-value if objective.up else value)
    return tuple(point)


def _check(points: Sequence[Point], length: int | None = None) -> None:
    """
    Raises:
        ValueError: a point has no coordinates, another number of them than `length` or than the first, or one that is not finite.
    """
    for index, point in enumerate(points):
        length = len(point) if length is None else length
        if len(point) != length or not length:
            raise ValueError(
                f"point {index} has {len(point)} coordinates; all must have as many, {length or 'one or more'}"
            )
        if not all(map(math.isfinite, point)):
            raise ValueError(f"point {index} is {tuple(point)}; its coordinates must be finite")


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is no worse than `b` in any coordinate and better in one."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)


def front(points: Sequence[Point], along: int = -1) -> list[int]:
    """Indices of the points that no other point dominates, by rising coordinate `along`.

    Of equal points the one with the lowest index is kept; a single objective leaves its best point alone. Points that are equal
    along that coordinate are listed by the others, then by index. With the default, a front of (-top1, cost) is listed from the
    cheapest to the best.

    Raises:
        ValueError: see the module: a coordinate is not finite, or points have different numbers of them.
    """
    _check(points)
    if not points:
        return []
    if len(points[0]) > 2:
        import moocore

        keep = moocore.is_nondominated([list(map(float, point)) for point in points])
        kept = [index for index in range(len(points)) if keep[index]]
    else:
        kept = []
        for index in sorted(range(len(points)), key=lambda i: (points[i][-1], points[i][0], i)):
            if not kept or (len(points[0]) == 2 and points[index][0] < points[kept[-1]][0]):
                kept.append(index)
    return sorted(kept, key=lambda index: (points[index][along], tuple(points[index]), index))


def hypervolume(points: Sequence[Point], reference: Point) -> float:
    """Size of what the points dominate and that dominates `reference`, in the product of the units; exact up to rounding.

    For one objective it is how far the best point lies below the reference. Points that are not better than the reference in
    every coordinate add nothing.

    Raises:
        ValueError: as `front`, or the reference has another number of coordinates.
    """
    _check([reference])
    _check(points, len(reference))
    inside = [point for point in points if all(x < limit for x, limit in zip(point, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - min(point[0] for point in inside))
    if len(reference) > 2:
        import moocore

        return float(
            moocore.hypervolume([list(map(float, point)) for point in inside], ref=list(map(float, reference)))
        )
    ceiling, limit = reference
    steps = []
    for index in front(inside):
        first, second = inside[index]
        steps.append((limit - second) * (ceiling - first))
        ceiling = first
    return math.fsum(steps)


def hypervolume_curve(points: Sequence[Point], reference: Point) -> list[float]:
    """The hypervolume of the first 1, 2, ... of all points; it never falls. Recomputed only where a point is not dominated.

    Raises:
        ValueError: as `hypervolume`.
    """
    _check([reference])
    _check(points, len(reference))
    kept: list[Point] = []
    curve: list[float] = []
    for point in points:
        if any(all(x <= y for x, y in zip(other, point, strict=True)) for other in kept):
            curve.append(curve[-1])
        else:
            kept = [other for other in kept if not dominates(point, other)] + [point]
            curve.append(max(hypervolume(kept, reference), curve[-1] if curve else 0.0))
    return curve


def spread_over(points: Sequence[Point], k: int, *, score: int = 0, cost: int | None = -1) -> list[int]:
    """Indices of `k` points of the front of `points`, spread over it, in the order of `front`.

    The first choice is the best in coordinate `score`, of equal ones the best in the others in their order. Each further one is
    the point farthest from all chosen ones, of equally far points the first of the front. Far is measured along coordinate
    `cost`: by its logarithm, or by the cost itself where one is not above 0. Without a cost (None) it is the distance of the
    points, each coordinate scaled to the width of the front. So with two objectives, a score and a cost, the second choice is
    the cheapest of the front, and in every case a larger `k` only adds to what a smaller one chooses. The whole front is
    returned when it has no more than `k` points.

    Raises:
        ValueError: `k` is below 1, or as `front`.
    """
    if k < 1:
        raise ValueError(f"k is {k}; it must be 1 or more")
    candidates = front(points, score if cost is None else cost)
    if not candidates:
        return []
    if cost is None:
        columns = [[points[index][axis] for index in candidates] for axis in range(len(points[0]))]
        lows, widths = [min(column) for column in columns], [(max(column) - min(column)) or 1.0 for column in columns]
        places = {
            i: tuple((x - low) / w for x, low, w in zip(points[i], lows, widths, strict=True)) for i in candidates
        }
    elif min(points[index][cost] for index in candidates) > 0:
        places = {index: (math.log(points[index][cost]),) for index in candidates}
    else:
        places = {index: (points[index][cost],) for index in candidates}
    best = min(candidates, key=lambda index: (points[index][score], tuple(points[index]), index))
    chosen, distance = [best], {index: math.dist(places[index], places[best]) for index in candidates}
    while len(chosen) < min(k, len(candidates)):
        chosen.append(max((index for index in candidates if index not in chosen), key=distance.__getitem__))
        distance = {i: min(distance[i], math.dist(places[i], places[chosen[-1]])) for i in candidates}
    return sorted(chosen, key=candidates.index)

"""How a search stands while it runs: its Pareto front, the hypervolume of it, and the best network within the budget.

The hypervolume is a share of a box that is known from the start, so that it can only grow: top-1 from 0 to 1, a loss from 0 to that of
guessing, a cost from 0 to a tenth beyond its limit, or beyond the largest network where it has none. A cost that has no limit and is not
known for the largest network has no side in the box. With top-1 and limits on all costs among the objectives it is the hypervolume of the
report for this search; else the boxes differ, and so do the numbers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from nas.goals.budget import Budget, worded
from nas.goals.objectives import Objective, principal_cost
from nas.goals.pareto import dominates, hypervolume, losses
from nas.records import Evaluation, eligible

BEYOND = 1.1
"""How far the box reaches beyond a limit."""


def box_of(
    objectives: Iterable[Objective], budget: Budget, large: Sequence[Mapping[str, float]], num_classes: int
) -> dict[str, float]:
    """By objective, the end of the box: its other end is 0. For top-1, where 0 is the worse end, it is 1. A cost without a limit that none
    of the large networks has is left out.

    Args:
        large: the known costs of networks of which one is the largest of the search.
    """
    ends = {}
    for objective in objectives:
        name = objective.name
        if not objective.is_cost:
            end = 1.0 if objective.up else math.log(num_classes)
        elif limit := budget.limit(name):
            end = BEYOND * limit
        else:
            known = [costs[name] for costs in large if name in costs]
            if not known:
                continue
            end = BEYOND * max(known)
        ends[name] = end if end > 0 else 1.0
    return ends


class Standing:
    """What has been found so far; grows by one evaluation at a time.

    Args:
        ends: of the box, from `box_of`.
    """

    def __init__(self, objectives: tuple[Objective, ...], budget: Budget, ends: dict[str, float]) -> None:
        self.objectives, self.budget, self.ends = objectives, budget, ends
        self.best: Evaluation | None = None
        self._front: list[tuple[float, ...]] = []
        self._score = next(index for index, objective in enumerate(objectives) if not objective.is_cost)
        self._best: tuple[float, ...] = ()
        self._volume: float | None = 0.0

    @property
    def front(self) -> int:
        """Networks on the Pareto front; of equal ones, one."""
        return len(self._front)

    @property
    def hypervolume(self) -> float:
        """Of the Pareto front, as a share of the box."""
        if self._volume is None:
            unit = [
                tuple(
                    1 + loss if objective.up else max(0.0, loss) / self.ends[objective.name]
                    for loss, objective in zip(point, self.objectives, strict=True)
                    if objective.name in self.ends
                )
                for point in self._front
            ]
            self._volume = hypervolume(unit, (1.0,) * len(self.ends))
        return self._volume

    def add(self, evaluation: Evaluation) -> None:
        """Takes an evaluation into account; one that may not win changes nothing."""
        point = losses(evaluation, self.objectives)
        if point is None or not eligible([evaluation], self.budget, self.objectives):
            return
        rank = (point[self._score], *point)
        if self.best is None or rank < self._best:
            self.best, self._best = evaluation, rank
        if not any(all(x <= y for x, y in zip(other, point, strict=True)) for other in self._front):
            self._front = [other for other in self._front if not dominates(point, other)] + [point]
            self._volume = None

    def shown(self) -> dict[str, float]:
        """For a progress line: the Pareto front's size, its hypervolume, and the best network's first score and principal cost."""
        if self.best is None:
            return {"front": 0}
        found: dict[str, float] = {"front": self.front}
        if len(self.objectives) > 1:
            found["hypervolume"] = self.hypervolume
        score = self.objectives[self._score].name
        found[f"best {score}"] = getattr(self.best, score)
        cost = principal_cost(self.objectives)
        if cost in self.best.costs:
            found[f"at {cost}"] = self.best.costs[cost]
        return found

    def about(self) -> str:
        """The box in words."""
        sides = [
            "top-1 0 to 1" if objective.up else f"loss 0 to {self.ends['loss']:.4g}" if not objective.is_cost else f"0 to {_about(objective.name, self.ends[objective.name])}"
            for objective in self.objectives if objective.name in self.ends
        ]  # fmt: skip
        return " by ".join(sides)


def _about(name: str, end: float) -> str:
    """An end in words, without the digits that multiplying has added."""
    end = float(f"{end:.10g}")
    return worded(name, int(end) if end.is_integer() else end)

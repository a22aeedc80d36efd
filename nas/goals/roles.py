"""Why a network matters: its roles in a search. Extraction, retraining and the report ask here, so that they agree.

Standard library only (see `nas.goals.pareto` for three objectives and more).
"""

from collections.abc import Collection, Iterable, Sequence

from nas.goals.budget import Budget
from nas.goals.objectives import Objective, principal_cost
from nas.goals.pareto import front, losses, spread_over
from nas.records import BASELINE, BASELINES, GIVEN, SAMPLER, Evaluation, eligible

RANDOM = "random"
"""The sampler that every other is compared with."""

ROLES = {
    "front": "on the Pareto front: no other network that a sampler found within the budget is as good in every objective and "
    "better in one",
    "random_best": "the best that random search found within the budget",
    "smallest": "the smallest network of the space",
    "hand_designed": "a plain network as one would design it by hand",
    "largest": "the largest network of the space, or of what the budget of training allows; the budget of the search does not apply to it",
    "given": "given by the user for comparison",
    "chosen": "picked by its digest",
    "retrained": "retrained earlier; not on the Pareto front of the evaluations as they are now",
}
"""Roles, in the order in which they are printed."""


def axes(objectives: Sequence[Objective]) -> tuple[int, int | None]:
    """Where among the objectives the first score is, and the principal cost, if one is among them."""
    names = [objective.name for objective in objectives]
    score = next(index for index, objective in enumerate(objectives) if not objective.is_cost)
    cost = principal_cost(objectives)
    return score, names.index(cost) if cost in names else None


def _points(evaluations: Iterable[Evaluation], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Every objective of every evaluation; all are known, as `eligible` has made sure."""
    return [point for evaluation in evaluations if (point := losses(evaluation, objectives)) is not None]


def front_of(evaluations: Sequence[Evaluation], objectives: Sequence[Objective]) -> list[Evaluation]:
    """The Pareto front of evaluations that are `eligible`, by rising principal cost; without one, the best first."""
    score, cost = axes(objectives)
    return [evaluations[index] for index in front(_points(evaluations, objectives), score if cost is None else cost)]


def best_of(evaluations: Sequence[Evaluation], objectives: Sequence[Objective]) -> Evaluation:
    """The best in the first score of evaluations that are `eligible`; of equal ones by the other objectives, then the earliest."""
    score, _ = axes(objectives)
    points = _points(evaluations, objectives)
    return evaluations[min(range(len(points)), key=lambda index: (points[index][score], points[index], index))]


def spread(evaluations: Sequence[Evaluation], objectives: Sequence[Objective], k: int) -> list[Evaluation]:
    """`k` of the Pareto front of evaluations that are `eligible`, the best in the first score among them: see `spread_over`."""
    score, cost = axes(objectives)
    chosen = spread_over(_points(evaluations, objectives), k, score=score, cost=cost)
    return [evaluations[index] for index in chosen]


def eligible_of(
    evaluations: Iterable[Evaluation],
    sampler: str,
    budget: Budget,
    objectives: Sequence[Objective],
    refuted: Collection[str] = (),
    *,
    estimates: bool = False,
) -> list[Evaluation]:
    """Those that may win among the evaluations of one sampler; see `nas.records.eligible`."""
    own = (e for e in evaluations if e.origin.kind == SAMPLER and e.origin.name == sampler)
    return eligible(own, budget, objectives, refuted, estimates=estimates)


def roles_of(
    evaluations: Sequence[Evaluation],
    budget: Budget,
    objectives: Sequence[Objective],
    refuted: Collection[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Digests of the networks with a role, and their roles in the order of `ROLES`.

    front: all of the Pareto front, in its order. random_best: the best in the first score that random search found. Baselines
    are by their names, of several hand-designed ones the last; networks of the user are `given`. `chosen` and `retrained` are
    for those who pick networks by other rules.

    Args:
        refuted: as for `nas.records.eligible`.
    """
    found: dict[str, set[str]] = {}

    def add(role: str, *chosen: Evaluation) -> None:
        for evaluation in chosen:
            found.setdefault(evaluation.digest, set()).add(role)

    add("front", *front_of(eligible(evaluations, budget, objectives, refuted), objectives))
    if drawn := eligible_of(evaluations, RANDOM, budget, objectives, refuted):
        add("random_best", best_of(drawn, objectives))
    add("given", *(e for e in evaluations if e.origin.kind == GIVEN))
    for name in BASELINES:
        own = [e for e in evaluations if e.origin.kind == BASELINE and e.origin.name == name]
        add(name, *(own[-1:] if name == "hand_designed" else own))
    return {digest: tuple(role for role in ROLES if role in names) for digest, names in found.items()}

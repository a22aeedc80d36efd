"""Expected gains of hypervolume, where some objectives are known and the others are Gaussian after a change of scale. More is better.

The hypervolume of a set of points is the volume that they dominate above a reference point. What a candidate is expected to add has a
closed form for one objective, and for two of which one is known. Elsewhere it is a mean over fixed points of the volume that nobody
dominates yet, each weighed by the probability that the candidate dominates it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

_POINTS, _TRIES = 512, 32
"""Points of the volume that gains are means over, and rounds of drawing them."""

_BEYOND = 0.9
"""Of the unit: how far above the best value the scale can tell values apart."""


@dataclass(frozen=True)
class Scale:
    """A logarithmic scale on which values far below the best come near, and those about the best stay as they are.

    A process on it is disturbed little by networks that fail: no value need be cut off. Value y is at -log(1 + (best - y) / unit), so
    predictions are never above best + unit.
    """

    best: float
    unit: float

    @classmethod
    def over(cls, values: np.ndarray) -> "Scale":
        """The scale of values (n,): its unit is the range of their middle half."""
        low, high = np.quantile(values, [0.25, 0.75])
        return cls(float(values.max()), float(high - low) or float(values.std()) or 1.0)

    def to(self, values: np.ndarray) -> np.ndarray:
        """Values on this scale."""
        return -np.log1p(np.maximum((self.best - values) / self.unit, -_BEYOND))

    def back(self, scaled: np.ndarray) -> np.ndarray:
        """The values that are there on this scale."""
        return self.best + self.unit - self.unit * np.exp(-scaled)

    def expected_above(self, mean: np.ndarray, deviation: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """The expected amounts (n, heights) by which values, Gaussian on this scale, are above heights."""
        room = np.maximum(self.best + self.unit - heights, 1e-12 * self.unit)[None]
        mean, deviation = mean[:, None], deviation[:, None]
        below = (mean + np.log(room / self.unit)) / deviation
        lost = self.unit * np.exp(np.minimum(deviation**2 / 2 - mean, 50.0))
        return np.maximum(room * ndtr(below) - lost * ndtr(below - deviation), 0.0)


@dataclass(frozen=True)
class Guess:
    """An objective of candidates that is not known.

    Args:
        mean, deviation: (n,), on the scale.
    """

    scale: Scale
    mean: np.ndarray
    deviation: np.ndarray

    def at_least(self, thresholds: np.ndarray) -> np.ndarray:
        """Probabilities (n, thresholds) of values of at least the thresholds."""
        return ndtr((self.mean[:, None] - self.scale.to(thresholds)[None]) / self.deviation[:, None])


Objective = Guess | np.ndarray
"""Of candidates: guessed, or known (n,)."""


def undominated(values: np.ndarray) -> np.ndarray:
    """Which points (n, objectives) no other one dominates, as n booleans; of equal ones the first."""
    kept = np.ones(len(values), bool)
    for i, value in enumerate(values):
        as_good = (values >= value).all(axis=1)
        better = as_good & (values > value).any(axis=1)
        kept[i] = not better.any() and not as_good[:i].any()
    return kept


def expected_gains(
    objectives: Sequence[Objective], front: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """What each candidate is expected to add to a front.

    Args:
        objectives: of the candidates, each for all of them.
        front: (points, objectives), of which none dominates another.
        reference: (objectives,).
        rng: of the points that stand for the volume.

    Returns:
        (n,)
    """
    front = front[(front > reference).all(axis=1)]
    if len(objectives) == 1 and isinstance(objectives[0], Guess):
        best = front[:, 0].max(initial=reference[0])
        guess = objectives[0]
        return guess.scale.expected_above(guess.mean, guess.deviation, np.array([best]))[:, 0]
    if len(objectives) == 2 and sum(isinstance(objective, Guess) for objective in objectives) == 1:
        return _over_strips(objectives, front, reference)
    return _over_points(objectives, front, reference, rng)


def _over_strips(objectives: Sequence[Objective], front: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Along the known objective the front is a staircase: in each strip the gain is a width times an expected height."""
    at = 0 if isinstance(objectives[0], Guess) else 1
    guess, known = objectives[at], objectives[1 - at]
    assert isinstance(guess, Guess)
    assert isinstance(known, np.ndarray)
    order = np.argsort(front[:, 1 - at], kind="stable")
    ends = np.append(front[order, 1 - at], np.inf)
    starts = np.concatenate((reference[None, 1 - at], ends[:-1]))
    heights = np.append(front[order, at], reference[at])
    widths = np.maximum(np.minimum(ends[None], known[:, None]) - starts[None], 0.0)
    return (widths * guess.scale.expected_above(guess.mean, guess.deviation, heights)).sum(axis=1)


def _optimistic(objective: Objective) -> np.ndarray:
    """Values (n,) that are known, or that a guess is hardly above."""
    if isinstance(objective, Guess):
        return objective.scale.back(objective.mean + 2 * objective.deviation)
    return objective


def _over_points(
    objectives: Sequence[Objective], front: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    tops = [_optimistic(objective).max() for objective in objectives]
    top = np.maximum(np.array(tops), front.max(axis=0, initial=-np.inf))
    width = np.maximum(top - reference, 0.0)
    kept: list[np.ndarray] = []
    for _ in range(_TRIES):
        points = reference + rng.random((_POINTS, len(reference))) * width
        kept.append(points[~np.any((front[None] >= points[:, None]).all(axis=2), axis=-1)])
        if sum(map(len, kept)) >= _POINTS:
            break
    points = np.concatenate(kept)[:_POINTS]
    if not len(points):
        return np.zeros(len(_optimistic(objectives[0])))
    chance: np.ndarray | float = 1.0
    for i, objective in enumerate(objectives):
        thresholds = points[:, i]
        chance = chance * (
            objective.at_least(thresholds) if isinstance(objective, Guess) else objective[:, None] >= thresholds[None]
        )
    return np.asarray(chance, float).mean(axis=1)

"""NSGA-II with the tournament of its paper: Optuna's, which chooses parents by dominance alone, and here by crowding too.

Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002), section III: of two candidates the one of the better
constrained Pareto rank becomes a parent, and of two of one rank the one in the emptier region. Everything else is Optuna's.
"""

import warnings
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIISampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from nas.samplers.regularised_evolution import unbeaten
from nas.samplers.uniform import UniformSampler

_DRAWS = 10
"""Tournaments for a second parent that is not the first."""


class CrowdedNSGAIISampler(NSGAIISampler):
    """NSGA-II with crowded tournaments and uniform crossover.

    Args:
        population_size: trials of a generation, and parents of the next.
        mutation_prob: of each parameter, to be drawn again; one over their number if left out.
        crossover_prob: that a child has two parents.
        swapping_prob: of each parameter, to come from the second.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        *,
        population_size: int = 50,
        mutation_prob: float | None = None,
        crossover_prob: float = 1.0,
        swapping_prob: float = 0.5,
        seed: int | None = None,
    ) -> None:
        for name, value in (("mutation", mutation_prob), ("crossover", crossover_prob), ("swapping", swapping_prob)):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name}_prob is {value}, and must be 0 to 1")
        self._probabilities = mutation_prob, crossover_prob, swapping_prob
        self._generator = np.random.default_rng(seed)
        self._uniform = UniformSampler(seed=seed)
        self._ranked: tuple[tuple[int, ...], list[tuple[int, float]]] = ((), [])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(population_size=population_size, seed=seed, child_generation_strategy=self._child)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value of the first generation, or of a parameter that mutates: uniform, as in Optuna's."""
        return self._uniform.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Another seed, for processes that work side by side."""
        super().reseed_rng()
        self._uniform.reseed_rng()

    def _child(self, study: Study, space: dict[str, BaseDistribution], parents: list[FrozenTrial]) -> dict[str, Any]:
        """A child's parameters without those that mutate, which Optuna draws again."""
        mutation, crossover, swapping = self._probabilities
        numbers = tuple(parent.number for parent in parents)
        if self._ranked[0] != numbers:
            self._ranked = numbers, _ranks(parents, study.directions)
        ranks, draw = self._ranked[1], self._generator

        def winner() -> int:
            return min(map(int, draw.integers(len(parents), size=2)), key=ranks.__getitem__)

        one = other = winner()
        if draw.random() < crossover:
            for _ in range(_DRAWS):
                if (other := winner()) != one:
                    break
        mutation = 1 / max(1, len(space)) if mutation is None else mutation
        return {
            name: parents[other if draw.random() < swapping else one].params[name]
            for name in space
            if draw.random() >= mutation
        }


def _ranks(trials: list[FrozenTrial], directions: list[StudyDirection]) -> list[tuple[int, float]]:
    """Of each trial the number of its constrained front, and minus its crowding distance: less is better."""
    found: dict[int, tuple[int, float]] = {}
    left, rank = list(trials), 0
    while left:
        front = unbeaten(left, directions)
        for trial, distance in zip(front, _crowding([trial.values for trial in front]), strict=True):
            found[trial.number] = rank, -distance
        left, rank = [trial for trial in left if trial.number not in found], rank + 1
    return [found[trial.number] for trial in trials]


def _crowding(values: list[list[float]]) -> list[float]:
    """Per member of a front, the sum over objectives of the gap between its neighbours, in widths of the front."""
    distances = [0.0] * len(values)
    for objective in range(len(values[0])):
        order = sorted(range(len(values)), key=lambda index: values[index][objective])
        width = values[order[-1]][objective] - values[order[0]][objective]
        if not 0 < width < np.inf:
            continue
        distances[order[0]] = distances[order[-1]] = np.inf
        for before, at, after in zip(order, order[1:], order[2:], strict=False):
            distances[at] += (values[after][objective] - values[before][objective]) / width
    return distances

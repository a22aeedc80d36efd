"""Regularised evolution as an Optuna sampler: parents win tournaments, the oldest die.

Real et al., "Regularized Evolution for Image Classifier Architecture Search" (arXiv:1802.01548): the population is whatever was
evaluated last; each proposal is the winner of a random tournament within it, with one parameter changed. Death by age, not by
rank, is what the authors found to help: a network stays only by having good descendants.

The paper has one objective. With several, and with constraints, the winner is drawn from those of the tournament that none of it
beats, where beating is the constrained domination of NSGA-II (Deb et al., 2002): a feasible trial beats an infeasible one, of two
infeasible ones the smaller violation wins, and two feasible ones are compared by Pareto dominance.

All that a proposal depends on is the seed, the number of its trial and the finished trials of the study.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

_REDRAWS = 100
"""Draws of a parameter until it differs from the parent's."""


class RegularisedEvolutionSampler(BaseSampler):
    """Regularised (ageing) evolution, for any search space, any number of objectives and constraints.

    Args:
        population_size: completed trials that are alive, the newest ones; so many are random at first. At least 2.
        tournament_size: trials among which the parent is chosen; half of the population if left out. The paper has a quarter
            of 100; with populations of 20, half finds more (tests/benchmarks/samplers.py).
        seed: of everything that is drawn; left out, one is drawn.

    Raises:
        ValueError: a size out of range.
    """

    def __init__(
        self, *, population_size: int = 50, tournament_size: int | None = None, seed: int | None = None
    ) -> None:
        if population_size < 2:
            raise ValueError(f"population_size is {population_size}, and must be 2 or more")
        if tournament_size is None:
            tournament_size = max(2, population_size // 2)
        if not 1 <= tournament_size <= population_size:
            raise ValueError(
                f"tournament_size is {tournament_size}, and must be 1 to population_size, {population_size}"
            )
        self._population_size, self._tournament_size = population_size, tournament_size
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._space = IntersectionSearchSpace()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that all completed trials have, of more than one value."""
        return {name: kind for name, kind in self._space.calculate(study).items() if not kind.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A mutated winner; random parameters until the population is complete."""
        if not search_space:
            return {}
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        alive = [t for t in done[-self._population_size :] if search_space.keys() <= t.params.keys()]
        if len(done) < self._population_size or not alive:
            return {name: self.sample_independent(study, trial, name, kind) for name, kind in search_space.items()}
        rng = np.random.default_rng([self._seed, trial.number])
        drawn = rng.choice(len(alive), size=min(self._tournament_size, len(alive)), replace=False)
        best = unbeaten([alive[index] for index in drawn], study.directions)
        parent = best[rng.integers(len(best))]
        child = {name: parent.params[name] for name in search_space}
        name = list(child)[rng.integers(len(child))]
        draw = self._random(trial, name)
        for _ in range(_REDRAWS):
            child[name] = draw.sample_independent(study, trial, name, search_space[name])
            if child[name] != parent.params[name]:
                break
        return child

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Uniform."""
        return self._random(trial, param_name).sample_independent(study, trial, param_name, param_distribution)

    def _random(self, trial: FrozenTrial, name: str) -> RandomSampler:
        sequence = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(name.encode())])
        return RandomSampler(seed=int(sequence.generate_state(1)[0]))


def unbeaten(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The trials that none of them beats, in their order."""
    signs = np.array([-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions])
    values = signs * np.array([trial.values for trial in trials])
    violations = np.array([_violation(trial.constraints) for trial in trials])
    least = violations.min()
    if least > 0:
        return [trial for trial, violation in zip(trials, violations, strict=True) if violation == least]
    feasible = np.flatnonzero(violations == 0)
    return [trials[int(index)] for index in feasible if not _is_beaten(values[index], values[feasible])]


def _is_beaten(one: np.ndarray, others: np.ndarray) -> bool:
    """Whether one of the others, all (number, objectives), dominates it; less is better."""
    return bool(((others <= one).all(axis=1) & (others < one).any(axis=1)).any())


def _violation(constraints: Mapping[str, float]) -> float:
    return sum(value for value in constraints.values() if value > 0)

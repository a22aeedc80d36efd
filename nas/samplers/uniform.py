"""Random search: Optuna's random sampler, with the same draws in a fraction of the time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class UniformSampler(RandomSampler):
    """Draws every parameter uniformly, as Optuna's `RandomSampler` of the same seed does.

    Args:
        search_space: parameters that every trial has, in the order in which they are suggested; they are drawn at once.
        seed: of all draws.
    """

    takes_exact = True

    def __init__(self, *, search_space: Mapping[str, BaseDistribution] | None = None, seed: int | None = None) -> None:
        super().__init__(seed)
        kinds = dict(search_space or {})
        choices = [kind.choices for kind in kinds.values() if isinstance(kind, CategoricalDistribution)]
        # Others have draws of other forms, which are left to Optuna, and so is the order of all of them.
        self._space = kinds if len(choices) == len(kinds) and all(len(some) > 1 for some in choices) else {}
        self._choices = choices if self._space else []
        self._ends = np.cumsum([len(some) for some in self._choices]).tolist()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that are drawn at once."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """A value of each."""
        if not search_space:
            return {}
        drawn = self._rng.rng.random_sample(self._ends[-1]).tolist()
        found, start = {}, 0
        for name, choices, end in zip(self._space, self._choices, self._ends, strict=True):
            found[name] = _chosen(choices, drawn[start:end])
            start = end
        return found

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value of one."""
        if not isinstance(param_distribution, CategoricalDistribution):
            return super().sample_independent(study, trial, param_name, param_distribution)
        choices = param_distribution.choices
        return _chosen(choices, self._rng.rng.random_sample(len(choices)).tolist())


def _chosen(choices: tuple[Any, ...], drawn: list[float]) -> Any:
    """Optuna draws a number for each choice, and takes the first of the largest."""
    return choices[drawn.index(max(drawn))]

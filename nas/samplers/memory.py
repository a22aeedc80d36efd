"""A study in memory whose trials cost little: Optuna's own in-memory storage, with less comparing and copying.

Optuna compares distributions choice by choice, and copies a trial for each parameter that it gets. With the same few distributions
in all trials of a study, nearly all of that finds that one object is itself. Nothing here changes what a sampler is told.
"""

import copy
from collections.abc import Container, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.distributions import CategoricalDistribution as _Optunas
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class CategoricalDistribution(_Optunas):
    """Optuna's, which is equal to itself without a look at its choices, and is its own copy, as nothing changes it.

    It has the name of Optuna's own, under which storages write distributions down.
    """

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, _Optunas):
            return self is other
        return _Optunas(self.choices) == _Optunas(other.choices)

    def __hash__(self) -> int:
        return hash((_Optunas, ("choices", self.choices)))  # that of an equal one of Optuna's

    def __copy__(self) -> "CategoricalDistribution":
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> "CategoricalDistribution":
        return self


def distribution_of(choices: Sequence[Any]) -> CategoricalDistribution:
    """The distribution over choices: one object for all who ask for the same ones."""
    return _distribution_of(tuple(choices), tuple(map(type, choices)))  # 1, 1.0 and True are equal, but not the same


@lru_cache(maxsize=100_000)
def _distribution_of(choices: tuple[Any, ...], kinds: tuple[type, ...]) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


class _Trial(FrozenTrial):
    """A trial of parameters that nothing changes, which are not copied one by one."""

    def __copy__(self) -> "_Trial":
        found = object.__new__(_Trial)
        vars(found).update(vars(self))
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Trial":
        found = copy.copy(self)
        found.params, found.distributions = self.params.copy(), self.distributions.copy()
        found.user_attrs = copy.deepcopy(self.user_attrs, memo)
        found.system_attrs = copy.deepcopy(self.system_attrs, memo)
        found.intermediate_values = self.intermediate_values.copy()
        found.values = None if self.values is None else list(self.values)
        return found


class TrialMemory(InMemoryStorage):
    """Optuna's storage in memory, which also takes many parameters of a trial at once.

    A trial that was handed out is never changed: as in Optuna's, another one takes its place. One that nobody has is changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._own: int | None = None  # the trial that nobody else has

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As `BaseStorage.get_trial`."""
        if trial_id == self._own:
            self._own = None
        return super().get_trial(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """As `BaseStorage.get_all_trials`."""
        found = super().get_all_trials(study_id, deepcopy, states)
        if found and not deepcopy:
            self._own = None
        return found

    def set_trial_params(
        self, trial_id: int, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]
    ) -> None:
        """As one `set_trial_param` for each, but with values as samplers give them.

        Args:
            params: choices by name, in the order in which the trial has them.
            distributions: those of at least these parameters.

        Raises:
            ValueError: a parameter has another distribution than in earlier trials.
            UpdateFinishedTrialError: the trial has ended.
        """
        with self._lock:
            trial = self._get_trial(trial_id)
            self.check_trial_is_updatable(trial_id, trial.state)
            known = self._studies[self._trial_id_to_study_id_and_number[trial_id][0]].param_distribution
            for name in params:
                kind = distributions[name]
                before = known.setdefault(name, kind)
                if before is not kind and before != kind:
                    check_distribution_compatibility(before, kind)
            if trial_id != self._own:
                trial = copy.copy(trial)
                trial.params, trial.distributions = trial.params.copy(), trial.distributions.copy()
                self._set_trial(trial_id, trial)
                self._own = trial_id
            trial.params.update(params)
            trial.distributions.update((name, distributions[name]) for name in params)

    @staticmethod
    def _create_running_trial() -> FrozenTrial:
        return _Trial(
            trial_id=-1, number=-1, state=TrialState.RUNNING, params={}, distributions={}, user_attrs={}, system_attrs={},
            value=None, intermediate_values={}, datetime_start=datetime.now(), datetime_complete=None,
        )  # fmt: skip

"""study.db: a search's evaluations as Optuna studies in SQLite, for Optuna's own tools and its dashboard.

It is written from the records of evaluations alone, which are the truth, and made anew wherever it says something else. One study
for each search and sampler, with a completed trial for each evaluation, whose parameters are the choices that matter for the network
that was evaluated. Constraints are written twice: as Optuna 5 reads them (`constraints:NAME`), and under the key `constraints`,
which is the one that optuna-dashboard 0.21 reads.
"""

import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.budget import Budget
from nas.objectives import Objective
from nas.records import SAMPLER, Evaluation
from nas.samplers.proposer import labels_of
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """What study.db says of one search.

    Args:
        name: of the search.
        evaluations: in the order of their numbers; those of samplers are written.
    """

    name: str
    objectives: tuple[Objective, ...]
    budget: Budget
    evaluations: Sequence[Evaluation]


def write_studies(path: Path, space: SearchSpace, searches: Sequence[Search]) -> None:
    """Brings the studies "SEARCH/SAMPLER" of a file up to date with the records. Other studies in it are left alone.

    Trials that are missing are appended; a study that says something else is replaced; a damaged file is made anew.

    Raises:
        OSError: the file cannot be written.
    """
    try:
        try:
            _write(path, space, searches)
        except (SQLAlchemyError, sqlite3.Error, RuntimeError, ValueError, KeyError, AssertionError):
            # no database, a database of something else or of another version, or rows that make no trial
            for left in (path, path.with_name(f"{path.name}-journal")):
                left.unlink(missing_ok=True)
            _write(path, space, searches)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise OSError(str(error).splitlines()[0]) from error


def _write(path: Path, space: SearchSpace, searches: Sequence[Search]) -> None:
    storage = RDBStorage(f"sqlite:///{path}")
    try:
        there = {study.study_name for study in optuna.get_all_study_summaries(storage, include_best_trial=False)}
        for search in searches:
            of: dict[str, list[Evaluation]] = {}
            for evaluation in search.evaluations:
                if evaluation.origin.kind == SAMPLER:
                    of.setdefault(evaluation.origin.name, []).append(evaluation)
            for sampler, evaluations in of.items():
                name = f"{search.name}/{sampler}"
                _bring_up_to_date(storage, name, name in there, _trials(space, search, evaluations), search.objectives)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _bring_up_to_date(
    storage: RDBStorage, name: str, exists: bool, trials: list[FrozenTrial], objectives: Sequence[Objective]
) -> None:
    names, directions = [objective.name for objective in objectives], [objective.direction for objective in objectives]
    known = 0
    if exists:
        study = optuna.load_study(study_name=name, storage=storage)
        found = study.get_trials(deepcopy=False)
        known = len(found)
        same = (
            study.metric_names == names
            and [direction.name.lower() for direction in study.directions] == directions
            and [_said(trial) for trial in found] == [_said(trial) for trial in trials[:known]]
        )
        if not same:
            optuna.delete_study(study_name=name, storage=storage)
            exists, known = False, 0
    if not exists:
        study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(names)
    if trials[known:]:
        study.add_trials(trials[known:])


def _said(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.state, trial.params, trial.distributions, trial.values, trial.user_attrs, trial.system_attrs


def _trials(space: SearchSpace, search: Search, evaluations: Sequence[Evaluation]) -> list[FrozenTrial]:
    kinds = {name: CategoricalDistribution(labels) for name, labels in labels_of(space).items()}
    return [_trial(space, kinds, search, evaluation) for evaluation in evaluations]


def _trial(
    space: SearchSpace, kinds: Mapping[str, CategoricalDistribution], search: Search, evaluation: Evaluation
) -> FrozenTrial:
    genes = space.encode(evaluation.architecture)
    names = [space.genes[position].name for position in space.active(genes)]
    labels = {gene.name: kinds[gene.name].choices[index] for gene, index in zip(space.genes, genes, strict=True)}
    values = [objective.of(evaluation) for objective in search.objectives]
    if None in values:
        missing = search.objectives[values.index(None)].name
        raise InputError(
            f"evaluation {evaluation.n} of search {search.name} has no {missing}",
            "every objective",
            "another objective",
        )
    violations = search.budget.violations(evaluation.costs)
    constraints: dict[str, Any] = {f"constraints:{name}": violation for name, violation in violations.items()}
    if violations:
        constraints["constraints"] = list(violations.values())
    return optuna.create_trial(
        state=TrialState.COMPLETE,
        params={name: labels[name] for name in names},
        distributions={name: kinds[name] for name in names},
        values=[float(value) for value in values if value is not None],
        user_attrs={"digest": evaluation.digest, "trial": evaluation.trial, "costs": dict(evaluation.costs)},
        system_attrs=constraints,
    )

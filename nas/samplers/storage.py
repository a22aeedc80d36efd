"""study.db: a search's evaluations as Optuna studies in SQLite, for Optuna's own tools and its dashboard.

It is written from the records of evaluations alone, and made again wherever it differs from them. One study
for each search and sampler, with a completed trial for each evaluation, whose parameters are the choices that matter for the network
that was evaluated. Constraints are written twice: as Optuna 5 reads them (`constraints:NAME`), and under the key `constraints`,
which is the one that optuna-dashboard 0.21 reads. Where a search drops networks early, these are outside of a constraint of their own,
for what is said of them is an estimate.

Trials are written as rows, in one transaction: Optuna's own `add_trials` takes some 10 ms per trial, most of it for questions whose answers
are known here. The rows are those of its schema 12 (Optuna 5.0); into a file of another schema its own function writes.
"""

import datetime
import json
import math
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning, OptunaError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

from nas.goals.budget import Budget
from nas.goals.objectives import Objective
from nas.records import SAMPLER, Evaluation
from nas.samplers.database import harden, remove, settle
from nas.samplers.proposer import labels_of
from search_spaces.space import SearchSpace

optuna.logging.set_verbosity(optuna.logging.WARNING)


FAILURES = (SQLAlchemyError, sqlite3.Error, OptunaError, RuntimeError, ValueError, KeyError, AssertionError)
"""What a file that is no study.db raises in Optuna."""

DROPPED = "dropped"
"""The constraint that is 1 for a network that was dropped before all images had been seen, and 0 for others."""

_SCHEMA = 12
"""Of the files whose rows are known here."""

_NOT_DAMAGE = ("locked", "unable to open", "full", "readonly", "disk I/O", "no longer compatible")
"""Of SQLite's and Optuna's messages: the file may be sound, and is kept."""


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


_Study = tuple[tuple[Objective, ...], list[FrozenTrial]]


def write_studies(path: Path, space: SearchSpace, searches: Sequence[Search]) -> None:
    """Brings the studies "SEARCH/SAMPLER" of a file up to date with the records. Other studies in it are left alone.

    Trials that are missing are appended; a study that says something else is replaced; a damaged file is made again, and so is one of
    another version of Optuna or with far more in it than the records need.

    Raises:
        OSError: the file cannot be written.
        InputError: a link stands in its place.
        ValueError: an evaluation has no value for an objective.
    """
    studies = studies_of(space, searches)
    settle(path, studies, sum(_rows(trial) for _, trials in studies.values() for trial in trials))
    try:
        try:
            _write(path, studies)
        except FAILURES as error:
            if any(words in reason_of(error) for words in _NOT_DAMAGE):
                raise
            # no database, a database of something else or of another version, or rows that make no trial
            remove(path)
            _write(path, studies)
    except FAILURES as error:
        raise OSError(reason_of(error)) from error


def _url(path: Path) -> str:
    """As SQLAlchemy takes it, whatever characters the path has."""
    try:
        return str(URL.create("sqlite", database=str(path)))
    except UnicodeEncodeError:  # bytes that are no UTF-8, which SQLite opens as they are
        return f"sqlite:///{path}"


def reason_of(error: BaseException) -> str:
    """The first line of what SQLite said, which Optuna may have wrapped."""
    return (str(error.__cause__ or error).splitlines() or [type(error).__name__])[0]


def _write(path: Path, studies: Mapping[str, _Study]) -> None:
    storage = RDBStorage(_url(path), skip_compatibility_check=not path.exists())  # a new file is of this version
    try:
        storage.remove_session()
        event.listen(storage.engine, "connect", _hurry)
        storage.engine.dispose()  # what is open was opened without
        there = set(optuna.get_all_study_names(storage))  # summaries would load the trials of all
        for name, (objectives, trials) in studies.items():
            _bring_up_to_date(storage, name, name in there, trials, objectives)
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _hurry(connection: sqlite3.Connection, _: object) -> None:
    """Leaves it to the system when to write: the file is made again if a power failure damages it."""
    harden(connection)
    connection.execute("PRAGMA synchronous = OFF")


def _bring_up_to_date(
    storage: RDBStorage, name: str, exists: bool, trials: list[FrozenTrial], objectives: Sequence[Objective]
) -> None:
    names = [objective.name for objective in objectives]
    directions = [StudyDirection.MAXIMIZE if objective.up else StudyDirection.MINIMIZE for objective in objectives]
    if exists:
        study = optuna.load_study(study_name=name, storage=storage)
        found = study.get_trials(deepcopy=False)
        if (
            study.metric_names == names
            and study.directions == directions
            and [_said(trial) for trial in found] == [_said(trial) for trial in trials[: len(found)]]
        ):
            _add_trials(storage, study, len(found), trials[len(found) :])
            return
        optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, directions=directions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(names)
    _add_trials(storage, study, 0, trials)


def _add_trials(storage: RDBStorage, study: optuna.Study, number: int, trials: Sequence[FrozenTrial]) -> None:
    """
    Args:
        number: of the first of the trials: how many the study has.
    """
    if not trials:
        return
    connection = storage.engine.raw_connection()
    try:
        database = connection.driver_connection
        if isinstance(database, sqlite3.Connection) and can_insert(database):
            insert_trials(database, study._study_id, number, trials)
            connection.commit()
            return
    finally:
        connection.close()
    study.add_trials(trials)


def can_insert(database: sqlite3.Connection) -> bool:
    """Whether the file has the schema that `insert_trials` knows."""
    return database.execute("SELECT schema_version FROM version_info").fetchall() == [(_SCHEMA,)]


def insert_trials(database: sqlite3.Connection, study_id: int, number: int, trials: Sequence[FrozenTrial]) -> None:
    """Adds completed trials to a study, as rows; the caller commits.

    Args:
        number: of the first of them.
    """
    distributions: dict[int, str] = {}  # by identity: a study has one object for each parameter
    for offset, trial in enumerate(trials):
        times = [time and time.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(" ") for time in (trial.datetime_start, trial.datetime_complete)]  # fmt: skip
        row = database.execute(
            "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) VALUES (?, ?, ?, ?, ?)",
            (number + offset, study_id, trial.state.name, *times),
        )
        own = row.lastrowid
        for kind in trial.distributions.values():
            if id(kind) not in distributions:
                distributions[id(kind)] = distribution_to_json(kind)
        database.executemany(
            "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (?, ?, ?, ?)",
            [
                (
                    own,
                    name,
                    trial.distributions[name].to_internal_repr(value),
                    distributions[id(trial.distributions[name])],
                )
                for name, value in trial.params.items()
            ],
        )
        database.executemany(
            "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, ?, ?, ?)",
            [(own, objective, *_stored(value)) for objective, value in enumerate(trial.values)],
        )
        for table, values in (
            ("trial_user_attributes", trial.user_attrs),
            ("trial_system_attributes", trial.system_attrs),
        ):
            database.executemany(
                f'INSERT INTO {table} (trial_id, "key", value_json) VALUES (?, ?, ?)',
                [(own, key, json.dumps(value)) for key, value in values.items()],
            )


def _stored(value: float) -> tuple[float | None, str]:
    """A value as Optuna's table has it: SQLite has no infinities."""
    return (None, "INF_POS" if value > 0 else "INF_NEG") if math.isinf(value) else (value, "FINITE")


def _said(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.state, trial.params, trial.distributions, trial.values, trial.user_attrs, trial.system_attrs


def _rows(trial: FrozenTrial) -> int:
    """How many rows `insert_trials` writes of it."""
    return 1 + len(trial.params) + len(trial.values) + len(trial.user_attrs) + len(trial.system_attrs)


def studies_of(space: SearchSpace, searches: Sequence[Search]) -> dict[str, _Study]:
    """By name, the objectives and the trials of the studies that the records of searches make.

    Raises:
        ValueError: an evaluation has no value for an objective.
    """
    kinds = {name: CategoricalDistribution(labels) for name, labels in labels_of(space).items()}
    studies: dict[str, _Study] = {}
    for search in searches:
        for evaluation in search.evaluations:
            if evaluation.origin.kind == SAMPLER:
                name = f"{search.name}/{evaluation.origin.name}"
                _, trials = studies.setdefault(name, (search.objectives, []))
                trials.append(_trial(space, kinds, search, evaluation))
    return studies


def _trial(
    space: SearchSpace, kinds: Mapping[str, CategoricalDistribution], search: Search, evaluation: Evaluation
) -> FrozenTrial:
    genes = space.encode(evaluation.architecture)
    names = [space.genes[position].name for position in space.active(genes)]
    labels = {gene.name: kinds[gene.name].choices[index] for gene, index in zip(space.genes, genes, strict=True)}
    values = [objective.of(evaluation) for objective in search.objectives]
    if None in values:
        raise ValueError(
            f"evaluation {evaluation.n} of search {search.name} has no {search.objectives[values.index(None)].name}"
        )
    violations = search.budget.violations(evaluation.costs)
    constraints: dict[str, Any] = {f"constraints:{name}": violation for name, violation in violations.items()}
    user = {"digest": evaluation.digest, "trial": evaluation.trial, "costs": dict(evaluation.costs)}
    if evaluation.against is not None:  # its search drops networks, whose estimates Optuna would put on its front
        user["against"] = evaluation.against
        constraints[f"constraints:{DROPPED}"] = float(evaluation.is_estimate)
    if constraints:
        constraints["constraints"] = list(constraints.values())
    return optuna.create_trial(
        state=TrialState.COMPLETE,
        params={name: labels[name] for name in names},
        distributions={name: kinds[name] for name in names},
        values=[float(value) for value in values if value is not None],
        user_attrs=user,
        system_attrs=constraints,
    )

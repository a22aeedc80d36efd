"""What samplers have in common that are told exact functions: how they see a study, how they begin, and what they never propose.

Knows no networks.
"""

import itertools
import threading
import zlib
from abc import abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.candidates import Pool, first_pool, pool_of
from nas.samplers.encoding import Encoding
from nas.samplers.facts import Facts, Known

_STRATUM = 30
"""Rows of a stratum among which the one farthest from the earlier ones is proposed."""

_OTHERS = 200
"""Rows that are looked through for one that no trial has, where a sampler finds none."""


@dataclass(frozen=True)
class Seen:
    """One trial: its row, and what came of it.

    Args:
        values: of all objectives, more being better; None unless the trial is complete.
        limits: its constraints by name.
    """

    number: int
    row: np.ndarray
    values: np.ndarray | None
    limits: Mapping[str, float]


@dataclass(frozen=True)
class Trials:
    """The other trials of a study: complete ones, pruned ones with constraints, and running ones; and the identities of all."""

    complete: list[Seen]
    pruned: list[Seen]
    running: list[Seen]
    identities: set[Hashable]


@dataclass
class Task:
    """One space of one study, with what need not be computed again.

    Args:
        signs: by objective, 1 where more is better and -1 where less is.
        start: feasible rows; see `nas.samplers.candidates.first_pool`.
        memory: what the sampler keeps from one trial to the next.
    """

    encoding: Encoding
    facts: Facts
    signs: np.ndarray
    start: Pool
    seen: dict[int, Seen] = field(default_factory=dict)
    identities: dict[bytes, Hashable] = field(default_factory=dict)
    memory: Any = None


class InformedSampler(BaseSampler):
    """A sampler with exact functions. One that inherits it says what comes after the first trials, in `propose`.

    Any parameters that all trials have; others are drawn at random. The first trials are spread over the range of the first known
    objective, far from each other. Nothing is proposed twice, and nothing that a known constraint forbids, as long as there is anything
    else to be found. A proposal depends on the seed, the number of its trial, and the finished and running trials of the study.

    Args:
        known: by the number of an objective, a function that gives its exact value for parameters by name; it can be made to answer for
            many at once (`nas.samplers.facts.Known`).
        constraints: by name, functions that give the exact violation, at most 0 where the constraint is kept.
        identity: what parameters stand for, where different ones may be the same. The parameters themselves if left out.
        search_space: the parameters of the first trial, which no trial has told yet. If left out, it is drawn at random.
        candidates: parameters by name, if no others may be proposed while one of these is left. Where rules for what may be tried are
            not known, as where costs were measured of some networks only, nothing else leads to them.
        n_startup_trials: so many are spread over the space. At least 2.
        seed: of everything that is drawn; left out, one is drawn.

    Raises:
        ValueError: a number out of range.
    """

    takes_exact = True
    """Searches give the exact functions to samplers whose class says so; a sampler of your own may say it too (`nas.searching.exact`)."""

    def __init__(
        self,
        *,
        known: Mapping[int, Known] | None = None,
        constraints: Mapping[str, Known] | None = None,
        identity: Callable[[Mapping[str, Any]], Hashable] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        candidates: Sequence[Mapping[str, Any]] | None = None,
        n_startup_trials: int = 20,
        seed: int | None = None,
    ) -> None:
        if n_startup_trials < 2:
            raise ValueError(f"n_startup_trials is {n_startup_trials}, and must be 2 or more")
        self.known, self.constraints = dict(known or {}), dict(constraints or {})
        self._identity, self._first = identity, dict(search_space or {})
        self.candidates = None if candidates is None else list(candidates)
        self._startup = n_startup_trials
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._space = IntersectionSearchSpace(include_pruned=True)
        self._task: tuple[Hashable, Task] | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def propose(self, task: Task, trials: Trials, rng: np.random.Generator) -> np.ndarray | None:
        """The row of the next trial, which is `fresh`; None if none is found.

        Args:
            trials: at least two are complete.
            rng: of this trial.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again, and without the lock."""
        return {name: value for name, value in vars(self).items() if name != "_lock"} | {"_task": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The parameters that all finished trials have, of more than one value; before there is one, those of a running trial."""
        with self._lock:
            space = self._space.calculate(study)
        if not space and not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            others = [other.distributions for other in running if other.number < trial.number and other.distributions]
            space = self._first or (others[0] if others else {})
        return {name: kind for name, kind in sorted(space.items()) if not kind.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Parameters far from those of the other trials at first, and then what `propose` says."""
        if not search_space:
            return {}
        with self._lock:
            task = self._task_of(study, search_space)
            trials = self._observed(task, study, trial)
            rng = np.random.default_rng([self.seed, trial.number])
            count = len(trials.complete) + len(trials.running)
            if count < self._startup or len(trials.complete) < 2:
                row = self._started(task, trials, count, rng)
            elif task.start.whole and not any(self.fresh(task, trials, row) for row in task.start.rows):
                row = None
            else:
                row = self.propose(task, trials, rng)
            return task.encoding.decode(self._another(task, trials, rng) if row is None else row)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Uniform."""
        sequence = np.random.SeedSequence([self.seed, trial.number, zlib.crc32(param_name.encode())])
        draw = RandomSampler(seed=int(sequence.generate_state(1)[0]))
        return draw.sample_independent(study, trial, param_name, param_distribution)

    def fresh(self, task: Task, trials: Trials, row: np.ndarray) -> bool:
        """Whether no trial is what a row stands for."""
        return self._identity_of(task, row) not in trials.identities

    def _task_of(self, study: Study, space: Mapping[str, BaseDistribution]) -> Task:
        key = (study.study_name, tuple((name, repr(kind)) for name, kind in space.items()))
        if self._task is None or self._task[0] != key:
            encoding = Encoding(space)
            signs = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in study.directions])
            known = [(self.known[i], signs[i]) for i in sorted(self.known)]
            facts = Facts(encoding, known, list(self.constraints.values()))
            start = first_pool(
                encoding, facts, np.random.default_rng([self.seed, 2**31]), self._candidate_rows(encoding)
            )
            facts.settle(start.values, start.limits)
            self._task = key, Task(encoding, facts, signs, start)
        return self._task[1]

    def _candidate_rows(self, encoding: Encoding) -> np.ndarray | None:
        """(n, parameters), each once; None where any row may be proposed, or where these parameters are others than the candidates'."""
        if not self.candidates or not all(name in self.candidates[0] for name in encoding.names):
            return None
        return np.unique([encoding.encode(params) for params in self.candidates], axis=0)

    def _observed(self, task: Task, study: Study, trial: FrozenTrial) -> Trials:
        found = Trials([], [], [], set())
        for other in study.get_trials(deepcopy=False):
            if other.number == trial.number or other.state == TrialState.WAITING:
                continue
            seen = task.seen.get(other.number)
            if seen is None:
                if any(other.distributions.get(column.name) != column.kind for column in task.encoding.columns):
                    continue
                row = task.encoding.encode(other.params)
                complete = other.state == TrialState.COMPLETE
                values = task.signs * np.array(other.values) if complete and other.values is not None else None
                seen = Seen(other.number, row, values, dict(other.constraints))
                if other.state.is_finished():
                    task.seen[other.number] = seen
            found.identities.add(self._identity_of(task, seen.row))
            if other.state == TrialState.RUNNING:
                found.running.append(seen)
            elif seen.values is not None:
                found.complete.append(seen)
            elif seen.limits:
                found.pruned.append(seen)
        return found

    def _identity_of(self, task: Task, row: np.ndarray) -> Hashable:
        key = row.tobytes()
        if self._identity is None:
            return key
        if key not in task.identities:
            task.identities[key] = self._identity(task.encoding.decode(row))
        return task.identities[key]

    def _started(self, task: Task, trials: Trials, count: int, rng: np.random.Generator) -> np.ndarray | None:
        """A row of the next stratum of the first known objective, far from the rows of the other trials."""
        pool = task.start
        order = np.argsort(pool.values[:, 0], kind="stable") if pool.values.shape[1] else rng.permutation(len(pool))
        places = sorted(range(self._startup), key=lambda place: (f"{place:032b}"[::-1], place))
        stratum = np.array_split(order, self._startup)[places[count % self._startup]]
        others = [seen.row for seen in (*trials.complete, *trials.running)]
        for group in (stratum, order):
            fresh = (i for i in rng.permutation(group) if self.fresh(task, trials, pool.rows[i]))
            if some := list(itertools.islice(fresh, _STRATUM)):
                rows = pool.rows[some]
                if not others:
                    return rows[0]
                apart = _apart(task.encoding.positions(rows), task.encoding.positions(np.array(others)))
                return rows[int(np.argmax(apart))]
        return None

    def _another(self, task: Task, trials: Trials, rng: np.random.Generator) -> np.ndarray:
        """A feasible row of no other trial, if one is found near those that are known to be feasible."""
        rows = task.start.rows[rng.permutation(len(task.start))[:_OTHERS]]
        near = pool_of(task.facts, task.encoding.mutate(rng, np.repeat(rows, 3, axis=0)))
        inside = near.rows[task.facts.excess(near.values, near.limits) <= 0]
        return next((row for row in (*rows, *inside) if self.fresh(task, trials, row)), rows[0])


def _apart(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each row (n, parameters) how many parameters differ from the nearest of the others, and a little by how much."""
    differences = np.abs(rows[:, None] - others[None])
    return ((differences != 0) + 0.1 * np.minimum(differences, 1)).sum(axis=2).min(axis=1)

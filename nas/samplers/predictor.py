"""A sampler that computes what is known, learns what is not, and proposes what gains most hypervolume. Knows no networks.

    PredictorSampler(known={1: cost}, constraints={"cost": lambda params: cost(params) / limit - 1}, identity=decoded, seed=0)

The first trials are spread over the range of the first known objective, far from each other. Then each objective and each constraint that
is not known has a Gaussian process over the parameters (`nas.samplers.gaussian_process`), and the candidate of most expected gain of
hypervolume is proposed (`nas.samplers.hypervolume`) among all rows, or among those that an evolution finds (`nas.samplers.candidates`).
Running trials count with their predicted means, so that a batch is proposed one by one. Every trial adds one row to the factors of the
process; its parameters are fitted again, from the start, each time a tenth more trials are complete.

A proposal depends on the seed, the number of its trial, and the finished and running trials of the study: a new sampler on a copy of a
study proposes what the old one does.

Milliseconds per proposal on one core that was shared, 8 parameters of 3 values, all rows listed: SEE_BELOW.
"""

import threading
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr

from nas.samplers.candidates import Pool, evolved, first_pool, pool_of
from nas.samplers.encoding import Encoding
from nas.samplers.facts import Facts, Known
from nas.samplers.gaussian_process import Kernel, Points, Posterior, fit
from nas.samplers.hypervolume import Guess, Objective, Scale, expected_gains, undominated

_FITTED = 256
"""Values of which the parameters of a process are fitted; of more, so many of them."""

_TRUST = 0.5
"""How far an observed value is moved to its mean, which leaves out noise, where the front is concerned. Between two seeds' noise shown and
none, .5 lost nothing to the better of 0 and 1 (tests/benchmarks/tables.py)."""

_BELOW = 4.0
"""Ranges of the middle half of the values, below that half, where the reference point lies; or at the worst value, if that is nearer."""

_MARGIN = 0.01
"""Of the range of a known objective, how far the reference point lies beyond its worst value."""

_NEAR = 3
"""Best candidates whose neighbours are tried too, where not all rows are listed."""

_FAR = 10.0
"""Deviations at which a value is cut off."""

_STRATUM = 30
"""Rows of a stratum among which the one farthest from the earlier ones is proposed."""


@dataclass(frozen=True)
class _Seen:
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
class _Trials:
    """The other trials of a study: complete ones, pruned ones with constraints, and running ones; and the identities of all."""

    complete: list[_Seen]
    pruned: list[_Seen]
    running: list[_Seen]
    identities: set[Hashable]


@dataclass(frozen=True)
class _Learned:
    """A process of one objective, or of one constraint.

    Args:
        scale: None of a constraint, whose values are divided by `unit` alone, so that 0 stays the limit.
        shift, unit: of the scaled values, to mean 0 and deviation 1.
        scaled: the values that were given, and the means of those awaited.
        numbers: the trials that they are of.
    """

    scale: Scale | None
    shift: float
    unit: float
    posterior: Posterior
    scaled: tuple[float, ...]
    numbers: tuple[int, ...]

    def of(self, value: float) -> float:
        """A value as the process is given it."""
        scaled = self.scale.to(np.array(value)) if self.scale else np.clip(value, -3 * self.unit, 3 * self.unit)
        return float(np.clip((scaled - self.shift) / self.unit, -_FAR, _FAR))

    def given(self, number: int, point: Points, value: float | None) -> "_Learned":
        """After the value of one more trial; None if it is awaited."""
        scaled = float(self.posterior.at(point)[0][0]) if value is None else self.of(value)
        posterior = self.posterior.given(point, None if value is None else scaled)
        return _Learned(self.scale, self.shift, self.unit, posterior, (*self.scaled, scaled), (*self.numbers, number))

    def smoothed(self) -> np.ndarray:
        """The values (n,) in units of the objective, moved towards their means."""
        assert self.scale is not None
        scaled = np.array(self.scaled) - _TRUST * self.posterior.residual()
        return self.scale.back(scaled * self.unit + self.shift)

    def guess(self, mean: np.ndarray, deviation: np.ndarray) -> Guess:
        assert self.scale is not None
        return Guess(self.scale, mean * self.unit + self.shift, deviation * self.unit)


@dataclass
class _Model:
    """What is learned after some trials, about the rows of a pool."""

    base: tuple[int, ...]
    trials: tuple[int, ...]
    pool: Pool
    objectives: dict[int, _Learned]
    constraints: dict[str, _Learned]


@dataclass
class _Task:
    """One space of one study, with what need not be computed again."""

    encoding: Encoding
    facts: Facts
    kernel: Kernel
    signs: np.ndarray
    start: Pool
    seen: dict[int, _Seen] = field(default_factory=dict)
    identities: dict[bytes, Hashable] = field(default_factory=dict)
    model: _Model | None = None


class PredictorSampler(BaseSampler):
    """Gaussian processes of what is unknown, exact functions of what is known, and the most expected gain of hypervolume.

    Any parameters that all trials have; others are drawn at random. One to four objectives.

    Args:
        known: by the number of an objective, a function that gives its exact value for parameters by name (see
            `nas.samplers.facts.Known`, also for many at once). What it gives is never learned.
        constraints: by name, functions that give the exact violation, at most 0 where the constraint is kept. Constraints of other names,
            which trials set, are learned.
        identity: what parameters stand for, where different ones may be the same. The parameters themselves if left out.
        search_space: the parameters of the first trial, which no trial has told yet. If left out, it is drawn at random.
        n_startup_trials: so many are spread over the space before anything is learned. At least 2.
        seed: of everything that is drawn; left out, one is drawn.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(
        self,
        *,
        known: Mapping[int, Known] | None = None,
        constraints: Mapping[str, Known] | None = None,
        identity: Callable[[Mapping[str, Any]], Hashable] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        n_startup_trials: int = 20,
        seed: int | None = None,
    ) -> None:
        if n_startup_trials < 2:
            raise ValueError(f"n_startup_trials is {n_startup_trials}, and must be 2 or more")
        self._known, self._constraints = dict(known or {}), dict(constraints or {})
        self._identity, self._first = identity, dict(search_space or {})
        self._startup = n_startup_trials
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._space = IntersectionSearchSpace(include_pruned=True)
        self._task: tuple[Hashable, _Task] | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Without what can be computed again, and without the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {"_task": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
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
        """The parameters of most expected gain; of the first trials, parameters far from the others."""
        if not search_space:
            return {}
        with self._lock:
            task = self._task_of(study, search_space)
            trials = self._observed(task, study, trial)
            rng = np.random.default_rng([self._seed, trial.number])
            count = len(trials.complete) + len(trials.running)
            if count < self._startup or len(trials.complete) < 2:
                row = self._started(task, trials, count, rng)
            else:
                row = self._gaining(task, trials, rng)
            return task.encoding.decode(self._another(task, trials, rng) if row is None else row)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Uniform."""
        sequence = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        draw = RandomSampler(seed=int(sequence.generate_state(1)[0]))
        return draw.sample_independent(study, trial, param_name, param_distribution)

    def _task_of(self, study: Study, space: Mapping[str, BaseDistribution]) -> _Task:
        key = (study.study_name, tuple((name, repr(kind)) for name, kind in space.items()))
        if self._task is None or self._task[0] != key:
            encoding = Encoding(space)
            signs = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in study.directions])
            known = [(self._known[i], signs[i]) for i in sorted(self._known)]
            facts = Facts(encoding, known, list(self._constraints.values()))
            start = first_pool(encoding, facts, np.random.default_rng([self._seed, 2**31]))
            facts.settle(start.values, start.limits)
            self._task = key, _Task(encoding, facts, Kernel(encoding), signs, start)
        return self._task[1]

    def _observed(self, task: _Task, study: Study, trial: FrozenTrial) -> _Trials:
        found = _Trials([], [], [], set())
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
                seen = _Seen(other.number, row, values, dict(other.constraints))
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

    def _identity_of(self, task: _Task, row: np.ndarray) -> Hashable:
        key = row.tobytes()
        if self._identity is None:
            return key
        if key not in task.identities:
            task.identities[key] = self._identity(task.encoding.decode(row))
        return task.identities[key]

    def _started(self, task: _Task, trials: _Trials, count: int, rng: np.random.Generator) -> np.ndarray | None:
        """A row of the next stratum of the first known objective, far from the rows of the other trials."""
        pool = task.start
        order = np.argsort(pool.values[:, 0], kind="stable") if pool.values.shape[1] else rng.permutation(len(pool))
        places = sorted(range(self._startup), key=lambda place: (f"{place:032b}"[::-1], place))
        stratum = np.array_split(order, self._startup)[places[count % self._startup]]
        others = [seen.row for seen in (*trials.complete, *trials.running)]
        for group in (stratum, order):
            fresh = [
                i for i in rng.permutation(group) if self._identity_of(task, pool.rows[i]) not in trials.identities
            ]
            if fresh:
                rows = pool.rows[fresh[:_STRATUM]]
                if not others:
                    return rows[0]
                apart = _apart(task.encoding.positions(rows), task.encoding.positions(np.array(others)))
                return rows[int(np.argmax(apart))]
        return None

    def _another(self, task: _Task, trials: _Trials, rng: np.random.Generator) -> np.ndarray:
        """A feasible row of no other trial, if one is found near those that are known to be feasible."""
        rows = task.start.rows[rng.permutation(len(task.start))[:200]]
        if not task.start.whole:
            near = pool_of(task.facts, task.encoding.mutate(rng, np.repeat(rows, 3, axis=0)))
            inside = near.rows[task.facts.excess(near.values, near.limits) <= 0]
            for row in (*rows, *inside):
                if self._identity_of(task, row) not in trials.identities:
                    return row
        return rows[0]

    def _gaining(self, task: _Task, trials: _Trials, rng: np.random.Generator) -> np.ndarray | None:
        """The row of most expected gain that is of no other trial; None if there is none."""
        model = task.model = self._model(task, trials)
        for seen in trials.running:
            model = _told(task, model, seen)
        pool = model.pool
        if not len(pool):
            return None
        front, reference = _front(task, model, trials)
        seed = int(rng.integers(2**31))

        def gains(pool: Pool, at: Points | None) -> np.ndarray:
            return _gains(model, pool, at, front, reference, np.random.default_rng(seed))

        scores, rows = gains(pool, None), pool.rows
        if not pool.whole:
            best = rows[np.argsort(-scores, kind="stable")[:_NEAR]]
            near = np.unique(np.concatenate([task.encoding.neighbours(rng, row) for row in best]), axis=0)
            beside = pool_of(task.facts, near)
            beside = beside.take(np.flatnonzero(task.facts.excess(beside.values, beside.limits) <= 0))
            if len(beside):
                scores = np.concatenate((scores, gains(beside, _points(task, beside))))
                rows = np.concatenate((rows, beside.rows))
        for index in np.argsort(-scores, kind="stable"):
            if self._identity_of(task, rows[index]) not in trials.identities:
                return rows[index]
        return None

    def _model(self, task: _Task, trials: _Trials) -> _Model:
        """What is learned after all finished trials: from the trials of the last fit, and then from one after the other."""
        last = trials.complete[_last_fit(len(trials.complete)) - 1].number
        finished = sorted([*trials.complete, *trials.pruned], key=lambda seen: seen.number)
        base = [seen for seen in finished if seen.number <= last]
        later = [seen for seen in finished if seen.number > last]
        numbers = tuple(seen.number for seen in base)
        model = task.model
        if (
            model is None
            or model.base != numbers
            or model.trials != tuple(s.number for s in later)[: len(model.trials)]
        ):
            model = self._based(task, base)
        for seen in later[len(model.trials) :]:
            model = _told(task, model, seen)
        return model

    def _based(self, task: _Task, base: Sequence[_Seen]) -> _Model:
        """Fits every process to the trials, and finds the rows that it is asked about."""
        rng = np.random.default_rng([self._seed, 2**31 + 1, base[-1].number])
        complete = [seen for seen in base if seen.values is not None]
        empty = task.start.take(np.arange(0))
        pool = task.start if task.start.whole else empty
        model = _Model(tuple(seen.number for seen in base), (), pool, {}, {})
        data: dict[Any, tuple[list[_Seen], np.ndarray]] = {}
        for i in range(len(task.signs)):
            if i not in self._known:
                values = _finite(np.array([seen.values[i] for seen in complete if seen.values is not None]))
                data[i] = complete, values
        for name in sorted({name for seen in base for name in seen.limits} - set(self._constraints)):
            with_it = [seen for seen in base if name in seen.limits]
            data[name] = with_it, _finite(np.array([seen.limits[name] for seen in with_it]))
        thetas: dict[Any, np.ndarray] = {}

        def learn(pool: Pool) -> None:
            model.pool = pool
            for key, (some, values) in data.items():
                points = _points(task, pool_of(task.facts, np.array([seen.row for seen in some])))
                numbers = tuple(seen.number for seen in some)
                learned = _learned(
                    task.kernel, points, values, _points(task, pool), isinstance(key, int), numbers, thetas.get(key)
                )
                thetas[key] = learned.posterior.shared.theta
                (model.objectives if isinstance(key, int) else model.constraints)[key] = learned

        learn(pool)
        if not task.start.whole:
            front, reference = _front(task, model, _Trials(complete, [], [], set()))

            def score(pool: Pool) -> np.ndarray:
                points = _points(task, pool)
                return _gains(
                    model, pool, points, front, reference, np.random.default_rng([self._seed, base[-1].number])
                )

            parents = np.array([seen.row for seen in complete])
            learn(evolved(task.encoding, task.facts, rng, parents, task.start, score))
        return model


def _last_fit(complete: int) -> int:
    """The number of complete trials at which processes were fitted last."""
    found = 2
    while (after := found + max(4, found // 10)) <= complete:
        found = after
    return found


def _finite(values: np.ndarray) -> np.ndarray:
    """Values with infinite ones at the end of the finite ones."""
    finite = values[np.isfinite(values)]
    return np.clip(values, finite.min(), finite.max()) if len(finite) else np.zeros(len(values))


def _points(task: _Task, pool: Pool) -> Points:
    return task.kernel.points(pool.rows, task.facts.features(pool.values, pool.limits))


def _learned(
    kernel: Kernel,
    points: Points,
    values: np.ndarray,
    about: Points,
    objective: bool,
    numbers: tuple[int, ...],
    theta: np.ndarray | None,
) -> _Learned:
    """A process of values (n,) of an objective, or of a constraint, about the points of a pool."""
    scale = Scale.over(values) if objective else None
    if scale is not None:
        scaled = scale.to(values)
        shift, unit = float(scaled.mean()), float(scaled.std()) or 1.0
    else:
        shift, unit = 0.0, 3 * float(np.median(np.abs(values))) or 1.0
        scaled = np.clip(values, -3 * unit, 3 * unit)
    scaled = (scaled - shift) / unit
    if theta is None:
        some = np.linspace(0, len(values) - 1, min(len(values), _FITTED)).astype(int)
        theta = fit(kernel, points.take(some), scaled[some])
    posterior = Posterior.base(kernel, theta, points, scaled, about)
    return _Learned(scale, shift, unit, posterior, tuple(scaled.tolist()), numbers)


def _told(task: _Task, model: _Model, seen: _Seen) -> _Model:
    """The model after one more trial; what it does not say is awaited of a running one."""
    point = _points(task, pool_of(task.facts, seen.row[None]))
    running = seen.values is None and not seen.limits
    objectives, constraints = dict(model.objectives), dict(model.constraints)
    for i, learned in objectives.items():
        if seen.values is not None:
            objectives[i] = learned.given(seen.number, point, float(seen.values[i]))
        elif running:
            objectives[i] = learned.given(seen.number, point, None)
    for name, learned in constraints.items():
        if name in seen.limits:
            constraints[name] = learned.given(seen.number, point, float(seen.limits[name]))
        elif running:
            constraints[name] = learned.given(seen.number, point, None)
    return _Model(model.base, (*model.trials, seen.number), model.pool, objectives, constraints)


def _front(task: _Task, model: _Model, trials: _Trials) -> tuple[np.ndarray, np.ndarray]:
    """The values (n, objectives) of feasible trials that no other dominates, and the reference point (objectives,)."""
    seen = [*trials.complete, *trials.running]
    known, limits = task.facts.of(np.array([one.row for one in seen]))
    kept = task.facts.excess(known, limits) <= 0
    kept &= np.array([all(one.limits.get(name, 0.0) <= 0 for name in model.constraints) for one in seen])
    values = np.empty((len(seen), len(task.signs)))
    reference = np.empty(len(task.signs))
    exact = iter(range(known.shape[1]))
    for i in range(len(task.signs)):
        if (learned := model.objectives.get(i)) is not None:
            smoothed = dict(zip(learned.numbers, learned.smoothed(), strict=True))
            values[:, i] = [smoothed[one.number] for one in seen]
            told = values[: len(trials.complete), i]
            told = told[kept[: len(told)]] if kept[: len(told)].any() else told
            low, high = np.quantile(told, [0.25, 0.75])
            reference[i] = max(told.min(), low - _BELOW * (high - low))
        else:
            column = next(exact)
            values[:, i] = known[:, column]
            of_pool = task.start.values[:, column]
            reference[i] = of_pool.min() - _MARGIN * (of_pool.max() - of_pool.min())
    values = values[kept]
    return values[undominated(values)], reference


def _gains(
    model: _Model, pool: Pool, points: Points | None, front: np.ndarray, reference: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A score (n,) of the rows of a pool, 0 to a little above 1: first by expected gain, then by what each row promises by itself.

    Args:
        points: of the pool; None if it is the model's own.
    """

    def asked(learned: _Learned) -> tuple[np.ndarray, np.ndarray]:
        posterior = learned.posterior
        return (posterior.mean, posterior.deviation) if points is None else posterior.at(points)

    exact = iter(pool.values.T)
    objectives: list[Objective] = []
    promise = np.zeros(len(pool))
    for i in range(len(reference)):
        if i in model.objectives:
            mean, deviation = asked(model.objectives[i])
            objectives.append(model.objectives[i].guess(mean, deviation))
            promise += mean + 2 * deviation
        else:
            objectives.append(next(exact))
            promise += (objectives[-1] - reference[i]) / (np.abs(objectives[-1] - reference[i]).max() or 1.0)
    gains = expected_gains(objectives, front, reference, rng)
    for learned in model.constraints.values():
        mean, deviation = asked(learned)
        gains = gains * ndtr(-mean / deviation)
        promise -= np.maximum(mean, 0)
    promise = (promise - promise.min()) / (float(np.ptp(promise)) or 1.0)
    return gains / (gains.max(initial=0.0) or 1.0) + 1e-9 * promise


def _apart(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each row (n, parameters) how many parameters differ from the nearest of the others, and a little by how much."""
    differences = np.abs(rows[:, None] - others[None])
    return ((differences != 0) + 0.1 * np.minimum(differences, 1)).sum(axis=2).min(axis=1)

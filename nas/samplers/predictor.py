"""A sampler that computes what is known, learns what is not, and proposes what gains most hypervolume. Knows no networks.

    PredictorSampler(known={1: cost}, constraints={"cost": lambda params: cost(params) / limit - 1}, identity=decoded, seed=0)

The first trials are spread over the range of the first known objective, far from each other. Then each objective and each constraint that
is not known has a Gaussian process over the parameters (`nas.samplers.gaussian_process`), and the candidate of most expected gain of
hypervolume is proposed (`nas.samplers.hypervolume`) among all rows, or among those that an evolution finds (`nas.samplers.candidates`).
Running trials count with their predicted means, so that a batch is proposed one by one. Every trial adds one row to the factors of the
process; its parameters are fitted again, from the start, each time a tenth more trials are complete.

A proposal depends on the seed, the number of its trial, and the finished and running trials of the study: a new sampler on a copy of a
study proposes what the old one does.

Milliseconds of processor time per proposal, refits included, one thread of a shared core, objectives one learned and one known, on
NAS-Bench-Macro (8 parameters of 3 values, all rows listed): 10 at 100 trials, 14 at 200, 21 at 400, 41 at 800. On the space `digits` (44 genes,
rows evolved) 45 on average between 20 and 60 trials, half of them below 26. On `unified` (1,441 genes, macs known, no limit) 2,600 for the first
proposal, which counts the costs of units, 100 for the other 19 of the start, and 370 on average between 20 and 200 trials, half of them
below 210.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from nas.machine.linear_algebra import one_thread
from nas.samplers.candidates import Pool, evolved, pool_of
from nas.samplers.gaussian_process import Kernel, Points, Posterior, fit
from nas.samplers.hypervolume import Guess, Objective, Scale, expected_gains, undominated
from nas.samplers.informed import InformedSampler, Seen, Task, Trials

_FITTED = 256
"""Values of which the parameters of a process are fitted; of more, so many of them."""

_TRUST = 0.5
"""How far an observed value is moved to its mean, which leaves out noise, where the front is concerned. On NAS-Bench-Macro with one seed's
accuracy shown, 0, .5 and 1 found the same within the spread of 3 seeds."""

_BELOW = 4.0
"""Ranges of the middle half of the values, below that half, where the reference point lies; or at the worst value, if that is nearer."""

_MARGIN = 0.01
"""Of the range of a known objective, how far the reference point lies beyond its worst value."""

_NEAR = 3
"""Best candidates whose neighbours are tried too, where not all rows are listed."""

_BESIDE = 600
"""Of these neighbours at most so many are tried, and random ones where there are more. A space of 50 genes has fewer."""

_FAR = 10.0
"""Deviations at which a value is cut off."""


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
    """What is learned after some trials, about the rows of a pool.

    Args:
        base: the trials that the processes were fitted to. trials: those that were added later.
    """

    kernel: Kernel
    base: tuple[int, ...]
    trials: tuple[int, ...]
    pool: Pool
    objectives: dict[int, _Learned]
    constraints: dict[str, _Learned]


class PredictorSampler(InformedSampler):
    """Gaussian processes of what is unknown, exact functions of what is known, and the most expected gain of hypervolume.

    One to four objectives; constraints that trials set and that have no exact function are learned. For its arguments see
    `nas.samplers.informed.InformedSampler`.
    """

    @one_thread()
    def propose(self, task: Task, trials: Trials, rng: np.random.Generator) -> np.ndarray | None:
        """The row of most expected gain that is of no other trial; None if there is none."""
        model = task.memory = self._model(task, trials)
        for seen in trials.running:
            model = _told(task, model, seen, awaited=True)
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
            near = [task.encoding.neighbours(rng, row, _BESIDE // len(best)) for row in best]
            near = np.unique(np.concatenate(near), axis=0)
            beside = pool_of(task.facts, near)
            beside = beside.take(np.flatnonzero(task.facts.excess(beside.values, beside.limits) <= 0))
            if len(beside):
                scores = np.concatenate((scores, gains(beside, _points(task, model.kernel, beside))))
                rows = np.concatenate((rows, beside.rows))
        for index in np.argsort(-scores, kind="stable"):
            if self.fresh(task, trials, rows[index]):
                return rows[index]
        return None

    def _model(self, task: Task, trials: Trials) -> _Model:
        """What is learned after all finished trials: from the trials of the last fit, and then from one after the other."""
        last = trials.complete[_last_fit(len(trials.complete)) - 1].number
        finished = sorted([*trials.complete, *trials.pruned], key=lambda seen: seen.number)
        base = [seen for seen in finished if seen.number <= last]
        later = [seen for seen in finished if seen.number > last]
        numbers = tuple(seen.number for seen in base)
        model: _Model | None = task.memory
        if (
            model is None
            or model.base != numbers
            or model.trials != tuple(s.number for s in later)[: len(model.trials)]
        ):
            model = self._based(task, base)
        for seen in later[len(model.trials) :]:
            model = _told(task, model, seen)
        return model

    def _based(self, task: Task, base: Sequence[Seen]) -> _Model:
        """Fits every process to the trials, and finds the rows that it is asked about."""
        rng = np.random.default_rng([self.seed, 2**31 + 1, base[-1].number])
        complete = [seen for seen in base if seen.values is not None]
        empty = task.start.take(np.arange(0))
        pool = task.start if task.start.whole else empty
        kernel = Kernel(task.encoding)
        model = _Model(kernel, tuple(seen.number for seen in base), (), pool, {}, {})
        data: dict[Any, tuple[list[Seen], np.ndarray]] = {}
        for i in range(len(task.signs)):
            if i not in self.known:
                values = _finite(np.array([seen.values[i] for seen in complete if seen.values is not None]))
                data[i] = complete, values
        for name in sorted({name for seen in base for name in seen.limits} - set(self.constraints)):
            with_it = [seen for seen in base if name in seen.limits]
            data[name] = with_it, _finite(np.array([seen.limits[name] for seen in with_it]))
        thetas: dict[Any, np.ndarray] = {}

        def learn(pool: Pool) -> None:
            model.pool = pool
            for key, (some, values) in data.items():
                points = _points(task, model.kernel, pool_of(task.facts, np.array([seen.row for seen in some])))
                numbers = tuple(seen.number for seen in some)
                learned = _learned(
                    kernel,
                    points,
                    values,
                    _points(task, model.kernel, pool),
                    isinstance(key, int),
                    numbers,
                    thetas.get(key),
                )
                thetas[key] = learned.posterior.shared.theta
                if isinstance(key, int):
                    model.objectives[key] = learned
                else:
                    model.constraints[key] = learned

        learn(pool)
        if not task.start.whole:
            front, reference = _front(task, model, Trials(complete, [], [], set()))

            def score(pool: Pool) -> np.ndarray:
                points = _points(task, model.kernel, pool)
                return _gains(
                    model, pool, points, front, reference, np.random.default_rng([self.seed, base[-1].number])
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


def _points(task: Task, kernel: Kernel, pool: Pool) -> Points:
    return kernel.points(pool.rows, task.facts.features(pool.values, pool.limits))


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


def _told(task: Task, model: _Model, seen: Seen, awaited: bool = False) -> _Model:
    """The model after one more trial; or after one whose values are awaited, and taken to be the means until then."""
    point = _points(task, model.kernel, pool_of(task.facts, seen.row[None]))
    objectives, constraints = dict(model.objectives), dict(model.constraints)
    for i, learned in objectives.items():
        if seen.values is not None:
            objectives[i] = learned.given(seen.number, point, float(seen.values[i]))
        elif awaited:
            objectives[i] = learned.given(seen.number, point, None)
    for name, learned in constraints.items():
        if name in seen.limits and not awaited:
            constraints[name] = learned.given(seen.number, point, float(seen.limits[name]))
        elif awaited:
            constraints[name] = learned.given(seen.number, point, None)
    return _Model(model.kernel, model.base, (*model.trials, seen.number), model.pool, objectives, constraints)


def _front(task: Task, model: _Model, trials: Trials) -> tuple[np.ndarray, np.ndarray]:
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
            of_pool = task.start.values[np.isfinite(task.start.values[:, column]), column]
            of_pool = of_pool if len(of_pool) else np.zeros(1)
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

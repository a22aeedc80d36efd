"""The exact additive baseline: a score per choice, fitted by ridge, and the best sum within a cost by a mixed-integer programme.

Where quality and cost were sums over the choices, this would find the whole Pareto front without fail (the epsilon-constraint method:
one programme per cost). A sampler that cannot beat it has learned no more than a sum. Knows no networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, vstack

from nas.samplers.candidates import pool_of
from nas.samplers.encoding import Encoding
from nas.samplers.informed import InformedSampler, Task, Trials

_GRID = 8
"""Values that stand for a parameter that has more."""

_FEW = 32
"""Values of a parameter up to which each has a score of its own."""

_RIDGE = 1.0
"""Penalty on the squares of the scores, in units of the variance of the values."""

_PROGRAMMES = 20
"""Programmes per trial, each of which forbids what the one before found and what is no proposal."""

_CUTS = 20
"""Rows of trials that a programme forbids from the start: those of the highest sums."""

_STEP = 0.05
"""Of its range, how far the limit of a known objective is raised where what is best within it has been tried."""

_NODES = 2000
"""Of the search tree, after which a programme is stopped and its best row so far is taken. A limit of time would not replay."""

_PRIMES = (2, 3, 5, 7)


class AdditiveSampler(InformedSampler):
    """Scores per choice and a mixed-integer programme per trial.

    The programme maximises the sum of the scores under limits on the known objectives, which go over their ranges from trial to trial, and
    under the constraints. Known objectives and constraints are taken as sums over the choices too, fitted to thousands of rows; where they
    are none, what the programme finds is checked and the programme repeated with a closer limit. Of several unknown objectives a
    random mean is maximised. Running trials are not proposed again, and change nothing else.

    For its arguments see `nas.samplers.informed.InformedSampler`.
    """

    def propose(self, task: Task, trials: Trials, rng: np.random.Generator) -> np.ndarray | None:
        """The row of the highest sum within this trial's limits."""
        choices: _Choices = task.memory or _Choices.of(task.encoding)
        task.memory = choices
        gain, sums, limits = self._programme(task, choices, trials, rng)
        known, exact = len(sums.ranges), len(sums.ranges) + len(self.constraints)
        rows = sums.rows
        taken = choices.table(np.array([one.row for one in (*trials.complete, *trials.running)]))
        if self.candidates is not None and task.start.whole:
            return self._listed(task, choices, trials, gain, rows, limits)
        within = (taken @ rows.T <= limits + _STEP * np.abs(rows).max(axis=1, initial=0.0)).all(axis=1)
        taken = taken[within]
        cuts = taken[np.argsort(-(taken @ gain), kind="stable")[:_CUTS]]
        for _ in range(_PROGRAMMES):
            together = np.vstack((rows, cuts)), np.concatenate((limits, np.full(len(cuts), len(choices.first) - 1.0)))
            word = choices.best(gain, *together)
            if word is None:
                if np.isinf(limits[:known]).all() and np.isinf(limits[exact:]).all():
                    return None
                limits[:known] = limits[exact:] = np.inf  # nothing is within this trial's limits
                continue
            row = choices.row(word)
            pool = pool_of(task.facts, row[None])
            if task.facts.excess(pool.values, pool.limits)[0] <= 0:
                if self.fresh(task, trials, row):
                    return row
                limits[:known] += _STEP * sums.ranges  # what is cheaper may have been tried in full
            else:
                beyond = np.maximum(np.nan_to_num(pool.limits[0], posinf=0.0), 0.0)
                limits[known:exact] -= np.where(beyond > 0, beyond, 0.0)
            cuts = np.vstack((cuts, choices.hot(word)))
        return None

    def _listed(
        self, task: Task, choices: "_Choices", trials: Trials, gain: np.ndarray, rows: np.ndarray, limits: np.ndarray
    ) -> np.ndarray | None:
        """Where the candidates are listed, the one of the highest sum within the limits; else of the highest sum of all."""
        table = choices.table(task.start.rows)
        beyond = (table @ rows.T > limits).any(axis=1)
        order = np.lexsort((-(table @ gain), beyond))
        return next((row for row in task.start.rows[order] if self.fresh(task, trials, row)), None)

    def _programme(
        self, task: Task, choices: "_Choices", trials: Trials, rng: np.random.Generator
    ) -> tuple[np.ndarray, "_Sums", np.ndarray]:
        """What each value adds to what is maximised, what it adds to what is limited, and the limits."""
        start = task.start
        rows: list[np.ndarray] = []
        limits: list[float] = []
        ranges: list[float] = []
        turn = len(trials.complete) + len(trials.running)
        free = [i for i in range(len(task.signs)) if i not in self.known]
        known = list(range(start.values.shape[1]))
        table = choices.table(start.rows)
        if free:
            gain = np.zeros(choices.total)
            seen = choices.table(np.array([one.row for one in trials.complete]))
            for share, i in zip(rng.dirichlet(np.ones(len(free))), free, strict=True):
                values = np.array([one.values[i] for one in trials.complete if one.values is not None])
                gain += share * _ridge(seen, values, _RIDGE)
        else:
            gain, _ = _sums(table, start.values[:, known[0]])
            known = known[1:]
        for prime, i in zip(_PRIMES, known, strict=False):
            sums, base = _sums(table, -start.values[:, i])
            low, high = np.min(-start.values[:, i]), np.max(-start.values[:, i])
            rows.append(sums)
            ranges.append(float(high - low))
            limits.append(low + (high - low) * _halton(turn + 1, prime) - base)
        for i in range(start.limits.shape[1]):
            sums, base = _sums(table, start.limits[:, i])
            rows.append(sums)
            limits.append(-base)
        for name in sorted({name for one in trials.complete for name in one.limits} - set(self.constraints)):
            some = [one for one in trials.complete if name in one.limits]
            values = np.array([one.limits[name] for one in some])
            rows.append(_ridge(choices.table(np.array([one.row for one in some])), values, _RIDGE))
            limits.append(-float(values.mean()))
        return gain, _Sums(np.array(ranges), np.array(rows).reshape(-1, choices.total)), np.array(limits, float)


@dataclass(frozen=True)
class _Sums:
    """What each value adds to what is limited: to known objectives first, then to known constraints, then to those that are learned.

    Args:
        ranges: of the known objectives. rows: (limits, values).
    """

    ranges: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class _Choices:
    """All values of all parameters, side by side: the variables of the programme.

    Args:
        values: by parameter. first: of each parameter the number of its first value.
    """

    values: Sequence[np.ndarray]
    first: np.ndarray
    total: int

    @classmethod
    def of(cls, encoding: Encoding) -> "_Choices":
        values = []
        for column in encoding.columns:
            if 0 < column.size <= _FEW:
                values.append(np.arange(column.size, dtype=float))
            elif column.size:
                values.append(np.unique(np.round(np.linspace(0, column.size - 1, _GRID))))
            else:
                values.append(np.linspace(0, 1, _GRID))
        sizes = [len(some) for some in values]
        return cls(values, np.cumsum([0, *sizes[:-1]]), sum(sizes))

    def words(self, rows: np.ndarray) -> np.ndarray:
        """The number of the nearest value of each parameter, (n, parameters), among all values."""
        nearest = [np.abs(rows[:, i, None] - some).argmin(axis=1) for i, some in enumerate(self.values)]
        return np.stack(nearest, axis=1) + self.first

    def table(self, rows: np.ndarray) -> np.ndarray:
        """One-hot (n, values)."""
        found = np.zeros((len(rows), self.total))
        np.put_along_axis(found, self.words(rows), 1.0, axis=1)
        return found

    def hot(self, word: np.ndarray) -> np.ndarray:
        found = np.zeros(self.total)
        found[word] = 1.0
        return found

    def row(self, word: np.ndarray) -> np.ndarray:
        """The row of one value per parameter."""
        return np.array([some[at - first] for some, first, at in zip(self.values, self.first, word, strict=True)])

    def best(self, gain: np.ndarray, rows: np.ndarray, limits: np.ndarray) -> np.ndarray | None:
        """The values of the highest sum with all sums of `rows` within `limits`, one per parameter; None if there are none."""
        owner = np.repeat(np.arange(len(self.values)), [len(some) for some in self.values])
        one_each = csr_array((np.ones(self.total), (owner, np.arange(self.total))))
        lower: Any = np.concatenate((np.ones(len(self.values)), np.full(len(rows), -np.inf)))
        upper: Any = np.concatenate((np.ones(len(self.values)), limits))
        scale = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-300)  # the solver's tolerances are absolute
        upper[len(self.values) :] /= scale
        matrix = vstack((one_each, csr_array(rows / scale[:, None]))) if len(rows) else one_each
        found = milp(
            -gain / (np.abs(gain).max() or 1.0),
            integrality=np.ones(self.total),
            bounds=Bounds(0, 1),
            constraints=LinearConstraint(matrix, lower, upper),
            options={"node_limit": _NODES},
        )
        if found.x is None:
            return None
        return np.array(
            [
                first + found.x[first : first + len(some)].argmax()
                for some, first in zip(self.values, self.first, strict=True)
            ]
        )


def _ridge(table: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    """What each value adds (values,) to the mean of the values (n,)."""
    finite = np.isfinite(values)
    table, values = table[finite], values[finite]
    if not len(values):
        return np.zeros(table.shape[1])
    low, high = np.quantile(values, [0.25, 0.75])
    kept = np.clip(values, low - 4 * (high - low), high + 4 * (high - low)) if high > low else values
    gram = table.T @ table + penalty * np.eye(table.shape[1])
    return np.linalg.solve(gram, table.T @ (kept - kept.mean()))


def _sums(table: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """What each value adds, and the rest, of values (n,) that are nearly sums."""
    finite = np.isfinite(values)
    mean = float(values[finite].mean()) if finite.any() else 0.0
    return np.linalg.lstsq(table[finite], values[finite] - mean)[0], mean


def _halton(number: int, prime: int) -> float:
    """A number of the van der Corput sequence of a prime, in (0, 1)."""
    found, share = 0.0, 1.0
    while number:
        number, digit = divmod(number, prime)
        share /= prime
        found += digit * share
    return found

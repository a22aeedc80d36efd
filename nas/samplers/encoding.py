"""Parameters of an Optuna study as rows of numbers, which models and inner searches work on. Knows nothing of what they mean.

A row has one number per parameter: the index of its value where the values can be counted, and a position in [0, 1] where they cannot.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

_LISTED = 32
"""Values of a parameter up to which all of them are tried as neighbours; of more, some."""

_SOME = 8
"""Values that are tried of a parameter with more."""


class Column:
    """One parameter.

    Attributes:
        size: how many values it has; 0 where they cannot be counted.
        ordered: whether its values have an order: numbers do, and choices that are numbers and increase.
    """

    def __init__(self, name: str, kind: BaseDistribution) -> None:
        self.name, self.kind = name, kind
        self.log = isinstance(kind, FloatDistribution | IntDistribution) and kind.log
        if isinstance(kind, CategoricalDistribution):
            self.size, self.ordered = len(kind.choices), _increasing(kind.choices)
        elif isinstance(kind, IntDistribution):
            self.size, self.ordered = (kind.high - kind.low) // kind.step + 1, True
        elif isinstance(kind, FloatDistribution):
            self.size = 0 if kind.step is None else round((kind.high - kind.low) / kind.step) + 1
            self.ordered = True
            if kind.low == kind.high:
                self.size = 1
        else:
            raise TypeError(
                f"parameter {name} is {type(kind).__name__}, and must be categorical, an integer or a float"
            )

    def index(self, value: Any) -> float:
        """The number of a value in a row."""
        kind = self.kind
        if isinstance(kind, CategoricalDistribution):
            return kind.to_internal_repr(value)
        if isinstance(kind, IntDistribution):
            return float(min(max((value - kind.low) // kind.step, 0), self.size - 1))
        assert isinstance(kind, FloatDistribution)
        if self.size:
            return float(min(max(round((value - kind.low) / (kind.step or 1.0)), 0), self.size - 1))
        low, high, value = (math.log(v) if self.log else v for v in (kind.low, kind.high, max(value, kind.low)))
        return min((value - low) / (high - low), 1.0)

    def value(self, number: float) -> Any:
        """The value that a number in a row stands for."""
        kind = self.kind
        if isinstance(kind, CategoricalDistribution):
            return kind.choices[int(number)]
        if isinstance(kind, IntDistribution):
            return kind.low + int(number) * kind.step
        assert isinstance(kind, FloatDistribution)
        return float(self._floats(np.array(number)))

    def values(self, numbers: np.ndarray) -> np.ndarray:
        """The values that numbers stand for; of categorical parameters the indices of the choices."""
        if isinstance(self.kind, CategoricalDistribution):
            return numbers.astype(np.intp)
        if isinstance(self.kind, IntDistribution):
            return self.kind.low + numbers.astype(np.int64) * self.kind.step
        return self._floats(numbers)

    def _floats(self, numbers: np.ndarray) -> np.ndarray:
        kind = self.kind
        assert isinstance(kind, FloatDistribution)
        if self.size:
            found = kind.low + numbers * (kind.step or 0.0)
        elif self.log:
            found = np.exp(math.log(kind.low) + numbers * (math.log(kind.high) - math.log(kind.low)))
        else:
            found = kind.low + numbers * (kind.high - kind.low)
        return np.clip(found, kind.low, kind.high)

    def positions(self, numbers: np.ndarray) -> np.ndarray:
        """Where values with an order are between the first, 0, and the last, 1."""
        if self.size == 0:
            return numbers
        if self.log and isinstance(self.kind, IntDistribution) and self.size > 1:
            low, high = math.log(self.kind.low), math.log(self.kind.high)
            return (np.log(self.kind.low + numbers) - low) / (high - low)
        return numbers / max(self.size - 1, 1)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Numbers of uniform values, or of values uniform in their logarithm."""
        unit = rng.random(count)
        if self.size == 0:
            return unit
        if self.log and isinstance(self.kind, IntDistribution):
            low, high = math.log(self.kind.low - 0.5), math.log(self.kind.high + 0.5)
            return np.clip(np.round(np.exp(low + unit * (high - low))) - self.kind.low, 0, self.size - 1)
        return np.minimum(np.floor(unit * self.size), self.size - 1)

    def beside(self, rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
        """Another number for each: any value where there is no order, mostly a near one where there is."""
        count = len(numbers)
        other = self.draw(rng, count)
        if self.ordered and self.size != 2:
            step = rng.normal(size=count) * np.where(rng.random(count) < 0.5, 0.05, 0.2)
            if self.size == 0:
                near = np.clip(numbers + step, 0, 1)
            else:
                jump = np.sign(step) * np.ceil(np.abs(step) * (self.size - 1))
                near = np.clip(numbers + jump, 0, self.size - 1)
            other = np.where(rng.random(count) < 0.7, near, other)
        if self.size > 1:
            same = other == numbers
            other = np.where(same, (numbers + rng.integers(1, self.size, count)) % self.size, other)
        return other


class Encoding:
    """The parameters of a search space, each a column of a row, in the order of the space."""

    def __init__(self, space: Mapping[str, BaseDistribution]) -> None:
        self.columns = [Column(name, kind) for name, kind in space.items()]
        self.names = [column.name for column in self.columns]

    @cached_property
    def size(self) -> float:
        """How many rows there are; infinite where a value cannot be counted."""
        return math.prod(column.size or math.inf for column in self.columns)

    def encode(self, params: Mapping[str, Any]) -> np.ndarray:
        """The row of one set of parameters."""
        return np.array([column.index(params[column.name]) for column in self.columns], float)

    def decode(self, row: np.ndarray) -> dict[str, Any]:
        """The parameters of one row."""
        return {column.name: column.value(number) for column, number in zip(self.columns, row.tolist(), strict=True)}

    def table(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters of many rows: by name their values, and of categorical parameters the indices of their choices."""
        return {column.name: column.values(rows[:, i]) for i, column in enumerate(self.columns)}

    def positions(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, parameters) with values that have an order between 0 and 1."""
        found = rows.astype(float)
        for i, column in enumerate(self.columns):
            if column.ordered:
                found[:, i] = column.positions(rows[:, i])
        return found

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Random rows (count, parameters)."""
        return np.stack([column.draw(rng, count) for column in self.columns], axis=1)

    def every(self) -> np.ndarray:
        """All rows."""
        grid = np.indices([column.size for column in self.columns])
        return grid.reshape(len(self.columns), -1).T.astype(float)

    def mutate(self, rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
        """Rows with one parameter changed for certain, and each other one with a chance of one over their number."""
        found, count = rows.copy(), len(self.columns)
        changed = rng.random(rows.shape) < 1 / count
        changed[np.arange(len(rows)), rng.integers(count, size=len(rows))] = True
        for i, column in enumerate(self.columns):
            here = np.flatnonzero(changed[:, i])
            found[here, i] = column.beside(rng, rows[here, i])
        return found

    def neighbours(self, rng: np.random.Generator, row: np.ndarray, most: int | None = None) -> np.ndarray:
        """Rows that differ in one parameter: all of them where its values are few.

        Args:
            row: (parameters,)
            most: of more neighbours, so many random ones. All of them if left out.
        """
        counts = np.array([column.size - 1 if 0 < column.size <= _LISTED else _SOME for column in self.columns])
        if most is not None and counts.sum() > most:
            chosen = np.sort(rng.choice(counts.sum(), most, replace=False))
        else:
            chosen = np.arange(counts.sum())
        ends = np.cumsum(counts)
        changed = np.searchsorted(ends, chosen, side="right")
        values = (chosen - (ends - counts)[changed]).astype(float)
        values += values >= row[changed]  # which leaves out the value that the row has
        for i in np.unique(changed):
            if not 0 < self.columns[i].size <= _LISTED:
                here = changed == i
                values[here] = self.columns[i].beside(rng, np.full(here.sum(), row[i]))
        found = np.repeat(row[None], len(chosen), axis=0)
        found[np.arange(len(chosen)), changed] = values
        return found


def _increasing(choices: Sequence[Any]) -> bool:
    """Whether choices are numbers of which each is above the one before."""
    numbers = all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)
    return numbers and all(one < other for one, other in itertools.pairwise(choices))

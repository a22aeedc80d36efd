"""Which sum over units predicts the latency of whole networks best: candidates, fitted on a few measured networks and compared by
cross-validation on the same networks.

The time of a network is near the sum of the times of its units, but not equal to it: calls between units cost time, maps stay in caches,
and a runtime may fuse across a unit's border. A few numbers, fitted on whole networks, correct for what these have in common. Where the
sum of measured units fits badly, a sum of counted quantities replaces it. A model of MACs alone is the baseline.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.linear_model import LinearRegression

from search_spaces.costs.latency import quantity
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.units import PARTS_OF, Unit

Array = np.ndarray

GROUPS = {
    "mixer": ("mixer",),
    "ffn": ("ffn",),
    "other": tuple(kind for kind in PARTS_OF if kind not in ("mixer", "ffn")),
}
"""Kinds of units that share a weight. Most of the time goes into the first two."""


@dataclass(frozen=True)
class Column:
    """One quantity of a model, summed over the units of a network.

    Args:
        quantity: one of `search_spaces.costs.latency.QUANTITIES`.
        group: of `GROUPS`, or a kind of unit and the name of its part ("mixer.d_mixer"); None for all units.
        penalty: on the square of this column's share of the latency, against squares of relative errors.
        signed: whether its weight may be below 0.
    """

    quantity: str
    group: str | None = None
    penalty: float = 0.0
    signed: bool = False

    @property
    def is_of_part(self) -> bool:
        """Whether it is of the units of one part alone."""
        return self.group is not None and self.group not in GROUPS

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of units that it is summed over, or the one kind and part."""
        return tuple(PARTS_OF) if self.group is None else GROUPS.get(self.group, (self.group,))


def _per_group(name: str, penalty: float, signed: bool) -> tuple[Column, ...]:
    return tuple(Column(name, group, penalty, signed) for group in GROUPS)


BY_PART = "sum of units, corrected by their parts"
"""The name of the form that is made for the parts of the networks: what a runtime fuses across a unit's border, and what it takes to call
a unit by itself, depends on the part. On `images32` with ONNX Runtime it has 2.8 % of error, where the other forms have 3.9 to 4.5 %."""

PART_PENALTY = 3e-3
"""On the correction per unit of a part; .001 to .01 are alike on `images32`, and there may be more parts than networks."""

MACS = "MACs"
"""The name of the floor: what MACs alone tell."""

COUNTED = "counted: MACs, map sizes and number of units"
"""The name of the form for units that were not measured."""

FORMS: Mapping[str, tuple[Column, ...]] = {
    "sum of units": (Column("ms"),),
    "sum of units, and their number": (Column("ms"), Column("units", penalty=1e-3, signed=True)),
    # A correction per group is drawn towards none: the few networks that it is fitted on cannot tell much more.
    "sum of units, corrected by kind": (Column("ms"), *_per_group("ms", 0.05, True)),
    "sum of units, corrected by what is counted": (
        Column("ms"), Column("units", penalty=1e-3, signed=True), Column("macs", penalty=0.05), Column("elements", penalty=0.05),
    ),
    COUNTED: (
        *_per_group("macs", 1e-3, False), *_per_group("elements", 1e-3, False), Column("units", penalty=1e-3),
    ),
    MACS: (Column("macs"),),
}  # fmt: skip
"""The candidates, from what is preferred to the floor."""

BASE_PENALTY = 1e-3
"""On the share of what every network takes beside its units."""

BETTER, TELLABLE = 0.97, 5e-4
"""A form is taken instead of one that stands before it if its error is below this share of the other's, by more than can be measured."""


@dataclass(frozen=True)
class Fitted:
    """A model whose numbers are known.

    Args:
        form: its name, of `FORMS`.
        base: milliseconds of every network.
        weights: as `search_spaces.costs.latency.DeviceModel` takes them.
        error: mean relative error on the networks that it was fitted on, each predicted by a fit without it.
    """

    form: str
    base: float
    weights: Mapping[str, float]
    error: float

    def is_better_than(self, other: "Fitted", share: float = BETTER) -> bool:
        """Whether it is taken instead of one that is preferred while its error is not below this share of the other's."""
        return self.error < share * other.error - TELLABLE


class Calibration:
    """Networks that were measured whole, as the sums of their units.

    Args:
        networks: units of each, with repeats.
        ms: measured milliseconds of each (n,), above 0.
        times: of units.
    """

    def __init__(self, networks: Sequence[Sequence[Unit]], ms: Array, times: UnitTimes) -> None:
        self.networks, self.ms, self.times = networks, np.asarray(ms, float), times
        self._sums: dict[tuple[str, str], Array] = {}

    @cached_property
    def fitted(self) -> list[Fitted]:
        """Every form that can be computed for these networks and has few enough numbers for them, in the order of `FORMS`."""
        found = []
        for name, columns in self._forms():
            matrix = self._matrix(columns)
            if matrix is None or len(self.ms) < 2 + sum(not column.is_of_part for column in columns):
                continue
            coefficients = _fit(matrix, self.ms, columns)
            found.append(Fitted(name, *_model(columns, coefficients), _left_out(matrix, self.ms, columns)))
        return found

    def best(self) -> Fitted:
        """The form of least error; of nearly equal ones the first.

        Raises:
            ValueError: there are fewer than three networks.
        """
        if not self.fitted:
            raise ValueError(f"{len(self.ms)} networks are too few for any form")
        best = self.fitted[0]
        for found in self.fitted[1:]:
            if found.is_better_than(best):
                best = found
        return best

    def floor(self) -> Fitted | None:
        """What MACs alone tell; None where not even that was fitted."""
        return next((found for found in self.fitted if found.form == MACS), None)

    def _forms(self) -> Iterator[tuple[str, tuple[Column, ...]]]:
        """All candidates, in the order of preference."""
        parts = sorted({_part_of(unit) for network in self.networks for unit in network})
        per_part = (Column("units", part, PART_PENALTY, signed=True) for part in parts)
        for name, columns in FORMS.items():
            if name == COUNTED:
                yield BY_PART, (Column("ms"), Column("units", penalty=1e-3, signed=True), *per_part)
            yield name, columns

    def _matrix(self, columns: Sequence[Column]) -> Array | None:
        """Sums by network and column, behind a column of ones; None where a unit has no time."""
        zeros, ones = np.zeros(len(self.ms)), np.ones(len(self.ms))
        sums = [sum((self._sum(column.quantity, kind) for kind in column.kinds), zeros) for column in columns]
        matrix = np.stack((ones, *sums), axis=1)
        return matrix if np.isfinite(matrix).all() else None

    def _sum(self, name: str, kind: str) -> Array:
        if (name, kind) not in self._sums:
            sums = []
            for network in self.networks:
                amounts = [quantity(name, unit, self.times) for unit in network if kind in (unit.kind, _part_of(unit))]
                sums.append(float("nan") if None in amounts else float(sum(a for a in amounts if a is not None)))
            self._sums[name, kind] = np.array(sums)
        return self._sums[name, kind]


def _part_of(unit: Unit) -> str:
    return f"{unit.kind}.{unit.part.name}"


def _model(columns: Sequence[Column], coefficients: Array) -> tuple[float, dict[str, float]]:
    """Base, and weights by quantity and kind; by quantity alone where all kinds have one weight."""
    base, *values = map(float, coefficients)
    weights: dict[str, float] = {}
    for column, value in zip(columns, values, strict=True):
        for kind in column.kinds:
            key = f"{column.quantity}.{kind}"
            weights[key] = weights.get(key, 0.0) + value
    if all(column.group is None for column in columns):
        weights = {column.quantity: value for column, value in zip(columns, values, strict=True)}
    return base, weights


def _fit(matrix: Array, ms: Array, columns: Sequence[Column]) -> Array:
    """Coefficients (columns + 1,) of least squares of relative errors, with penalties, signs, and less weight for outliers."""
    relative = matrix / ms[:, None]
    scale = np.where(relative.any(0), np.abs(relative).mean(0), 1.0)  # coefficients are then shares of the latency
    shares, weights = relative / scale, np.ones(len(ms))
    penalties = np.array([BASE_PENALTY, *(column.penalty for column in columns)])
    signed = np.array([True, *(column.signed for column in columns)])
    found = np.zeros(matrix.shape[1])
    for _ in range(5):
        rows = np.concatenate((shares * weights[:, None], np.diag(np.sqrt(len(ms) * penalties))))
        wanted = np.concatenate((weights, np.zeros(len(penalties))))
        # Least squares with weights of at least 0; one that may have either sign is the difference of two such.
        solver = LinearRegression(fit_intercept=False, positive=True).fit(np.hstack((rows, -rows[:, signed])), wanted)
        found = solver.coef_[: len(signed)].copy()
        found[signed] -= solver.coef_[len(signed) :]
        off = np.abs(shares @ found - 1)
        usual = 1.4826 * float(np.median(off))  # the standard deviation, of normally distributed errors
        weights = np.sqrt(np.minimum(1.0, 2 * max(usual, 1e-4) / np.maximum(off, 1e-12)))
    return found / scale


def _left_out(matrix: Array, ms: Array, columns: Sequence[Column]) -> float:
    """Mean relative error of each network, predicted by a fit on all others."""
    errors = []
    for place in range(len(ms)):
        others = np.arange(len(ms)) != place
        predicted = float(matrix[place] @ _fit(matrix[others], ms[others], columns))
        errors.append(abs(max(0.0, predicted) / ms[place] - 1))
    return float(np.mean(errors))

"""What is known of sets of parameters without trying them: exact objectives and constraints. Knows no networks."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nas.samplers.encoding import Encoding

Known = Callable[[Mapping[str, Any]], float]
"""Gives a number for one set of parameters by name. With an attribute `many`, a function, it can be asked for many sets at once: that one
is given arrays by name, of values, and of indices of the choices where a parameter is categorical; it gives an array (n,)."""

IMPOSSIBLE = 1e12
"""The violation of what has no value."""


class Facts:
    """The exact objectives and constraints of rows.

    Args:
        objectives: in the order of the study, each with 1 where more is better and -1 where less is.
        constraints: at most 0 where they are kept.
    """

    def __init__(
        self, encoding: Encoding, objectives: Sequence[tuple[Known, float]], constraints: Sequence[Known]
    ) -> None:
        self.encoding, self.objectives, self.constraints = encoding, objectives, constraints
        self._seen: dict[tuple[int, bytes], float] = {}
        self._features: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows (n, parameters) the objectives (n, objectives), more being better, and the constraints (n, constraints)."""
        values = [sign * self._asked(known, rows) for known, sign in self.objectives]
        limits = [self._asked(known, rows) for known in self.constraints]
        empty = np.zeros((len(rows), 0))
        return (np.stack(values, axis=1) if values else empty), (np.stack(limits, axis=1) if limits else empty)

    def _asked(self, known: Known, rows: np.ndarray) -> np.ndarray:
        many = getattr(known, "many", None)
        if many is not None:
            return np.asarray(many(self.encoding.table(rows)), float)
        found = np.empty(len(rows))
        for i, row in enumerate(rows):
            key = (id(known), row.tobytes())
            if key not in self._seen:
                self._seen[key] = float(known(self.encoding.decode(row)))
            found[i] = self._seen[key]
        return found

    @staticmethod
    def excess(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
        """How far rows are from being feasible, (n,): 0 where they are."""
        found = np.maximum(np.nan_to_num(limits, nan=IMPOSSIBLE, posinf=IMPOSSIBLE), 0).sum(axis=1)
        return np.where(np.isfinite(values).all(axis=1), found, IMPOSSIBLE)

    def settle(self, values: np.ndarray, limits: np.ndarray) -> None:
        """Takes the zero and the unit of each feature from the facts of some rows."""
        scales = []
        for place, column in enumerate([*values.T, *limits.T]):
            finite = column[np.isfinite(column)]
            if not len(finite) or finite.min() == finite.max():
                continue
            if place >= values.shape[1] and finite.min() > -1:
                shift = 1.0  # how far a cost is from its limit, as a share of the limit; whether some rows are over it or none
            elif finite.min() > 0 or finite.max() < 0:
                shift = 0.0
            else:
                shift = math.nan  # of no sign: as it is
            changed = _logarithm(finite, shift)
            scales.append((shift, changed.mean(), changed.std(), changed.min(), changed.max()))
        kept = [i for i, column in enumerate([*values.T, *limits.T]) if len(np.unique(column[np.isfinite(column)])) > 1]

        def features(values: np.ndarray, limits: np.ndarray) -> np.ndarray:
            found = np.zeros((len(values), len(kept)))
            both = np.concatenate((values, limits), axis=1)
            for i, (column, (shift, mean, spread, low, high)) in enumerate(zip(kept, scales, strict=True)):
                changed = _logarithm(np.nan_to_num(both[:, column]), shift)
                found[:, i] = (np.clip(changed, low - spread, high + spread) - mean) / spread
            return found

        self._features = features

    def features(self, values: np.ndarray, limits: np.ndarray) -> np.ndarray:
        """Facts as features of a model, (n, features): the logarithms of those that have one sign, with mean 0 and deviation 1.

        A constraint is above -1 where it is the share by which a cost is over its limit; then the cost is what it is the logarithm of.
        """
        assert self._features is not None
        return self._features(values, limits)


def _logarithm(values: np.ndarray, shift: float) -> np.ndarray:
    if math.isnan(shift):
        return values
    return np.log(np.maximum(np.abs(values + shift), 1e-300))

"""The time of a unit that runs alone, learned from the times of others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from nas.latency.accuracy import PredictionErrors, accuracy
from nas.latency.choosing import WORTH, check_examples, choose, folds, typical_error
from nas.latency.encoding import LENGTHS, Array, Encoded, Encoder, squared_distances
from nas.latency.features import Describe, U
from nas.latency.gaussian import Fit


@dataclass(frozen=True)
class UnitModel(Generic[U]):
    """Times of single units, learned from measured ones.

    Args:
        name: of the kind of model that cross-validation chose.
        accuracy: on units that it had not seen, by cross-validation.
        considered: the same of each kind that was tried.
    """

    name: str
    accuracy: PredictionErrors
    considered: Mapping[str, PredictionErrors]
    describe: Describe[U]
    encoder: Encoder
    log_ms: Callable[[Encoded], Array]

    def predict(self, units: Sequence[U]) -> Array:
        """Milliseconds (n,) of units, above 0."""
        return np.exp(self.log_ms(self.encoder([self.describe(unit) for unit in units])))


MOST = 2_000
"""Units that the process over single units learns from; of more, a random choice."""


def fit_units(units: Sequence[U], ms: Array, describe: Describe[U], seed: int = 0) -> UnitModel[U]:
    """Learns the time of a unit that runs alone. Relative errors count.

    Args:
        units: that were measured, each once.
        ms: (n,), their times, above 0.
        describe: features of a unit.
        seed: of the parts of the cross-validation.

    Raises:
        InputError: fewer than `FEWEST` units, or all of one time.
    """
    ms = np.asarray(ms, float)
    check_examples(len(ms), ms, "units")
    rng = np.random.default_rng(seed)
    features = [describe(unit) for unit in units]
    encoder = Encoder(features)
    encoded, logs = encoder(features), np.log(ms)
    predicted: dict[str, Array] = {name: np.empty(len(ms)) for name in _KINDS}
    for left_out in folds(len(ms), rng):
        kept = np.setdiff1d(np.arange(len(ms)), left_out)
        for name, kind in _KINDS.items():
            predicted[name][left_out] = np.exp(kind(encoded[kept], logs[kept], rng)(encoded[left_out]))
    considered = {name: accuracy(values, ms) for name, values in predicted.items()}
    name = choose({name: typical_error(values, ms) for name, values in predicted.items()}, WORTH)
    return UnitModel(name, considered[name], considered, describe, encoder, _KINDS[name](encoded, logs, rng))


def _process(units: Encoded, logs: Array, rng: np.random.Generator) -> Callable[[Encoded], Array]:
    some = np.sort(rng.permutation(len(units))[:MOST])
    known = units[some]
    fit = Fit(_kernels(known, known), logs[some], rng)

    def predict(new: Encoded) -> Array:
        return fit.centre + np.tensordot(fit.factors, _kernels(new, known), 1) @ fit.solution

    return predict


def _kernels(one: Encoded, other: Encoded) -> Array:
    apart = squared_distances(one.places, other.places)
    return np.stack((one.places @ other.places.T, *(np.exp(-0.5 * apart / length**2) for length in LENGTHS)))


def _boosting(units: Encoded, logs: Array, rng: np.random.Generator) -> Callable[[Encoded], Array]:
    trees = HistGradientBoostingRegressor(max_iter=100, min_samples_leaf=5, random_state=int(rng.integers(2**31)))
    trees.fit(units.places, logs)
    return lambda new: trees.predict(new.places)


_KINDS: dict[str, Callable[[Encoded, Array, np.random.Generator], Callable[[Encoded], Array]]] = {
    "Gaussian process": _process,
    "gradient boosting": _boosting,
}

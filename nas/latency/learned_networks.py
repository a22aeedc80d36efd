"""The latency of whole networks, learned from some of them, for devices where nothing else can be measured.

A network's time is taken as a base and the sum of its units' times, which are not known one by one. A Gaussian process over units says
that units of like amounts and traits take like times, and finds the times that the measured networks make most likely: a hundred
networks are enough for spaces whose one-hot regression needs thousands. Two other models are fitted as well, and cross-validation on the
measured networks chooses: a non-negative regression on the amounts, for few networks, and the process bent by a second one
over whole networks, for devices on which times do not add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

import numpy as np
from sklearn.linear_model import LinearRegression

from nas.latency.accuracy import PredictionErrors, accuracy
from nas.latency.choosing import FOLDS, WORTH, check_examples, choose, folds, typical_error
from nas.latency.encoding import Array, Encoded, Encoder, between_networks
from nas.latency.features import Describe, U
from nas.latency.gaussian import Fit
from nas.latency.times import Alike, Bend, Linear, Times
from nas.log import Progress

KINDS = ("rates", "sums", "bent sums")
"""Of models of whole networks, from the simplest; the last is no sum over units."""

FITS = FOLDS + 2
"""Fits of the models of networks: one that the others begin with, one per fold, and the last one on everything."""

Networks = Sequence[Mapping[U, int]]
"""Networks, each as its units and how often it has each."""


@dataclass(frozen=True)
class NetworkModel(Generic[U]):
    """Latency of whole networks, learned from some.

    Args:
        name: of the kind of model that cross-validation chose.
        accuracy: on networks that it had not seen, by cross-validation.
        considered: the same of each kind that was tried.
        base: milliseconds of every network beside its units; may be below 0.
        bend: None where times add up.
    """

    name: str
    accuracy: PredictionErrors
    considered: Mapping[str, PredictionErrors]
    describe: Describe[U]
    encoder: Encoder
    base: float
    times: Times
    bend: Bend | None = None
    _remembered: dict[U, float] = field(default_factory=dict, repr=False, compare=False)

    @property
    def additive(self) -> bool:
        """Whether the prediction is `base` + the sum of `unit_ms`."""
        return self.bend is None

    def unit_ms(self, unit: U) -> float:
        """What a unit adds, at least 0; remembered."""
        self._remember([unit])
        return self._remembered[unit]

    def predict(self, networks: Networks[U]) -> Array:
        """Milliseconds (n,) of networks, above 0."""
        self._remember(list(dict.fromkeys(unit for network in networks for unit in network)))
        known = self._remembered
        sums = np.array([self.base + sum(known[unit] * n for unit, n in network.items()) for network in networks])
        sums = np.maximum(sums, SHORTEST)
        if self.bend is None:
            return sums
        units, counts = counted(networks)
        encoded = self.encoder([self.describe(unit) for unit in units])
        return sums * self.bend(counts @ encoded.amounts, sums)

    def _remember(self, units: Sequence[U]) -> None:
        new = [unit for unit in units if unit not in self._remembered]
        for some in (new[start : start + 1000] for start in range(0, len(new), 1000)):
            times = self.times(self.encoder([self.describe(unit) for unit in some]))
            self._remembered.update(zip(some, map(float, times), strict=True))


SHORTEST = 1e-6
"""Milliseconds; no prediction is below."""


def counted(networks: Networks[U]) -> tuple[list[U], Array]:
    """The different units of networks, and how often each network has each (n, u)."""
    units = list(dict.fromkeys(unit for network in networks for unit in network))
    places = {unit: place for place, unit in enumerate(units)}
    counts = np.zeros((len(networks), len(units)))
    for row, network in enumerate(networks):
        for unit, times in network.items():
            counts[row, places[unit]] = times
    return units, counts


MOST_NETWORKS = 1_500
"""Networks that are learned from; of more, a random choice. Time grows with their cube."""


def fit_networks(
    networks: Networks[U],
    ms: Array,
    describe: Describe[U],
    seed: int = 0,
    progress: Progress | None = None,
    additive: bool = False,
) -> NetworkModel[U]:
    """Learns the latency of networks.

    Args:
        networks: that were measured, each once.
        ms: (n,), their latencies, above 0.
        describe: features of a unit.
        seed: of the parts of the cross-validation, and of the choice where there are more than `MOST_NETWORKS`.
        progress: gets the number of fits that are done, of `FITS`.
        additive: whether only models are considered whose prediction is a sum over units.

    Raises:
        InputError: fewer than `FEWEST` networks, or all of one latency.
    """
    ms = np.asarray(ms, float)
    check_examples(len(ms), ms, "networks")
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(ms))[:MOST_NETWORKS])
    networks, ms = [networks[row] for row in chosen], ms[chosen]
    units, counts = counted(networks)
    features = [describe(unit) for unit in units]
    encoder = Encoder(features)
    encoded = encoder(features)
    similar = between_networks(counts, encoded)
    data = _Data(counts, encoded, similar, ms, rng)
    everything = np.arange(len(ms))
    first = Fit(similar, ms, rng)
    predicted: dict[str, Array] = {name: np.empty(len(ms)) for name in KINDS[: 2 if additive else 3]}
    for done, left_out in enumerate(folds(len(ms), rng), 1):
        if progress is not None:
            progress.update(done)
        kept = np.setdiff1d(everything, left_out)
        candidates = data.candidates(kept, first.weights)
        for name in predicted:
            predicted[name][left_out] = candidates[name].predict(counts[left_out], encoded)
    considered = {name: accuracy(values, ms) for name, values in predicted.items()}
    name = choose({name: typical_error(values, ms) for name, values in predicted.items()}, WORTH)
    best = data.candidates(everything, first.weights)[name]
    if progress is not None:
        progress.update(FITS)
    return NetworkModel(name, considered[name], considered, describe, encoder, best.base, best.times, best.bend)


@dataclass(frozen=True)
class _Candidate:
    base: float
    times: Times
    bend: Bend | None = None

    def sums(self, counts: Array, units: Encoded) -> Array:
        return np.maximum(self.base + counts @ self.times(units), SHORTEST)

    def predict(self, counts: Array, units: Encoded) -> Array:
        sums = self.sums(counts, units)
        return sums if self.bend is None else sums * self.bend(counts @ units.amounts, sums)


@dataclass(frozen=True)
class _Data:
    """Measured networks: counts (n, u) of units, the units, similarities (m, n, n), and ms (n,)."""

    counts: Array
    units: Encoded
    similar: Array
    ms: Array
    rng: np.random.Generator

    def candidates(self, rows: Array, start: Array) -> dict[str, _Candidate]:
        """The kinds of models, fitted on some rows, simplest first."""
        counts, ms = self.counts[rows], self.ms[rows]
        # Relative errors count, not those of the slowest networks.
        line = LinearRegression(positive=True).fit(counts @ self.units.amounts, ms, sample_weight=ms**-2.0)
        rates = _Candidate(float(line.intercept_), Linear(np.asarray(line.coef_)))
        fit = Fit(self.similar[:, rows[:, None], rows], ms, self.rng, start)
        sums = _Candidate(fit.centre, Alike(self.units, fit.factors, counts.T @ fit.solution))
        bend = Bend.of(counts @ self.units.amounts, sums.sums(counts, self.units), ms, self.rng)
        return {"rates": rates, "sums": sums, "bent sums": _Candidate(sums.base, sums.times, bend)}

"""Latency learned from examples: of whole networks on a device where nothing else can be measured, and of units that were not measured.

A network's time is taken as a base and the sum of its units' times, which are not known one by one. A Gaussian process over units says
that units of like amounts and traits take like times, and finds the times that the measured networks make most likely: a hundred
networks are enough for spaces whose one-hot regression needs thousands. Two other models are fitted beside it, and cross-validation on the
measured networks chooses: a non-negative regression on the amounts, for few networks, and the process bent by a second one
over whole networks, for devices on which times do not add up.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from nas.latency.accuracy import PredictionErrors, accuracy
from nas.latency.encoding import LENGTHS, Encoded, Encoder, between_networks, blocks, similarities, squared_distances
from nas.latency.features import Features
from nas.latency.gaussian import Fit
from nas.log import Progress
from search_spaces.errors import InputError

Array = np.ndarray
U = TypeVar("U", bound=Hashable)

FEWEST = 10
"""Examples that a model can be learned and checked on."""

FOLDS = 5

KINDS = ("rates", "sums", "bent sums")
"""Of models of whole networks, from the simplest; the last is no sum over units."""

FITS = FOLDS + 2
"""Fits of the models of networks: one that the others begin with, one per fold, and the last one on everything."""

WORTH = {"sums": 1.05, "bent sums": 0.95, "gradient boosting": 0.95}
"""Share of the error of the simpler models that a kind of model must stay below to be chosen.

Sums contain rates, and are preferred when the two are about equal. What does not add up has no bounds, and has to be clearly better.
"""

TRIMMED = 0.1
"""Share of the examples, those predicted worst, that do not count in the choice: a device's hiccups would decide it."""


Networks = Sequence[Mapping[U, int]]
"""Networks, each as its units and how often it has each."""

Describe = Callable[[U], Features]


class Times(Protocol):
    """Milliseconds (u,) that units add to a network, at least 0."""

    def __call__(self, units: Encoded) -> Array: ...


@dataclass(frozen=True)
class Linear:
    """So many milliseconds per amount; `per_amount` is (a,)."""

    per_amount: Array

    def __call__(self, units: Encoded) -> Array:
        return units.amounts @ self.per_amount


@dataclass(frozen=True)
class Alike:
    """As the units that they are like.

    Args:
        known: the units of the networks that were measured.
        factors: (m,), weight of each of `similarities`.
        pulls: (v,), what each known unit pulls.
    """

    known: Encoded
    factors: Array
    pulls: Array

    def __call__(self, units: Encoded) -> Array:
        found = np.zeros(len(units))
        for some in blocks(len(units)):
            for similar, factor in zip(similarities(units[some], self.known), self.factors, strict=True):
                found[some] += factor * (similar @ self.pulls)
        return np.maximum(found, 0.0)


@dataclass(frozen=True)
class Bend:
    """How whole networks depart from the sum of their units: by a factor that is alike for networks of like amounts."""

    centre: Array
    spread: Array
    known: Array
    fit: Fit

    @classmethod
    def of(cls, amounts: Array, sums: Array, ms: Array, rng: np.random.Generator) -> "Bend":
        """
        Args:
            amounts: (n, a), sums over each network.
            sums: (n,), predicted by adding up.
            ms: (n,), measured.
        """
        rows = _logs(amounts, sums)
        centre, spread = rows.mean(0), np.where(rows.std(0) > 1e-9, rows.std(0), np.inf)
        known = (rows - centre) / spread
        return cls(centre, spread, known, Fit(_near(known, known), np.log(ms / sums), rng))

    def __call__(self, amounts: Array, sums: Array) -> Array:
        """Factors (n,) of networks."""
        near = _near((_logs(amounts, sums) - self.centre) / self.spread, self.known)
        return np.exp(self.fit.centre + np.tensordot(self.fit.factors, near, 1) @ self.fit.solution)


def _logs(amounts: Array, sums: Array) -> Array:
    return np.log1p(np.concatenate((amounts, sums[:, None]), axis=1))


def _near(one: Array, other: Array) -> Array:
    apart = squared_distances(one, other) / max(1, one.shape[1])
    return np.stack([np.exp(-0.5 * apart / length**2) for length in (0.5, 2.0)])


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
    _check(len(ms), ms, "networks")
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


def typical_error(predicted: Array, measured: Array) -> float:
    """Mean of |predicted / measured - 1| without the worst share `TRIMMED`."""
    far = np.sort(np.abs(predicted / measured - 1))
    return float(far[: max(1, round(len(far) * (1 - TRIMMED)))].mean())


def choose(errors: Mapping[str, float], worth: Mapping[str, float]) -> str:
    """The last kind that is so much better than the one chosen among those before; the first if none is.

    Args:
        worth: share of the other's error that a kind must stay below.
    """
    chosen = next(iter(errors))
    for name in errors:
        if errors[name] < worth.get(name, 1.0) * errors[chosen]:
            chosen = name
    return chosen


def folds(count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Rows that are left out in turn, each once."""
    yield from np.array_split(rng.permutation(count), min(FOLDS, count))


def _check(count: int, ms: Array, what: str) -> None:
    if count < FEWEST:
        raise InputError(
            f"{count} measured {what}", f"{FEWEST} or more, to learn from and to check on", f"measure more {what}"
        )
    if ms.max() == ms.min():
        raise InputError(
            f"all {count} measured {what} take {ms[0]} ms", f"{what} of different latencies",
            "measure with a finer clock, or spread them over the space",
        )  # fmt: skip


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
    _check(len(ms), ms, "units")
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

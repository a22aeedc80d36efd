"""Forms in which units add up to the time of a network."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nas.latency.encoding import Array, Encoded, blocks, similarities, squared_distances
from nas.latency.gaussian import Fit


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

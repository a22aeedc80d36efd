"""Features of units as arrays, scaled by the units that a model is fitted on, and the similarities between units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nas.latency.features import Features

Array = np.ndarray

LENGTHS = (0.15, 0.3, 0.6, 1.2)
"""How far apart units are alike, over the mean distance of the units that are known: the data choose how much each counts."""


@dataclass(frozen=True)
class Encoded:
    """Units as arrays.

    Args:
        amounts: (u, a), what each unit adds, over the mean of the known units.
        places: (u, t), the traits; distances mean something.
    """

    amounts: Array
    places: Array

    def __getitem__(self, rows: Array | slice) -> "Encoded":
        return Encoded(self.amounts[rows], self.places[rows])

    def __len__(self) -> int:
        return len(self.amounts)


class Encoder:
    """Makes arrays of features. Names that none of the known units has are ignored later.

    Args:
        known: features of the units that a model is fitted on, at least one.
    """

    def __init__(self, known: Sequence[Features]) -> None:
        self.amount_names = sorted({name for unit in known for name in unit.amounts})
        values = [item for unit in known for item in unit.traits.items()]
        self.numbers = sorted({name for name, value in values if not isinstance(value, str)})
        self.words = sorted({(name, value) for name, value in values if isinstance(value, str)})
        amounts, numbers = self._amounts(known), self._numbers(known)
        self.scale = np.where(amounts.any(0), amounts.mean(0), 1.0)
        spread = numbers.std(0) if len(known) > 1 else np.ones(numbers.shape[1])
        self.centre, self.spread = numbers.mean(0), np.where(spread > 1e-9, spread, np.inf)
        self.distance = 1.0
        places = self(known).places
        self.distance = float(np.sqrt(2 * places.var(0).sum())) or 1.0  # root mean square of the distance of two units

    def __call__(self, units: Sequence[Features]) -> Encoded:
        numbers = (self._numbers(units) - self.centre) / self.spread
        words = np.array([[unit.traits.get(name) == value for name, value in self.words] for unit in units], float)
        places = np.concatenate((numbers, words.reshape(len(units), -1)), axis=1)
        return Encoded(self._amounts(units) / self.scale, places / self.distance)

    def _amounts(self, units: Sequence[Features]) -> Array:
        return _table([[unit.amounts.get(name, 0.0) for name in self.amount_names] for unit in units])

    def _numbers(self, units: Sequence[Features]) -> Array:
        # An option that a unit does not have is 0, and a word of its own tells it from an option that is 0.
        return _table([[float(unit.traits.get(name, 0.0)) for name in self.numbers] for unit in units])


def _table(rows: list[list[float]]) -> Array:
    return np.array(rows, float).reshape(len(rows), -1)


def similarities(one: Encoded, other: Encoded) -> Iterator[Array]:
    """Matrices (u, v) of how alike the times of units are: by amounts, by traits at each of `LENGTHS`, and by being the same.

    A unit that does nothing is like no other: its time is 0.
    """
    busy = np.outer(one.amounts.any(1), other.amounts.any(1))
    yield one.amounts @ other.amounts.T + busy
    apart = squared_distances(one.places, other.places)
    for length in LENGTHS:
        yield np.exp(-0.5 * apart / length**2) * busy
    yield (apart < 1e-9) * busy


BLOCK = 500
"""Units whose similarities to all others are in memory at once."""


def blocks(count: int) -> Iterator[slice]:
    """Rows 0 to `count`, `BLOCK` at a time."""
    yield from (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def between_networks(counts: Array, units: Encoded) -> Array:
    """Similarities (m, n, n) of networks: the sums of those of their units.

    Args:
        counts: (n, u), how often each network has each unit.
    """
    found = np.zeros((SIMILARITIES, len(counts), len(counts)))
    for some in blocks(len(units)):
        for place, matrix in enumerate(similarities(units[some], units)):
            found[place] += counts[:, some] @ (matrix @ counts.T)
    return found


def squared_distances(one: Array, other: Array) -> Array:
    """Between the rows of (u, t) and (v, t): (u, v)."""
    found = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.maximum(found, 0.0)


SIMILARITIES = len(LENGTHS) + 2
"""How many matrices `similarities` gives."""

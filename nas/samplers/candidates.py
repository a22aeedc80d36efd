"""Rows that a sampler may propose: all of them where they are few, else those that a small evolution finds. Knows no networks."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nas.samplers.encoding import Encoding
from nas.samplers.facts import Facts

EVERY = 8192
"""Rows up to which a space is listed in full."""

_DRAWN, _ROUNDS = 2048, 30
"""Feasible rows that are looked for at first, and rounds of repairing those that are not."""

_CHILDREN, _GENERATIONS, _KEPT, _PARENTS = 500, 6, 1500, 150
"""Of the evolution: rows made per generation, generations, rows kept at last, and parents."""

_BINS = 15
"""Ranges of a known objective in each of which rows are kept, so that no part of the front is forgotten."""


@dataclass(frozen=True)
class Pool:
    """Rows with their facts.

    Args:
        rows: (n, parameters). values: (n, known objectives), more being better. limits: (n, known constraints).
        whole: whether these are all feasible rows that there are.
    """

    rows: np.ndarray
    values: np.ndarray
    limits: np.ndarray
    whole: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def and_(self, other: "Pool") -> "Pool":
        """These and others."""
        return Pool(
            np.concatenate((self.rows, other.rows)),
            np.concatenate((self.values, other.values)),
            np.concatenate((self.limits, other.limits)),
        )

    def take(self, index: np.ndarray) -> "Pool":
        """Some of them."""
        return Pool(self.rows[index], self.values[index], self.limits[index])


def pool_of(facts: Facts, rows: np.ndarray) -> Pool:
    """Rows with what is known of them."""
    return Pool(rows, *facts.of(rows))


def feasible(facts: Facts, rows: np.ndarray) -> Pool:
    """Those of the rows that keep all known constraints, each once."""
    pool = pool_of(facts, np.unique(rows, axis=0))
    return pool.take(np.flatnonzero(facts.excess(pool.values, pool.limits) <= 0))


def first_pool(
    encoding: Encoding, facts: Facts, rng: np.random.Generator, candidates: np.ndarray | None = None
) -> Pool:
    """Feasible rows to begin with: all of them, or random ones and some towards the ends of each known objective.

    Where none is found, those nearest to being feasible.

    Args:
        candidates: (n, parameters) rows, if no others may be proposed.
    """
    if candidates is not None:
        pool = feasible(facts, candidates)
        return replace(pool, whole=True) if len(pool) else _nearest(facts, pool_of(facts, candidates))
    if encoding.size <= EVERY:
        pool = pool_of(facts, encoding.every())
        inside = np.flatnonzero(facts.excess(pool.values, pool.limits) <= 0)
        if len(inside):
            return Pool(pool.rows[inside], pool.values[inside], pool.limits[inside], whole=True)
        return _nearest(facts, pool)
    found = _mended(encoding, facts, rng)
    if not len(found):
        return _nearest(facts, pool_of(facts, np.unique(encoding.draw(rng, _DRAWN), axis=0)))
    rows = [found.rows]
    for objective in range(found.values.shape[1]):
        for sign in (-1.0, 1.0):
            end = _climbed(encoding, facts, rng, found, lambda pool, o=objective, s=sign: s * pool.values[:, o])
            rows.append(_crossed(rng, np.concatenate((end.rows, found.rows[:100])), _DRAWN // 4))
            rows.append(end.rows)
    return feasible(facts, np.concatenate(rows))


def _nearest(facts: Facts, pool: Pool) -> Pool:
    excess = facts.excess(pool.values, pool.limits)
    return pool.take(np.flatnonzero(excess == excess.min()))


def _mended(encoding: Encoding, facts: Facts, rng: np.random.Generator) -> Pool:
    """Random feasible rows; where they are rare, infeasible ones are changed until they are feasible."""
    pool = pool_of(facts, np.unique(encoding.draw(rng, _DRAWN), axis=0))
    for _ in range(_ROUNDS):
        excess = facts.excess(pool.values, pool.limits)
        if (excess <= 0).sum() >= _DRAWN // 4:
            break
        parents = pool.rows[np.argsort(excess, kind="stable")[: _DRAWN // 4]]
        children = encoding.mutate(rng, parents[rng.integers(len(parents), size=_CHILDREN)])
        pool = pool_of(facts, np.unique(np.concatenate((parents, children)), axis=0))
    return pool.take(np.flatnonzero(facts.excess(pool.values, pool.limits) <= 0))


def _climbed(
    encoding: Encoding, facts: Facts, rng: np.random.Generator, pool: Pool, score: Callable[[Pool], np.ndarray]
) -> Pool:
    """The best of the feasible rows after some generations."""
    for _ in range(_ROUNDS // 2):
        best = pool.rows[np.argsort(-score(pool), kind="stable")[:40]]
        children = encoding.mutate(rng, _crossed(rng, best, _CHILDREN // 2))
        pool = feasible(facts, np.concatenate((best, children)))
    return pool.take(np.argsort(-score(pool), kind="stable")[:40])


def _crossed(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Children of two random rows each, with a random share of the first one's parameters."""
    one, other = rows[rng.integers(len(rows), size=(2, count))]
    return np.where(rng.random(one.shape) < rng.random((count, 1)), one, other)


def evolved(
    encoding: Encoding,
    facts: Facts,
    rng: np.random.Generator,
    parents: np.ndarray,
    random: Pool,
    score: Callable[[Pool], np.ndarray],
) -> Pool:
    """Feasible rows of high score, found by mutation and crossover.

    Args:
        parents: rows that were good so far; may be infeasible.
        random: feasible rows, some of which are tried too.
        score: of each row of a pool; more is better.
    """
    few = random.rows[rng.permutation(len(random))[:_CHILDREN]]
    pool = feasible(facts, np.concatenate((parents, few)))
    if not len(pool):
        return pool
    scores = score(pool)
    for _ in range(_GENERATIONS):
        best = pool.rows[_spread(pool, scores, _PARENTS)]
        children = _crossed(rng, best, _CHILDREN)
        alone = rng.random(len(children)) < 0.5
        children[alone] = best[rng.integers(len(best), size=int(alone.sum()))]
        new = feasible(facts, encoding.mutate(rng, children))
        known = {row.tobytes() for row in pool.rows}
        new = new.take(np.array([i for i, row in enumerate(new.rows) if row.tobytes() not in known], int))
        if not len(new):
            continue
        pool = pool.and_(new)
        scores = np.concatenate((scores, score(new)))
    return pool.take(_spread(pool, scores, _KEPT))


def _spread(pool: Pool, scores: np.ndarray, count: int) -> np.ndarray:
    """The rows of highest score, half of them overall and half within ranges of the first known objective."""
    order = np.argsort(-scores, kind="stable")
    if not pool.values.shape[1]:
        return order[:count]
    values = pool.values[:, 0]
    edges = np.linspace(values.min(), values.max(), _BINS + 1)[1:-1]
    place = np.searchsorted(edges, values[order])
    within = np.zeros(len(order), int)
    for range_ in range(_BINS):
        here = place == range_
        within[here] = np.arange(here.sum())
    kept = (within < count // 2 // _BINS) | (np.arange(len(order)) < count // 2)
    return order[kept]

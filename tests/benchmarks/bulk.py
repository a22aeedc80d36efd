"""Costs of many architectures and sampling within limits, side by side with one architecture at a time and with rejection.

Run it alone with `python tests/benchmarks/bulk.py SPACE...`.
"""

import random
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from search_spaces.costs import cost_named, pieces
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.feasible import FeasibleSampler
from search_spaces.named import load_space
from search_spaces.space import SearchSpace

T = TypeVar("T")

SPACES = ("images32", "transxnet", "unified")
NAMES = ("params", "macs")
MANY = 100_000
SAMPLES = 10_000
BAND = 0.05
QUANTILES = (0.01, 0.5, 0.99)
REJECTIONS = 300
"""Draws of `SearchSpace.sample` from which the time of rejection is worked out."""


def random_genes(space: SearchSpace, count: int, rng: np.random.Generator) -> np.ndarray:
    """Genes (count, genes), each uniform, as small integers; made in pieces, because the columns are drawn as large ones."""
    sizes = np.array([len(gene.choices) for gene in space.genes])
    starts = range(0, count, 4096)
    return np.concatenate([rng.integers(0, sizes, (min(4096, count - n), len(sizes))).astype(np.int16) for n in starts])


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and what it gives."""
    clock = time.perf_counter()
    found = call()
    return time.perf_counter() - clock, found


def quickest(call: Callable[[T], object], items: list[T], repeats: int = 9) -> float:
    """Mean over the items of the least seconds of a call: what other processes take of the time is left out."""
    return sum(min(timed(partial(call, item))[0] for _ in range(repeats)) for item in items) / len(items)


def lookup_rows(space: SearchSpace, costs: SpaceCosts, genes: np.ndarray) -> list[str]:
    """Rates of the ways to cost architectures of which everything is counted."""
    few = [tuple(row) for row in genes[:300].tolist()]
    archs = [space.decode(row) for row in few]
    exact = all(costs.one(row) == {name: cost_named(name)(arch) for name in NAMES} for row, arch in zip(few, archs, strict=True))  # fmt: skip
    for arch in archs:
        pieces.cost(arch)
    seconds = min(timed(lambda: costs.costs(genes))[0] for _ in range(3))
    one, built = quickest(costs.one, few), quickest(pieces.cost, archs)
    decoded = quickest(lambda row: pieces.cost(space.decode(row)), few)
    return [
        f"    many at once          {len(genes) / seconds:12,.0f} a second   (target 100,000)   equal to pieces.cost: {exact}",
        f"    one, from its genes   {one * 1e6:12.1f} us         (target < 20)",
        f"    pieces.cost           {built * 1e6:12.1f} us of an architecture, {decoded * 1e6:.1f} us from its genes",
    ]


def band_rows(space: SearchSpace, costs: SpaceCosts, genes: np.ndarray) -> list[str]:
    """Times of sampling in bands, and of rejection as its rate and the time of a draw give it."""
    rows = []
    rng = random.Random(0)
    draw = timed(lambda: [pieces.cost(space.sample(rng)) for _ in range(REJECTIONS)])[0] / REJECTIONS
    found = costs.costs(genes)
    for name in NAMES:
        for quantile in QUANTILES:
            middle = float(np.quantile(found[name], quantile))
            low, high = (1 - BAND) * middle, (1 + BAND) * middle
            share = float(((found[name] >= low) & (found[name] <= high)).mean())
            sampler = FeasibleSampler(space, [(name, low, high)])
            sampler.sample_many(1, np.random.default_rng(1))  # counts the units and finds the tilts
            seconds, drawn = timed(lambda sampler=sampler: sampler.sample_many(SAMPLES, np.random.default_rng(0)))
            covering, _ = timed(lambda sampler=sampler: sampler.sample_many(SAMPLES, np.random.default_rng(0), cover=True))  # fmt: skip
            values = costs.costs(drawn)[name]
            inside = bool(((values >= low) & (values <= high)).all())
            proven = sum(known for _, _, known in sampler.without)
            rows.append(
                f"    {name:6} at {quantile:4.0%}   {seconds:6.2f} s, with every choice {covering:6.2f} s (target 2)   all inside: {inside}   "
                f"impossible choices {proven}, not found {len(sampler.without) - proven}   rejection {SAMPLES * draw / max(share, 1 / len(genes)):8.0f} s"
            )
    return rows


def rows(spaces: tuple[str, ...] = SPACES) -> list[str]:
    """Rows of the report."""
    found = []
    for name in spaces:
        loading, space = timed(lambda name=name: load_space(name))
        costs = SpaceCosts(space, NAMES)
        counting, _ = timed(costs.count_all)
        genes = random_genes(space, MANY, np.random.default_rng(0))
        found.append(f"  {name:10} loaded in {loading:.1f} s, all units counted in {counting:.1f} s")
        found += lookup_rows(space, costs, genes) + band_rows(space, costs, genes)
    return found


if __name__ == "__main__":
    print("\n".join(rows(tuple(sys.argv[1:]) or SPACES)))  # noqa: T201

"""Times of whole networks and of single units on this device, measured side by side.

    timings = measure_networks(archs, Setting(runtime="eager"), seed=0)
    timings[arch.digest].ms

Times depend on shapes, not on weights: networks are measured with fresh ones.
"""

import random
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from nas.log import Progress, say
from nas.measuring.noise import Measurement, Noise, NoisyMachine, measure
from nas.measuring.run_cache import PARAMS, Once, Prepared, RunCache, params_of
from nas.measuring.timing import FEWEST, Timing
from nas.runtimes import Setting
from nas.runtimes.forms import in_groups
from search_spaces.architecture import Architecture
from search_spaces.costs.pieces import cost
from search_spaces.space import SearchSpace
from search_spaces.units import Unit, units

K = TypeVar("K", bound=Hashable)

TOGETHER = 150
"""Units or networks that are measured side by side, at most."""

CROWD = 80
"""Units that are measured side by side, at least, if there are as many. Among fewer, each finds more of itself in the caches: among 16 it
is a sixth faster than among 80, and from there on the number makes no difference that can be told.
"""

UNIT_ERROR = 2.0
"""How much larger the error of a unit's time may be than that of a network: a network adds up tens of them, and their errors cancel."""


def measure_networks(
    archs: Sequence[Architecture],
    setting: Setting,
    *,
    seed: int,
    error: float = 0.01,
    noisy: bool = False,
    progress: Progress | None = None,
) -> dict[str, Timing]:
    """Whole networks, measured in rounds of random order in the form in which they are used.

    Args:
        archs: complete architectures; of equal ones, one is measured.
        setting: how they are run; it is settled here.
        seed: of weights, images and the order.
        error: half the width of the confidence interval over the median, at which a network is done.
        noisy: give the times of a noisy machine too.
        progress: gets the number of networks that have been measured.

    Returns:
        Timings by digest, in milliseconds for one batch.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
        InputError: the runtime is missing or cannot run a network.
    """
    found: dict[str, Timing] = {}
    chosen = {arch.digest: arch for arch in archs}
    for keys in chunks(list(chosen), lambda digest: params_of(chosen[digest])):
        measured = measure_some([chosen[key] for key in keys], setting, seed=seed, error=error, noisy=noisy)
        found |= dict(zip(keys, measured.timings.values(), strict=True))
        if progress is not None:
            progress.update(len(found))
    return {digest: found[digest] for digest in chosen}


WAITS = (2, 10, 30)
"""Seconds before things are measured again that something has disturbed: other programs, and neighbours of a virtual machine, are often quiet a
little later, and to make them again would take longer.
"""


def measure_some(
    chosen: Sequence[Architecture] | Sequence[Unit],
    setting: Setting,
    *,
    seed: int,
    error: float = 0.01,
    seconds: float | None = None,
    noisy: bool = False,
    prepared: Prepared = lambda number: None,
    cache: RunCache | None = None,
    level: bool = False,
) -> Measurement[int]:
    """Architectures or units, all in memory at once and measured side by side.

    The time of a network is that of calling it again and again, whatever is measured beside it; that of a unit is of single calls among
    all others.

    Args:
        seconds: of measuring, about.
        cache: of runs with this setting and seed; without one they are prepared here, and forgotten.
        level: as of `nas.measuring.noise.measure`.

    Returns:
        Timings by position.

    Raises:
        NoisyMachine: something disturbs the machine, the fourth time too, and `noisy` is false.
        InputError: as `measure_networks`.
    """
    cache = RunCache(setting, seed) if cache is None else cache
    runs = dict(enumerate(cache.runs(chosen, prepared)))
    alone = not any(isinstance(run, Once) for run in runs.values())
    for wait in () if noisy else WAITS:
        try:
            return measure(runs, seed=seed, error=error, seconds=seconds, warm=alone, level=level)
        except NoisyMachine as disturbed:
            say(f"{disturbed.given}; measuring again in {wait} seconds", sys.stderr)
            time.sleep(wait)
    return measure(runs, seed=seed, error=error, seconds=seconds, noisy=noisy, warm=alone, level=level)


def chunks(items: Sequence[K], params: Callable[[K], int], most: int = PARAMS) -> Iterator[list[K]]:
    """The items in lists that are measured together: at most `TOGETHER`, with at most `most` parameters."""
    return in_groups(items, params, TOGETHER, most)


def companions(chosen: Sequence[Unit], known: Sequence[Unit], seed: int, crowd: int = CROWD) -> list[Unit]:
    """Units of `known` that are measured beside those chosen, so that there are `crowd` of them."""
    others = [unit for unit in known if unit not in set(chosen)]
    return random.Random(f"companions {seed}").sample(others, max(0, min(crowd - len(chosen), len(others))))


BANDS = 12
"""Of equal width in MACs, from which networks are taken in turn."""

DRAWS = 20
"""Members drawn per network that is taken."""


def spread_networks(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Different members, spread evenly over the MACs of random members, in random order; fewer where the space is smaller.

    Random members alone have nearly the same cost: what is fitted on them would have to be extrapolated to small and large networks.
    """
    rng = random.Random(f"networks {seed}")
    drawn = {arch.digest: arch for arch in (space.sample(rng) for _ in range(DRAWS * count))}
    macs = {digest: cost(arch).macs for digest, arch in drawn.items()}
    least, most = min(macs.values()), max(macs.values())
    bands: list[list[str]] = [[] for _ in range(BANDS)]
    for digest, found in macs.items():
        bands[min(BANDS - 1, BANDS * (found - least) // max(1, most - least))].append(digest)
    taken: list[str] = []
    while len(taken) < min(count, len(drawn)):
        for band in bands:
            if band and len(taken) < count:
                taken.append(band.pop())
    rng.shuffle(taken)
    return [drawn[digest] for digest in taken]


def calibrating(archs: Sequence[Architecture], count: int, seed: int) -> set[str]:
    """Digests of the networks among `archs` that calibrate a model: the smallest and the largest by units, and between them one at random
    of each group of neighbours.

    What is fitted on them is then asked about no network beyond their range. By chance alone, 25 of 55 leave out the smallest ones often
    enough, on which what a network takes beside its units shows most.

    Args:
        archs: different ones, more than `count`.
        count: 2 or more.
        seed: of the choice inside the groups.
    """
    rng = random.Random(f"calibration {seed}")
    first, *inner, last = sorted(archs, key=lambda arch: (len(list(units(arch))), cost(arch).macs, arch.digest))
    groups = count - 2
    bounds = [place * len(inner) // groups for place in range(groups + 1)] if groups else []
    chosen = [rng.choice(inner[low:high]) for low, high in pairwise(bounds)]
    return {arch.digest for arch in (first, *chosen, last)}


def worst(noises: Sequence[Noise]) -> Noise:
    """The noise of several measurements as one: of each number the one that is farthest from a quiet machine's."""
    return Noise(
        spread=max(noise.spread for noise in noises),
        drift=max((noise.drift for noise in noises), key=abs),
        waiting=max(noise.waiting for noise in noises),
        unsettled=max(noise.unsettled for noise in noises),
        error=noises[0].error,
        load=max((noise.load for noise in noises if noise.load is not None), default=None),
        cores=noises[0].cores,
        reference_ms=noises[-1].reference_ms,
        hurried=any(noise.hurried for noise in noises),
    )


def in_rounds(share: int, total: int, seconds: float | None) -> float | None:
    """The part of a time limit that falls to `share` of `total` things."""
    return None if seconds is None else max(1e-3, seconds * share / max(1, total))


__all__ = [
    "CROWD", "FEWEST", "Once", "calibrating", "chunks", "companions", "in_rounds", "measure_networks", "measure_some", "spread_networks", "worst",
]  # fmt: skip

"""What all things that are timed in one round have in common: how fast the machine was just then.

    levels = common_levels(samples, numbers)
    timings = levelled(samples, numbers)

The time of thing i in round r is taken as a time of its own, times the machine's level in that round, times noise. Processors change
their clocks for seconds at a time. Where a machine is at one level in half of the rounds and at another in the other half, the median of
each thing lies at either of them by chance; divided by the levels first, all medians are at the same one.

Standard library only.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from nas.measuring.timing import FEWEST, K, Timing

TOGETHER = 20
"""Things below which a round does not tell a level: it would be the noise of these few. It then has the level of the round before."""

SWEEPS, SETTLED = 20, 1e-4
"""Sweeps of the median polish, at most, and the change of all levels below which it ends."""


def common_levels(samples: Mapping[K, Sequence[float]], numbers: Mapping[K, Sequence[int]]) -> list[float]:
    """The logarithm of the machine's time in each round over its usual time, by median polish.

    Args:
        samples: seconds of each thing, above 0.
        numbers: the round, from 0, of each of its samples.

    Returns:
        Of every round; their median is 0. Nothing where no round has `TOGETHER` things.
    """
    logs = {key: [math.log(value) for value in values] for key, values in samples.items() if values}
    total = 1 + max((max(numbers[key]) for key in logs), default=-1)
    levels = [0.0] * total
    for _ in range(SWEEPS):
        left: list[list[float]] = [[] for _ in range(total)]
        for key, values in logs.items():
            own = statistics.median(value - levels[r] for value, r in zip(values, numbers[key], strict=True))
            for value, r in zip(values, numbers[key], strict=True):
                left[r].append(value - own)
        found = [statistics.median(some) if len(some) >= TOGETHER else None for some in left]
        told = [level for level in found if level is not None]
        if not told:
            return []
        centre, before, change = statistics.median(told), told[0], 0.0
        for r, level in enumerate(found):
            before = before if level is None else level
            change = max(change, abs(before - centre - levels[r]))
            levels[r] = before - centre
        if change < SETTLED:
            break
    return levels


def levelled(samples: Mapping[K, Sequence[float]], numbers: Mapping[K, Sequence[int]]) -> dict[K, Timing]:
    """Timings at the machine's usual level.

    An interval is that of the thing's median at this level, widened by how little the level itself is known: a median of a few rounds.

    Args:
        samples, numbers: as of `common_levels`.
    """
    levels = common_levels(samples, numbers)
    if len(levels) < FEWEST:
        return {key: Timing.of(values) for key, values in samples.items()}
    factors = [math.exp(level) for level in levels]
    doubt = Timing.of(factors).error
    found = {}
    for key, values in samples.items():
        timing = Timing.of([value / factors[r] for value, r in zip(values, numbers[key], strict=True)])
        below, above = (math.hypot(far / timing.ms, doubt) for far in (timing.ms - timing.low, timing.high - timing.ms))
        low, high = timing.ms * (1 - below), timing.ms * (1 + above)
        found[key] = replace(timing, low=low, high=high, error=(high - low) / 2 / timing.ms)
    return found

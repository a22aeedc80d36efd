"""Timing of several things side by side: in rounds of random order, until each median is known well enough.

    timings = time_interleaved({"a": run_a, "b": run_b}, seed=0)
    timings["a"].ms, timings["a"].low, timings["a"].high

One round times everything once. A disturbance of a second then affects all runs alike, and the median over rounds ignores it. Networks
that are timed one after the other instead differ by several per cent from one repeat to the next.

The content of the caches depends on what ran before. `nas.measuring.noise.measure` therefore calls each run once more just before it is
timed. Units also run after other units inside a network; they are timed after others here, too.

Standard library only.
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from nas.log import Progress
from nas.machine.garbage import no_garbage_collection
from search_spaces.errors import InputError

K = TypeVar("K", bound=Hashable)
Clock = Callable[[], float]

CONFIDENCE = 0.95
"""Probability that an interval contains the median, at least."""

FEWEST = 6
"""Fewest rounds: with fewer, not even the whole range of the times is an interval of that confidence."""

SHORTEST = 3e-4
"""Least seconds of one measurement. Shorter runs are repeated inside it, since reading the clock takes part of a microsecond."""

LONG = 0.1
"""Seconds of a call from which on a run is not called once more just before it is timed: the caches affect only a small part of it."""

WARM_UPS = 2
"""Calls before the first round that are not measured, besides the one that chooses the repeats."""

STRAGGLERS = 0.05
"""Share of the runs that need not settle if all are measured until the end: a few that never settle would double the rounds of all."""


@runtime_checkable
class SelfTimed(Protocol):
    """A run that measures its own time, because a call only starts the work, as on a GPU."""

    def seconds(self, repeats: int) -> float:
        """Seconds of one call, as the mean of at least `repeats` calls."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one thing takes.

    Args:
        ms: median of the rounds, in milliseconds.
        low, high: bounds of its 95 % confidence interval, by order statistics; they hold for any distribution of times.
        spread: 90th percentile of the rounds over the median.
        rounds: number of measurements.
        error: half the width of the interval over the median.
    """

    ms: float
    low: float
    high: float
    spread: float
    rounds: int
    error: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Timing":
        """The summary of one or more measurements. With fewer than `FEWEST` the interval is their range, and less sure."""
        times = sorted(1e3 * value for value in seconds)
        ms, rank = statistics.median(times), _rank(len(times))
        low, high = times[rank], times[-1 - rank]
        percentile = times[math.ceil(0.9 * len(times)) - 1]
        return cls(ms, low, high, percentile / ms, len(times), (high - low) / 2 / ms)


def pooled(one: Timing, other: Timing) -> Timing:
    """Two timings of one thing as one: the mean of their medians, with an interval that contains both of theirs.

    They are of different times, between which the machine may have become faster or slower.
    """
    ms, low, high = (one.ms + other.ms) / 2, min(one.low, other.low), max(one.high, other.high)
    return Timing(ms, low, high, max(one.spread, other.spread), one.rounds + other.rounds, (high - low) / 2 / ms)


@cache
def _rank(rounds: int) -> int:
    """How many of the smallest and of the largest of `rounds` times lie outside of the interval of the median.

    Each time is below the median with probability 1/2, so the number below it is binomial, and the interval misses it with twice the
    probability that this number is at most the rank.
    """
    total, rank = 0, 0
    for below in range((rounds + 1) // 2):
        total += math.comb(rounds, below)
        if 2 * total > (1 - CONFIDENCE) * 2**rounds:
            break
        rank = below
    return rank


class Rounds(Generic[K]):
    """Measurements of several runs, a round at a time.

    Args:
        runs: what is timed, called without arguments; a call returns when its work is done, unless the run is `SelfTimed`.
        seed: of the order inside each round.
        clock: seconds that never go back.
        cpu_clock: seconds that this thread has had a core.
        warmed: runs that are called once more before they are timed, unless a call takes more than `LONG`: what ran before them, and whether it is still among the runs, then
            makes no difference to them.

    Attributes:
        samples: seconds of one call in each round, by run.
        numbers: the round of each of the samples, from 0.
        wall, cpu: seconds of all rounds by either clock, without those of `SelfTimed` runs.
    """

    def __init__(
        self,
        runs: Mapping[K, Callable[[], object]],
        seed: int,
        clock: Clock = time.perf_counter,
        cpu_clock: Clock = time.thread_time,
        warmed: frozenset[K] = frozenset(),
    ) -> None:
        self._runs, self._clock, self._cpu_clock, self._warmed = dict(runs), clock, cpu_clock, warmed
        self.wall = self.cpu = 0.0
        self._order = random.Random(seed)
        self._repeats: dict[K, int] = {}
        self.samples: dict[K, list[float]] = {key: [] for key in runs}
        self.numbers: dict[K, list[int]] = {key: [] for key in runs}
        self._done = 0

    def warm_up(self) -> None:
        """Calls everything, in an order that changes, and chooses how often a call is repeated inside one measurement."""
        for _ in range(WARM_UPS):
            for key in self._shuffled(self._runs):
                self._measure(key, 1)
        for key in self._shuffled(self._runs):
            seconds = self._measure(key, 1)
            self._repeats[key] = max(1, math.ceil(SHORTEST / max(1e-9, seconds)))
            if seconds > LONG:
                self._warmed -= {key}
        self.wall = self.cpu = 0.0

    def round(self, keys: Sequence[K]) -> None:
        """Measures each of `keys` once."""
        for key in self._shuffled(keys):
            self.samples[key].append(self._measure(key, self._repeats[key]))
            self.numbers[key].append(self._done)
        self._done += 1

    def _shuffled(self, keys: Mapping[K, Any] | Sequence[K]) -> list[K]:
        order = list(keys)
        self._order.shuffle(order)
        return order

    def _measure(self, key: K, repeats: int) -> float:
        run = self._runs[key]
        if isinstance(run, SelfTimed):
            return run.seconds(repeats)
        if key in self._warmed:
            run()
        cpu, start = self._cpu_clock(), self._clock()
        for _ in range(repeats):
            run()
        seconds = self._clock() - start
        self.wall += seconds
        self.cpu += self._cpu_clock() - cpu
        return seconds / repeats

    @property
    def waiting(self) -> float:
        """Share of the rounds' time in which the process had no core."""
        return max(0.0, 1 - self.cpu / self.wall) if self.wall else 0.0


def time_interleaved(
    runs: Mapping[K, Callable[[], object]],
    *,
    seed: int,
    error: float = 0.01,
    rounds: int = 15,
    most: int = 200,
    seconds: float | None = None,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
    always: frozenset[K] = frozenset(),
    together: bool = False,
) -> dict[K, Timing]:
    """Times all runs in `rounds` rounds of random order, then continues with those whose median is not known well enough.

    Args:
        runs: as for `Rounds`.
        seed: of the order.
        error: half the width of the confidence interval over the median, at which a run is done.
        rounds: of all runs, at least `FEWEST`.
        most: rounds after which a run is done whatever its error.
        seconds: after which no further round is begun, but for the first `FEWEST`.
        progress: gets the rounds done; its total is set to how many will be needed as far as is known.
        clock: seconds that never go back.
        always: runs that are measured in every round, until all others are done.
        together: measure all runs in every round until nearly all are done: among fewer, each would find more of itself in the caches.

    Returns:
        The timing of each run, in the order of `runs`.

    Raises:
        InputError: settings out of range.
    """
    taken = Rounds(runs, seed, clock)
    take_rounds(taken, list(runs), error, rounds, most, seconds, progress, clock, always, together)
    return {key: Timing.of(values) for key, values in taken.samples.items()}


def take_rounds(
    taken: Rounds[K],
    keys: list[K],
    error: float,
    rounds: int,
    most: int,
    seconds: float | None,
    progress: Progress | None,
    clock: Clock,
    always: frozenset[K],
    together: bool,
) -> bool:
    """Takes the rounds of `time_interleaved`; whether the time limit ended them before every median was known well enough."""
    _check(error, rounds, most, seconds)
    if not keys:
        return False
    crowd = len(keys) - len(always)
    open_ones: list[float] = []
    gc.collect()  # before, and not inside, where it would be counted as time of the run that it interrupts
    with no_garbage_collection():
        start, done, needed = clock(), 0, rounds
        taken.warm_up()
        while True:
            taken.round(keys)
            done += 1
            late = seconds is not None and done >= FEWEST and clock() - start >= seconds
            if late or done == needed:
                doubts = {key: _doubt(taken.samples[key]) for key in keys if key not in always}
                open_ones = sorted(doubt for doubt in doubts.values() if doubt > error)
                if together:
                    del open_ones[max(0, len(open_ones) - int(STRAGGLERS * crowd)) :]
                else:
                    keys = [key for key in keys if key in always or doubts[key] > error]
                needed = done if late or not open_ones else _needed(done, open_ones[-1] / error, most)
            if progress is not None:
                progress.total = needed
                progress.update(done, measuring=len(keys))
            if needed == done:
                return late and bool(open_ones)


def _doubt(seconds: Sequence[float]) -> float:
    """The uncertainty of the median, which decides whether rounds continue: the larger of the error of `Timing` and of that of a normal distribution
    with these quartiles. The interval alone is narrow by chance now and then, and would be believed just then.
    """
    timing = Timing.of(seconds)
    low, _, high = statistics.quantiles(seconds, n=4)
    return max(timing.error, 1.82e3 * (high - low) / math.sqrt(len(seconds)) / timing.ms)


def _needed(done: int, factor: float, most: int) -> int:
    """The round at which to look again, when the doubt after `done` rounds is `factor` times what it may be.

    It shrinks with the square root of the rounds. Looking after every round would end them in a moment of luck, and the estimate itself is
    uncertain, so that half of the way is gone at least and the whole of it at most.
    """
    whole = done * factor**2
    return min(most, max(done + 1, math.ceil(1.25 * done), math.ceil(min(whole, 2 * done))))


def _check(error: float, rounds: int, most: int, seconds: float | None) -> None:
    if not 0 < error < 1:
        raise InputError(f"the error of a timing is {error}", "above 0 and below 1: 0.01 is one per cent", "error=0.01")
    if rounds < FEWEST or most < rounds:
        raise InputError(
            f"{rounds} rounds of timing, {most} at most",
            f"at least {FEWEST} rounds, and no fewer at most",
            "rounds=15 most=200",
        )
    if seconds is not None and not seconds > 0:
        raise InputError(f"timing for {seconds} seconds", "more than 0", "seconds=60")

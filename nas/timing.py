"""Timing of several things side by side: in rounds of random order, until each median is known well enough.

    timings = measure({"a": run_a, "b": run_b}, seed=0).timings
    timings["a"].ms, timings["a"].low, timings["a"].high

One round times everything once. What disturbs the machine for a second then disturbs everything alike, and a median over rounds leaves it
out. Networks that are timed one after the other instead differ by several per cent from one repeat to the next.

What ran just before something decides what it finds in the caches. `measure` therefore calls each run once more just before it is timed;
units of a network, which run among others there too, are instead timed among the same others in every round.

A piece of work that never changes, the reference, is timed in every round too. Its spread and its drift say whether the machine was quiet
enough for the numbers to be believed; `measure` refuses to give them where it was not.

Standard library only, but for the reference, which is made with torch.
"""

import gc
import math
import os
import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from nas.log import Progress
from search_spaces.errors import InputError

K = TypeVar("K", bound=Hashable)
Clock = Callable[[], float]

CONFIDENCE = 0.95
"""Share of the intervals that contain the median, at least."""

FEWEST = 6
"""Rounds below which not even the whole range of the times is an interval of that confidence."""

SHORTEST = 3e-4
"""Seconds of one measurement. What takes less is repeated inside it, since reading the clock takes part of a microsecond."""

LONG = 0.1
"""Seconds of a call from which on nothing is called once more just before it is timed: what is in the caches then is a small part of it."""

WARM_UPS = 2
"""Calls before the first round that count for nothing, beside the one that chooses the repeats."""

SPREAD = 1.5
"""Limit of p90 / p50. On a quiet machine it is 1.0 to 1.1; processes that share a core make it 2 and more."""

DRIFT = 0.10
"""Limit of the change of the reference between the first and the last third of the rounds."""

WAITING = 0.1
"""Limit of the share of the time in which the process had no core. Beside a busy process on the same core it is about a half, and then
long measurements take twice their time without being spread."""

STRAGGLERS = 0.05
"""Share of the runs that are not waited for where all are measured until the end: a few that never settle would double the rounds of all."""

UNSETTLED = 0.1
"""Largest share of the things timed whose error may be more than twice the one asked for."""


@runtime_checkable
class SelfTimed(Protocol):
    """A run whose time a clock around the call does not tell, such as one of a GPU, which only starts its work there."""

    def seconds(self, repeats: int) -> float:
        """Seconds of one call, as the mean of at least `repeats`."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one thing takes.

    Args:
        ms: median of the rounds, in milliseconds.
        low, high: bounds of its 95 % confidence interval, by order statistics; they hold whatever the distribution of times is.
        spread: 90th percentile of the rounds over the median.
        rounds: how often it was measured.
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


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Garbage is collected before and not inside, where it would be counted as the time of whatever runs just then."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


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
    """Times all runs in `rounds` rounds of random order, then goes on with those whose median is not known well enough.

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
    _take(taken, list(runs), error, rounds, most, seconds, progress, clock, always, together)
    return {key: Timing.of(values) for key, values in taken.samples.items()}


def _take(
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
    """How little the median is known, by which rounds go on: the larger of the error of `Timing` and of that of a normal distribution
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


@dataclass(frozen=True, slots=True)
class Noise:
    """What says whether the machine was quiet while it measured.

    Args:
        spread: 90th percentile over median, of the reference or of the runs in their median, whichever is larger.
        drift: the reference's median over the last third of the rounds, over that of the first third, less 1.
        waiting: share of the time in which the process had no core.
        unsettled: share of the runs whose error is more than twice the one asked for.
        error: the error asked for.
        load: average number of processes that wanted a core in the last minute; None where the system does not tell.
        cores: that this process may use.
        reference_ms: median of the reference.
        hurried: whether a time limit ended the rounds before every median was known well enough.
    """

    spread: float
    drift: float
    waiting: float
    unsettled: float
    error: float
    load: float | None
    cores: int
    reference_ms: float
    hurried: bool = False

    def problems(self) -> list[str]:
        """What is beyond its limit, in words; nothing on a quiet machine."""
        found = []
        if self.spread > SPREAD:
            found.append(f"one time in ten is {self.spread:.2f} times the median or more (limit {SPREAD})")
        if abs(self.drift) > DRIFT:
            found.append(
                f"the same work takes {abs(self.drift):.0%} {'more' if self.drift > 0 else 'less'} time at the end than at the start "
                f"(limit {DRIFT:.0%})"
            )
        if self.waiting > WAITING:
            found.append(f"the process waited for a core {self.waiting:.0%} of the time (limit {WAITING:.0%})")
        if self.unsettled > UNSETTLED and not self.hurried:
            found.append(f"{self.unsettled:.0%} of the medians are less sure than {2 * self.error:.1%}")
        return found

    def hurry(self) -> str:
        """What a time limit did to the times, and what to type instead; empty where it did nothing to speak of.

        A limit that is too short is no noise: the intervals of the times are wide and hold all the same.
        """
        if not self.hurried or self.unsettled <= UNSETTLED:
            return ""
        return (
            f"the time limit ended the measurement when {self.unsettled:.0%} of the medians were less sure than {2 * self.error:.1%}; "
            "a larger seconds=, seconds=0 for no limit, or a larger error= settles them"
        )


@dataclass(frozen=True, slots=True)
class Measurement(Generic[K]):
    """Timings, and how quiet the machine was.

    Args:
        timings: by run.
        noise: of the machine meanwhile.
        noisy: whether the machine was too noisy, and the timings were asked for nevertheless. Whoever keeps them keeps this too.
    """

    timings: dict[K, Timing]
    noise: Noise
    noisy: bool


class NoisyMachine(InputError):
    """Something disturbs the machine too much for its timings to be believed."""


def check_quiet(noise: Noise, *, noisy: bool = False) -> bool:
    """Whether the machine was quiet.

    Args:
        noisy: the caller wants the timings of a noisy machine too.

    Raises:
        NoisyMachine: it was not, and `noisy` is false.
    """
    problems = noise.problems()
    if not problems or noisy:
        return not problems
    load = "" if noise.load is None else f", with a load average of {noise.load:.1f} on {noise.cores} cores"
    raise NoisyMachine(
        f"the machine is too noisy to be measured: {'; '.join(problems)}{load}",
        f"a machine with a core for each thread, on which p90 / p50 stays below {SPREAD} and nothing drifts by more than {DRIFT:.0%}",
        "close other programs and use threads=1; taskset -c 0 nas ... keeps to one core; noisy=true measures all the same, and says so",
    )


class _Reference:
    """The key of the reference among the keys of a caller."""


REFERENCE = _Reference()


def measure(
    runs: Mapping[K, Callable[[], object]],
    *,
    seed: int,
    error: float = 0.01,
    rounds: int = 15,
    most: int = 200,
    seconds: float | None = None,
    noisy: bool = False,
    progress: Progress | None = None,
    reference: Callable[[], object] | None = None,
    warm: bool = True,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.thread_time,
) -> Measurement[K]:
    """As `time_interleaved`, with a reference in every round that says whether the machine is quiet.

    Args:
        warm: call each run once more just before it is timed. A network then takes the time that it takes again and again, whatever is
            measured beside it: among 55 others it would be 3 % slower than among 10. Without it all runs stay until nearly all are done.
        noisy: give the timings of a noisy machine too, marked as such.
        reference: work that is always the same; `reference_work()` by default.
        cpu_clock: seconds that this thread has had a core.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
        InputError: settings out of range.
    """
    together: dict[K | _Reference, Callable[[], object]] = {**runs}
    together[REFERENCE] = reference or reference_work()
    always: frozenset[K | _Reference] = frozenset({REFERENCE})
    taken = Rounds(together, seed, clock, cpu_clock, warmed=frozenset(together) if warm else always)
    hurried = _take(taken, list(together), error, rounds, most, seconds, progress, clock, always, not warm)
    timings = {key: Timing.of(taken.samples[key]) for key in runs}
    noise = noise_of(taken.samples[REFERENCE], list(timings.values()), error, taken.waiting, hurried)
    return Measurement(timings, noise, not check_quiet(noise, noisy=noisy))


def noise_of(
    reference: Sequence[float], timings: Sequence[Timing], error: float, waiting: float, hurried: bool = False
) -> Noise:
    """How quiet the machine was.

    Args:
        reference: seconds of the reference in each round, in their order.
        timings: of what was measured beside it.
        error: that was asked for.
        waiting: as of `Rounds`.
        hurried: as of `Noise`.
    """
    third = max(1, len(reference) // 3)
    alone = Timing.of(reference)
    usual = statistics.median(timing.spread for timing in timings) if timings else 1.0
    return Noise(
        spread=max(alone.spread, usual),
        drift=statistics.median(reference[-third:]) / statistics.median(reference[:third]) - 1,
        waiting=waiting,
        unsettled=sum(timing.error > 2 * error for timing in timings) / max(1, len(timings)),
        error=error,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        reference_ms=alone.ms,
        hurried=hurried,
    )


def reference_work() -> Callable[[], object]:
    """Work that is always the same, about half a millisecond on one core: products of matrices, which keep the threads of torch busy,
    and sums over numbers that do not fit into the nearest cache.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(192, 192, generator=generator)
    numbers = torch.randn(2**18, generator=generator)

    def work() -> object:
        with torch.inference_mode():
            y = matrix
            for _ in range(2):
                y = (y @ matrix) * 0.05
            return y.sum() + (numbers * 1.5 + 0.5).sum()

    return work

"""Timings that can be trusted: `nas.measuring.timing` with a reference that shows whether the machine was quiet.

    timings = measure({"a": run_a, "b": run_b}, seed=0).timings
    timings["a"].ms, timings["a"].low, timings["a"].high

The reference is a piece of work that never changes, timed in every round. Its spread and its drift show whether the machine was quiet
enough to trust the numbers; if not, `measure` refuses to give them.

Standard library only, except for the reference, which is made with torch.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from nas.log import Progress
from nas.measuring.levels import levelled
from nas.measuring.timing import Clock, K, Rounds, Timing, take_rounds
from search_spaces.errors import InputError

SPREAD = 1.5
"""Limit of p90 / p50. On a quiet machine it is 1.0 to 1.1; processes that share a core make it 2 and more."""

DRIFT = 0.10
"""Limit of the change of the reference between the first and the last third of the rounds."""

WAITING = 0.1
"""Limit of the share of the time in which the process had no core. Beside a busy process on the same core it is about one half, and
long measurements then take twice their time without a larger spread."""

UNSETTLED = 0.1
"""Largest share of the runs whose error may be more than twice the requested one."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The signs of whether the machine was quiet while it measured.

    Args:
        spread: 90th percentile over median, of the reference or of the runs in their median, whichever is larger.
        drift: the reference's median over the last third of the rounds, over that of the first third, less 1.
        waiting: share of the time in which the process had no core.
        unsettled: share of the runs whose error is more than twice the one asked for.
        error: the error asked for.
        load: average number of processes that wanted a core in the last minute; None if the system does not tell.
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
    level: bool = False,
    clock: Clock = time.perf_counter,
    cpu_clock: Clock = time.thread_time,
) -> Measurement[K]:
    """As `time_interleaved`, with a reference in every round that says whether the machine is quiet.

    Args:
        warm: call each run once more just before it is timed. A network then takes the time that it takes again and again, whatever is
            measured beside it: among 55 others it would be 3 % slower than among 10. Without it all runs stay until nearly all are done.
        level: give times at the level that the machine has usually (`nas.measuring.levels`), by what all runs of a round have in common.
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
    hurried = take_rounds(taken, list(together), error, rounds, most, seconds, progress, clock, always, not warm)
    samples = {key: taken.samples[key] for key in runs}
    timings = {key: Timing.of(samples[key]) for key in runs}
    # How quiet the machine was is told by the times as they are.
    noise = noise_of(taken.samples[REFERENCE], list(timings.values()), error, taken.waiting, hurried)
    is_noisy = not check_quiet(noise, noisy=noisy)
    return Measurement(
        levelled(samples, {key: taken.numbers[key] for key in runs}) if level else timings, noise, is_noisy
    )


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

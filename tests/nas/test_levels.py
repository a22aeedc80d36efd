"""The level that all things of a round have in common, on times whose truth is known."""

import math
import random
import statistics
from dataclasses import replace

import pytest

from nas.measuring.levels import TOGETHER, common_levels, levelled
from nas.measuring.noise import Measurement, measure
from nas.measuring.timing import Timing


def drawn(seed: int, things: int, rounds: int, step: float, noise: float = 0.02) -> dict[int, list[float]]:
    """Seconds of things that take 1, 2, ... ms on a machine that is at one of two levels, `step` apart, for five rounds at a time."""
    rng = random.Random(seed)
    high = [rng.random() < 0.5 for _ in range(rounds // 5 + 1)]
    return {
        thing: [1e-3 * (1 + thing) * (1 + step * high[r // 5]) * math.exp(rng.gauss(0, noise)) for r in range(rounds)]
        for thing in range(things)
    }


def disagreement(timings: dict[int, Timing]) -> float:
    """How far the times of things are from being in proportion to what they truly are."""
    ratios = [timing.ms / (1 + thing) for thing, timing in timings.items()]
    return statistics.pstdev(ratios) / statistics.fmean(ratios)


def test_medians_of_a_machine_of_two_levels_are_at_one_of_them() -> None:
    ratios = []
    for seed in range(8):
        samples = drawn(seed, 30, 30, 0.1)
        numbers = {thing: list(range(30)) for thing in samples}
        plain = disagreement({thing: Timing.of(values) for thing, values in samples.items()})
        ratios.append(disagreement(levelled(samples, numbers)) / plain)
    assert statistics.fmean(ratios) < 0.9


def test_what_settled_early_is_compared_at_the_level_of_all() -> None:
    """The machine becomes 10 % slower when half of the things are no longer measured."""
    rng = random.Random(0)
    numbers = {thing: list(range(20 if thing % 2 else 60)) for thing in range(40)}
    samples = {
        thing: [(1 + 0.1 * (r >= 20)) * math.exp(rng.gauss(0, 0.01)) for r in rounds]
        for thing, rounds in numbers.items()
    }
    found = levelled(samples, numbers)
    early, late = (statistics.fmean(found[thing].ms for thing in range(start, 40, 2)) for start in (1, 0))
    assert early == pytest.approx(late, rel=0.005)
    levels = common_levels(samples, numbers)
    assert statistics.fmean(levels[20:]) - statistics.fmean(levels[:20]) == pytest.approx(math.log(1.1), abs=0.005)


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_intervals_contain_what_is_true(drift: float) -> None:
    """The time at the level that is usual, of which the rounds that were taken are a sample."""
    inside = total = 0
    for seed in range(40):
        rng = random.Random(seed)
        levels = [rng.gauss(0, drift) for _ in range(25)]
        samples = {thing: [math.exp(level + rng.gauss(0, 0.04)) for level in levels] for thing in range(TOGETHER)}
        found = levelled(samples, {thing: list(range(25)) for thing in samples})
        inside += sum(timing.low <= 1e3 <= timing.high for timing in found.values())
        total += len(found)
    assert inside / total >= 0.94


def test_few_things_tell_no_level() -> None:
    """One thing's level would be its noise, and its interval would be nothing."""
    samples = drawn(0, TOGETHER - 1, 20, 0.1)
    numbers = {thing: list(range(20)) for thing in samples}
    assert common_levels(samples, numbers) == []
    assert levelled(samples, numbers) == {thing: Timing.of(values) for thing, values in samples.items()}


def test_measured_at_the_usual_level() -> None:
    """A machine that changes between two levels: the times are in proportion, and the noise is told by the times as they were."""
    now, calls, rng = [0.0], [0], random.Random(0)

    def takes(seconds: float) -> None:
        calls[0] += 1
        now[0] += seconds * (1.0 if calls[0] % 800 < 400 else 1.1) * math.exp(rng.gauss(0, 0.02))

    def measured(level: bool) -> Measurement[int]:
        now[0], calls[0] = 0.0, 0
        rng.seed(0)
        runs = {thing: (lambda thing=thing: takes(0.001 * (1 + thing))) for thing in range(2 * TOGETHER)}
        return measure(
            runs, seed=0, error=0.5, noisy=True, level=level, reference=lambda: takes(0.001), rounds=30,
            clock=lambda: now[0], cpu_clock=lambda: now[0],
        )  # fmt: skip

    plain, level = measured(False), measured(True)
    assert disagreement(level.timings) < 0.95 * disagreement(plain.timings)
    assert level.noise == replace(plain.noise, load=level.noise.load)

"""Machines that are too noisy to be measured, on a clock that the tests move, and one that is kept busy for real."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nas.measuring.noise import DRIFT, SPREAD, WAITING, Measurement, Noise, NoisyMachine, check_quiet, measure
from tests.nas.moved_clock import Machine, noisy

pytestmark = pytest.mark.usefixtures("quick")


def measured(
    reference: Callable[[int], float],
    run: Callable[[int], float] = lambda _: 1.0,
    waiting: float = 0.0,
    noisy: bool = False,
) -> Measurement[str]:
    machine = Machine()
    return measure(
        {"a": machine.run("a", run, waiting), "b": machine.run("b", lambda _: 0.5, waiting)},
        seed=0,
        noisy=noisy,
        reference=machine.run("reference", reference),
        clock=machine.clock,
        cpu_clock=machine.cpu_clock,
    )


def test_a_quiet_machine() -> None:
    found = measured(noisy(0, 1.0, 0.02))
    assert list(found.timings) == ["a", "b"]
    assert not found.noisy
    assert found.noise.problems() == []
    assert found.noise.spread < 1.1
    assert found.noise.reference_ms == pytest.approx(1e3, rel=0.05)


@pytest.mark.parametrize(
    ("reference", "run", "waiting", "word"),
    [
        (lambda n: 2.0 if n % 5 == 0 else 1.0, lambda _: 1.0, 0.0, "2.00 times the median or more"),
        (lambda n: 1.0 + n / 50, lambda _: 1.0, 0.0, "more time at the end than at the start"),
        (lambda n: 2.0 - n / 50, lambda _: 1.0, 0.0, "less time at the end than at the start"),
        (lambda _: 1.0, lambda _: 1.0, 0.5, "waited for a core"),
        (lambda _: 1.0, noisy(3, 1.0, 1.0), 0.0, "50% of the medians are less sure than 2.0%"),
    ],
    ids=["spread", "slower", "faster", "waiting", "unsettled"],
)
def test_a_noisy_machine_is_refused(
    reference: Callable[[int], float], run: Callable[[int], float], waiting: float, word: str
) -> None:
    with pytest.raises(NoisyMachine) as error:
        measured(reference, run, waiting)
    assert word in error.value.given
    assert "load average of" in error.value.given or not hasattr(os, "getloadavg")
    assert "threads=1" in error.value.instead
    assert "taskset" in error.value.instead
    found = measured(reference, run, waiting, noisy=True)
    assert found.noisy
    assert any(word in problem for problem in found.noise.problems())


def test_a_time_limit_is_no_noise() -> None:
    """Times of too few rounds are given, with what would settle them; the same doubt after all rounds is noise."""
    machine = Machine()
    found = measure(
        {"a": machine.run("a", noisy(3, 1.0, 0.15)), "b": machine.run("b", noisy(4, 1.0, 0.15))},
        seed=0, seconds=50.0, reference=machine.run("reference", lambda _: 1.0), clock=machine.clock, cpu_clock=machine.clock,
    )  # fmt: skip
    assert not found.noisy
    assert found.noise.hurried
    assert found.noise.unsettled == 1
    assert found.timings["a"].error > 0.02
    for words in ("100% of the medians are less sure than 2.0%", "seconds=0", "error="):
        assert words.replace("are", "were") in found.noise.hurry()
    assert not replace(found.noise, hurried=False).hurry()
    with pytest.raises(NoisyMachine, match="100% of the medians"):
        check_quiet(replace(found.noise, hurried=False))
    assert not measured(noisy(0, 1.0, 0.02)).noise.hurried


def test_limits() -> None:
    quiet = Noise(SPREAD, DRIFT, WAITING, 0.1, 0.01, 1.0, 2, 0.5)
    assert check_quiet(quiet)
    for name, value in (("spread", 1.51), ("drift", -0.11), ("waiting", 0.11), ("unsettled", 0.11)):
        loud = replace(quiet, **{name: value})
        with pytest.raises(NoisyMachine):
            check_quiet(loud)
        assert not check_quiet(loud, noisy=True)


def _busy(core: int, begun: Any) -> None:
    os.sched_setaffinity(0, {core})
    begun.release()
    while True:
        pass


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen on this system")
def test_busy_neighbours_on_the_same_core_are_noticed() -> None:
    """For real: three processes want the core that this one is kept to."""
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    context = multiprocessing.get_context("fork")
    begun = context.Semaphore(0)
    neighbours = [context.Process(target=_busy, args=(core, begun), daemon=True) for _ in range(3)]
    for process in neighbours:
        process.start()
        begun.acquire()
    os.sched_setaffinity(0, {core})
    try:
        with pytest.raises(NoisyMachine, match="waited for a core"):
            measure({"a": lambda: sum(range(500_000))}, seed=0, rounds=30, seconds=3)
    finally:
        os.sched_setaffinity(0, allowed)
        for process in neighbours:
            process.kill()
            process.join()


def test_the_reference_is_always_the_same_work() -> None:
    from nas.measuring.noise import reference_work

    one, other = reference_work(), reference_work()
    assert one() == other() == one()

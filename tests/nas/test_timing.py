"""The laws of timing, on a clock that the tests move."""

import gc
import math
import random
import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.log import Progress
from nas.measuring.noise import Measurement, measure
from nas.measuring.timing import FEWEST, SHORTEST, Timing, pooled, time_interleaved
from search_spaces.errors import InputError
from tests.nas.moved_clock import Machine, noisy

pytestmark = pytest.mark.usefixtures("quick")


# The interval


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=60))
def test_a_timing_is_ordered(seconds: list[float]) -> None:
    found = Timing.of(seconds)
    times = sorted(1e3 * value for value in seconds)
    assert found.rounds == len(seconds)
    assert found.ms == statistics.median(times)
    assert times[0] <= found.low <= found.ms <= found.high <= times[-1]
    assert {found.low, found.high} <= set(times)
    assert found.error == pytest.approx((found.high - found.low) / 2 / found.ms)
    assert sum(value <= found.ms * found.spread * (1 + 1e-9) for value in times) >= 0.9 * len(times)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30), st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_timing_scales_with_its_times(seconds: list[float], factor: float) -> None:
    one, other = Timing.of(seconds), Timing.of([factor * value for value in seconds])
    for name in ("ms", "low", "high"):
        assert getattr(other, name) == pytest.approx(factor * getattr(one, name))
    assert (other.spread, other.error) == pytest.approx((one.spread, one.error))


@pytest.mark.parametrize("rounds", [FEWEST, 15, 40])
def test_the_interval_has_the_median_in_it_as_often_as_it_says(rounds: int) -> None:
    """For times with a long tail, as real ones have, and no more often than so few rounds allow."""
    draw = random.Random(rounds)
    times = 2000
    found = [Timing.of([draw.expovariate(1.0) for _ in range(rounds)]) for _ in range(times)]
    median = 1e3 * math.log(2)
    share = sum(timing.low <= median <= timing.high for timing in found) / times
    assert 0.95 - 3 * math.sqrt(0.05 * 0.95 / times) <= share <= 0.99


def test_an_interval_that_ended_its_rounds_is_as_good() -> None:
    """Rounds that end when the interval is narrow do not end because it is narrow by chance."""
    hits = []
    for seed in range(150):
        machine = Machine()
        run = {"a": machine.run("a", noisy(seed, 1.0, 0.02))}
        timing = time_interleaved(run, seed=0, error=0.01, most=1000, clock=machine.clock)["a"]
        assert timing.error <= 0.01
        hits.append(timing.low <= 1e3 <= timing.high)
    assert sum(hits) / len(hits) >= 0.9


# The rounds


def test_every_round_times_each_run_once_in_an_order_of_its_own() -> None:
    machine, names = Machine(), "abcde"
    runs = {name: machine.run(name, lambda _: 1.0) for name in names}
    found = time_interleaved(runs, seed=0, rounds=10, clock=machine.clock)
    assert list(found) == list(names)
    rounds = ["".join(machine.calls[start : start + 5]) for start in range(0, len(machine.calls), 5)]
    assert len(rounds) == 3 + 10  # two warm-ups and the choice of repeats
    assert all(sorted(order) == list(names) for order in rounds)
    assert len(set(rounds)) > 8
    again = Machine()
    time_interleaved({name: again.run(name, lambda _: 1.0) for name in names}, seed=0, rounds=10, clock=again.clock)
    assert again.calls == machine.calls
    other = Machine()
    time_interleaved({name: other.run(name, lambda _: 1.0) for name in names}, seed=1, rounds=10, clock=other.clock)
    assert other.calls != machine.calls


def test_the_first_calls_count_for_nothing() -> None:
    machine = Machine()
    found = time_interleaved({"a": machine.run("a", lambda n: 100.0 if n < 3 else 1.0)}, seed=0, clock=machine.clock)
    assert found["a"] == Timing(1e3, 1e3, 1e3, 1.0, 15, 0.0)


def test_what_is_short_is_repeated() -> None:
    machine = Machine()
    runs = {"short": machine.run("short", lambda _: SHORTEST / 10), "long": machine.run("long", lambda _: 1.0)}
    found = time_interleaved(runs, seed=0, rounds=6, clock=machine.clock)
    assert found["short"].ms == pytest.approx(SHORTEST * 1e2)
    assert machine.calls.count("long") == 3 + 6
    assert 3 + 60 <= machine.calls.count("short") <= 3 + 66  # rounding


def test_a_disturbance_of_some_rounds_is_left_out() -> None:
    """Every run is hit alike, and the medians do not move."""
    machine = Machine()

    def seconds(usual: float) -> Callable[[int], float]:
        return lambda n: usual * (5 if 6 <= n < 10 else 1)

    runs = {name: machine.run(name, seconds(usual)) for name, usual in {"a": 1.0, "b": 2.0}.items()}
    found = time_interleaved(runs, seed=0, rounds=15, clock=machine.clock)
    assert (found["a"].ms, found["b"].ms) == (1e3, 2e3)


def test_only_what_is_not_known_well_enough_goes_on() -> None:
    machine = Machine()
    runs = {"quiet": machine.run("quiet", noisy(0, 1.0, 0.001)), "loud": machine.run("loud", noisy(1, 1.0, 0.05))}
    found = time_interleaved(runs, seed=0, error=0.01, most=1000, clock=machine.clock)
    assert found["quiet"].rounds == 15
    assert 50 <= found["loud"].rounds < 1000
    assert found["quiet"].error <= 0.01
    assert found["loud"].error <= 0.01
    assert found["loud"].ms == pytest.approx(1e3, rel=0.02)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.001, 0.3), st.floats(0.002, 0.1), st.integers(15, 80))
def test_a_timing_ends_with_its_error_or_its_rounds(seed: int, deviation: float, error: float, most: int) -> None:
    machine = Machine()
    runs = {n: machine.run(str(n), noisy(seed + n, 1.0, deviation)) for n in range(3)}
    found = time_interleaved(runs, seed=seed, error=error, most=most, clock=machine.clock)
    assert all(15 <= timing.rounds <= most for timing in found.values())
    assert all(timing.error <= error or timing.rounds == most for timing in found.values())


def test_time_is_limited_but_the_fewest_rounds_are_taken() -> None:
    for seconds, rounds in ((1.0, FEWEST), (20.0, 17)):
        machine = Machine()
        runs = {"a": machine.run("a", noisy(0, 1.0, 0.3))}
        found = time_interleaved(runs, seed=0, error=0.001, seconds=seconds, clock=machine.clock)
        assert abs(found["a"].rounds - rounds) <= 3, found


def test_no_garbage_is_collected_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, seen, collected = Machine(), [], []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(len(seen)))

    def run() -> None:
        seen.append(gc.isenabled())
        machine.now += 1.0

    assert gc.isenabled()
    time_interleaved({"a": run}, seed=0, clock=machine.clock)
    assert not any(seen)
    assert collected == [0]  # once, before the first run
    assert gc.isenabled()

    def fail() -> None:
        raise RuntimeError("of the run")

    with pytest.raises(RuntimeError, match="of the run"):
        time_interleaved({"a": fail}, seed=0)
    assert gc.isenabled()


def test_runs_that_time_themselves() -> None:
    class Timed:
        asked: list[int] = []

        def __call__(self) -> None:
            raise AssertionError("its own clock is asked")

        def seconds(self, repeats: int) -> float:
            self.asked.append(repeats)
            return 1e-4

    found = time_interleaved({"a": Timed()}, seed=0)
    assert found["a"].ms == pytest.approx(0.1)
    assert Timed.asked == [1, 1, 1] + [math.ceil(SHORTEST / 1e-4)] * 15


def test_progress_ends(capsys: pytest.CaptureFixture[str]) -> None:
    machine, progress = Machine(), Progress("rounds", 1, every=0.0)
    runs = {"a": machine.run("a", noisy(0, 1.0, 0.05))}
    found = time_interleaved(runs, seed=0, progress=progress, clock=machine.clock)
    rounds = found["a"].rounds
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"rounds {rounds}/{rounds}")


@pytest.mark.parametrize(
    "wrong", [{"error": 0.0}, {"error": 1.0}, {"rounds": FEWEST - 1}, {"rounds": 20, "most": 10}, {"seconds": 0.0}]
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        time_interleaved({}, seed=0, **wrong)  # type: ignore[arg-type]


def test_a_crowd_stays_together() -> None:
    """A run that is done goes on beside the others, whose time would change without it; a few that never settle are not waited for."""
    machine, names = Machine(), [f"quiet {n}" for n in range(30)]
    runs = {name: machine.run(name, noisy(n, 1.0, 0.001)) for n, name in enumerate(names)}
    runs |= {name: machine.run(name, noisy(5, 1.0, 0.03)) for name in ("loud", "louder")}
    found = time_interleaved(runs, seed=0, error=0.01, most=500, clock=machine.clock, together=True)
    assert len({timing.rounds for timing in found.values()}) == 1
    assert found["loud"].rounds > 15
    machine = Machine()
    runs = {name: machine.run(name, noisy(n, 1.0, 0.001)) for n, name in enumerate(names)}
    runs["never"] = machine.run("never", noisy(5, 1.0, 1.0))
    found = time_interleaved(runs, seed=0, error=0.01, most=500, clock=machine.clock, together=True)
    assert {timing.rounds for timing in found.values()} == {15}


class Cache:
    """A machine on which a run takes twice as long when another one ran before it."""

    def __init__(self, names: str, seconds: float = 1e-3) -> None:
        self.machine, self.last, self.seconds = Machine(), "", seconds
        self.runs = {name: self.run(name) for name in names}

    def run(self, name: str) -> Callable[[], object]:
        def call() -> None:
            self.machine.now += self.seconds * (1 if self.last == name else 2)
            self.last = name

        return call

    def measured(self, warm: bool) -> Measurement[str]:
        clock = self.machine.clock
        return measure(self.runs, seed=0, warm=warm, reference=self.run("reference"), clock=clock, cpu_clock=clock)


def test_the_time_of_a_network_does_not_depend_on_what_is_beside_it() -> None:
    for names in ("a", "abcdefgh"):
        assert Cache(names).measured(warm=True).timings["a"].ms == pytest.approx(1)
        assert Cache(names).measured(warm=False).timings["a"].ms == pytest.approx(2)
    assert Cache("a", 0.2).measured(warm=True).timings["a"].ms == pytest.approx(
        400
    )  # of a long call it is a small part


def test_pooled() -> None:
    one, other = Timing(10.0, 9.5, 10.5, 1.1, 15, 0.05), Timing(11.0, 10.8, 11.2, 1.2, 20, 0.02)
    both = pooled(one, other)
    assert both == pooled(other, one)
    assert (both.ms, both.low, both.high, both.spread, both.rounds) == (10.5, 9.5, 11.2, 1.2, 35)
    assert both.error == pytest.approx(0.85 / 10.5)
    assert pooled(one, one) == replace(one, rounds=30)

"""The model of a profile, of devices whose times are known: what it is fitted to, and how well it predicts."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.latency.making import make_profile, prepare_profile, steps, summary
from nas.latency.making.plan import Plan
from nas.measuring.noise import Measurement, NoisyMachine
from nas.measuring.profiling import spread_networks
from nas.measuring.run_cache import RunCache
from nas.runtimes import Setting
from nas.runtimes.eager import Eager
from search_spaces.architecture import Architecture
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.profile_files import read_model
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.named import load_space
from search_spaces.space_units import space_units
from search_spaces.units import Unit, units
from tests.nas.known_devices import COMPOSED, QUIET, Device, noise, truth


@pytest.mark.parametrize(
    ("device", "which", "form", "most"),
    [
        (Device(truth, truth), "all", "sum of units", 2e-3),
        (
            Device(truth, lambda unit: truth(unit) + 0.05),
            "all",
            "sum of units, ",
            0.01,
        ),  # one correction for all, or one per part
        (Device(truth, noise), "all", "learned from networks", 0.05),
        (Device(truth, noise), "none", "learned from networks", 0.05),
        (Device(lambda unit: unit_cost(unit).macs * 1e-6, noise, 2.0), "networks", "", 0.01),
    ],
)
def test_the_model_that_fits_a_device_is_chosen_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device, which: str, form: str, most: float
) -> None:
    monkeypatch.setattr(steps, "measure_some", device)
    space = load_space("digits")
    out = tmp_path / "toy.json"
    plan = Plan(device="toy", space=space, setting=Setting(), calibration=20, held_out=10, which=which)
    model = make_profile(plan, out, show=False)
    assert model.form.startswith(form)
    assert model.errors["held_out"]["mape"] <= most
    assert model.errors["held_out"]["mape"] <= model.errors["macs"]["mape"] + 1e-9
    again = read_model(out)
    for arch in spread_networks(space, 5, 1):
        predicted, ms = again.predict(arch), device([arch]).timings[0].ms
        if which != "networks":
            assert predicted == pytest.approx(ms, rel=4 * most)
    if which == "none":
        assert not again.times.measured


class Changing(Device):
    """A device that becomes slower or faster.

    Args:
        level: time over that at the start.
        after: calls that still find it as it was at the start.
    """

    def __init__(self, level: float, after: int) -> None:
        super().__init__(truth, truth)
        self.level, self.after, self.calls = level, after, 0

    def __call__(self, chosen: Sequence[Any], *_: Any, **settings: Any) -> Measurement[int]:
        self.calls += 1
        if self.calls <= self.after:
            return super().__call__(chosen)
        return Device(lambda u: self.level * truth(u), lambda u: self.level * truth(u), self.level * self.base)(chosen)


def test_a_device_that_changes_its_speed_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a virtual machine whose neighbours come and go: what was measured before and after does not fit together."""
    out = tmp_path / "toy.json"
    plan = Plan(device="toy", space=load_space("digits"), setting=Setting(), calibration=4, held_out=2)

    def profiled(level: float, after: int, noisy: bool = False) -> tuple[DeviceModel, int]:
        device = Changing(level, after)
        monkeypatch.setattr(steps, "measure_some", device)
        return make_profile(replace(plan, noisy=noisy), out, show=False), device.calls

    _, calls = profiled(1.0, 0)
    again = calls - 2  # the last two calls measure units and networks once more
    assert not profiled(1.05, again)[0].about["noisy"]
    out.unlink()
    for level in (1.2, 0.8):
        with pytest.raises(NoisyMachine, match="has changed its speed"):
            profiled(level, again)
        assert not list(tmp_path.iterdir())
        about = profiled(level, again, noisy=True)[0].about
        assert about["noisy"]
        assert f"{level - 1:+.0%} of their time" in about["signs"][-1]
        out.unlink()


def test_what_is_fitted_is_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where times of branches are composed of others', which are measured in random order."""
    fitted: list[UnitTimes] = []
    real = summary.fit

    def watched(roles: Any, timings: Any, times: UnitTimes) -> Any:
        fitted.append(times)
        return real(roles, timings, times)

    monkeypatch.setattr(steps, "measure_some", Device(truth, lambda unit: truth(unit) + 0.01 * noise(unit)))
    monkeypatch.setattr(summary, "fit", watched)
    (tmp_path / "composed.toml").write_text(COMPOSED)
    space, out = load_space(tmp_path / "composed.toml"), tmp_path / "toy.json"
    model = make_profile(Plan(device="toy", space=space, setting=Setting(), calibration=6, held_out=3), out, show=False)
    known = space_units(space)
    assert len(model.times.measured) < len(known)
    assert model.errors["repeat"]["composed"] < 0.1
    for unit in known:
        assert fitted[0](unit) is not None
        assert read_model(out).times(unit) == fitted[0](unit)


def test_networks_are_measured_twice_and_their_difference_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that becomes 4 % slower between the passes: the mean of both is taken."""
    passes: list[int] = []

    class Slowing(Device):
        def __call__(self, chosen: Sequence[Any], *rest: Any, **settings: Any) -> Measurement[int]:
            found = super().__call__(chosen, *rest, **settings)
            if isinstance(chosen[0], Unit):
                return found
            passes.append(len(chosen))
            factor = 1.0 if len(passes) == 1 else 1.04
            slowed = {key: replace(one, ms=factor * one.ms, high=factor * one.ms) for key, one in found.timings.items()}
            return Measurement(slowed, found.noise, False)

    device = Slowing(truth, truth)
    monkeypatch.setattr(steps, "measure_some", device)
    space = load_space("digits")
    plan = Plan(device="toy", space=space, setting=Setting(), calibration=5, held_out=3)
    model = make_profile(plan, tmp_path / "toy.json", show=False)
    assert passes == [8, 8]
    assert model.errors["repeat"]["networks"] == pytest.approx(0.04)
    for line in model.about["networks"]:
        arch = Architecture.from_dict(line["architecture"])
        first = device.base + sum(truth(unit) for _, unit in units(arch))
        assert (line["low"], line["ms"]) == pytest.approx((first, 1.02 * first))
        assert line["high"] == pytest.approx(1.04 * first)
    assert [plan.calibration, plan.held_out] == [5, 3]
    monkeypatch.setattr(Eager, "slow", True, raising=False)
    monkeypatch.setattr(RunCache, "runs", lambda *_: [])  # none is in memory for the second pass
    passes.clear()
    make_profile(plan, tmp_path / "slow.json", show=False)
    assert passes == [8, 3]  # of those held out six at most


def test_a_slow_runtime_prepares_everything_before_the_first_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And can do it on its own: the machine may be busy then."""
    events: list[str] = []
    real, device = RunCache.runs, Device(truth, truth)

    def runs(cache: RunCache, chosen: Sequence[Any], *rest: Any) -> Any:
        events.append(f"prepared {len(chosen)}")
        return real(cache, chosen, *rest)

    def measured(chosen: Sequence[Any], *rest: Any, **settings: Any) -> Measurement[int]:
        events.append(f"measured {len(chosen)}")
        assert len(settings["cache"].runs(chosen)) == len(chosen)
        return device(chosen)

    monkeypatch.setattr(Eager, "slow", True, raising=False)
    monkeypatch.setattr(RunCache, "_made", lambda _, items: [lambda: None for _ in items])
    monkeypatch.setattr(RunCache, "runs", runs)
    monkeypatch.setattr(steps, "measure_some", measured)
    plan = Plan(device="toy", space=load_space("digits"), setting=Setting(), calibration=4, held_out=2)
    prepare_profile(plan, tmp_path / "toy.json", show=False)
    assert len(events) == 1
    assert not (tmp_path / "toy.json").exists()
    events.clear()
    model = make_profile(plan, tmp_path / "toy.json", show=False)
    assert [event for event in events if "measured" in event][::3] == ["measured 6"] * 2
    assert events[1] == "measured 6"
    assert int(events[0].split()[1]) == len(model.times.measured) + 6
    assert not list(tmp_path.glob("*.p*"))


def test_chunks_are_on_one_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that is slower in some minutes than in others, so that each chunk has a level of its own."""
    levels = random.Random(0)

    def drifting(chosen: Sequence[Any], *_: Any, **settings: Any) -> Measurement[int]:
        found, level = Device(truth, truth)(chosen), levels.uniform(1.0, 1.1)
        return Measurement({key: replace(one, ms=level * one.ms) for key, one in found.timings.items()}, QUIET, False)

    monkeypatch.setattr(steps, "measure_some", drifting)
    monkeypatch.setattr(
        steps, "chunks", lambda items, *_: (items[start : start + 4] for start in range(0, len(items), 4))
    )
    plan = Plan(device="toy", space=load_space("digits"), setting=Setting(), calibration=8, held_out=4)
    model = make_profile(plan, tmp_path / "toy.json", show=False)
    ratios = [ms / truth(unit) for unit, ms in model.times.measured.items()]
    assert max(ratios) == pytest.approx(min(ratios))
    off = [
        line["ms"] / (0.5 + sum(truth(u) for _, u in units(Architecture.from_dict(line["architecture"]))))
        for line in model.about["networks"]
    ]
    assert max(off) == pytest.approx(min(off))
    assert model.errors["held_out"]["mape"] < 2e-3


def test_a_time_limit_that_is_too_short_is_no_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(truth, truth)

    def hurried(chosen: Sequence[Any], *rest: Any, **settings: Any) -> Measurement[int]:
        found = device(chosen, *rest, **settings)
        return Measurement(found.timings, replace(QUIET, unsettled=0.6, hurried=True), False)

    monkeypatch.setattr(steps, "measure_some", hurried)
    plan = Plan(device="toy", space=load_space("digits"), setting=Setting(), calibration=4, held_out=2)
    model = make_profile(plan, tmp_path / "toy.json", show=False)
    assert not model.about["noisy"]
    assert "seconds=0 for no limit, or a larger error=" in capsys.readouterr().out

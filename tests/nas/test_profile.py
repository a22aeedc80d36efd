"""`nas profile` with the real command: a device is measured, the profile is a cost of searches, and what cannot be used is refused.

Machines that run tests are seldom quiet, so these profiles are asked for with large errors and noisy=true. How well the model of a quiet
machine predicts is measured by tests/benchmarks/latency_model.py.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.latency.making import adding, make_profile, prepare_profile, steps, summary
from nas.latency.making.adding import add_units
from nas.latency.making.plan import HELD_OUT, Plan
from nas.latency.profiles import add_profiles, check_covered, differences_here
from nas.measuring.noise import Measurement, Noise, NoisyMachine
from nas.measuring.profiling import CROWD, calibrating, companions, measure_networks, spread_networks
from nas.measuring.run_cache import RunCache
from nas.measuring.timing import Timing
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from nas.runtimes import Setting
from nas.runtimes.eager import Eager
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names, temporary_costs
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.macs import macs
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.profile_files import read_model
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space_units import space_units
from search_spaces.units import Unit, units
from tests.command_line import Commands, prepare
from tests.nas.test_bench import SLOWING

After = Callable[[str], Path]

SIZES = ("channels=1", "classes=10", "resolution=8")
QUICK = ("calibration=6", "heldout=3", "error=0.3", "seconds=0.3", "noisy=true")


@pytest.fixture(scope="module")
def toy(nas: Commands, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a profile of this machine for the space of the runs of these tests; change nothing in it."""
    place = prepare(tmp_path_factory.mktemp("profile"))
    done = nas("profile", "space=tiny.toml", *SIZES, *QUICK, "out=toy.json", cwd=place).ok()
    for words in (
        "20 measured; space tiny at 8 x 8 has 20",
        "6 for calibration, 3 held out",
        "MAPE",
        "tau",
        "by MACs",
        "repeated",
    ):
        assert words in done.out
    return place


def test_a_profile_says_what_was_measured(toy: Path) -> None:
    assert not list(toy.glob("*.partial"))
    data = json.loads((toy / "toy.json").read_text())
    space = load_space(toy / "tiny.toml").bind(1, 10, 8)
    assert data["space"]["digest"] == space.digest
    model = read_model(toy / "toy.json")
    assert model.times.measured.keys() == set(space_units(space))
    assert model.fingerprint["runtime"] == "eager"
    assert [line["role"] for line in data["networks"]].count(HELD_OUT) == 3
    assert len({line["digest"] for line in data["networks"]}) == 9
    for line in data["networks"]:
        arch = Architecture.from_dict(line["architecture"])
        assert (arch.digest, macs(arch)) == (line["digest"], line["macs"])
        assert line["low"] <= line["ms"] <= line["high"]
        assert model.predict(arch) == pytest.approx(line["predicted"])
    held_out = [line for line in data["networks"] if line["role"] == HELD_OUT]
    off = [abs(line["predicted"] / line["ms"] - 1) for line in held_out]
    assert data["errors"]["held_out"]["mape"] == pytest.approx(sum(off) / 3)
    assert data["model"]["form"] in data["errors"]["cross_validation"]


def of_another_machine(path: Path) -> None:
    """Makes a profile one of a device that nobody has."""
    data = json.loads(path.read_text())
    data["fingerprint"]["processor"] = "Abacus 3"
    data["fingerprint"]["versions"]["torch"] = "0.4"
    data["model"] = {
        "base": 0.01,
        "weights": {"ms": 1.0},
    }  # beside other work a fit to these tiny networks may be 0 for all
    path.write_text(json.dumps(data))


def test_a_search_for_a_device_that_is_elsewhere(nas: Commands, toy: Path, after: After) -> None:
    place = after("train")
    shutil.copy(toy / "toy.json", place)
    of_another_machine(place / "toy.json")
    model = read_model(place / "toy.json")
    space = load_space(place / "tiny.toml").bind(1, 10, 8)
    predicted = sorted(model.predict(arch) or 0.0 for arch in spread_networks(space, 9, 0))
    limit = f"{predicted[4]:.6f}"
    command = ("search", "run=run", "profiles=toy.json", "objectives=top1,latency_ms@toy")
    quick = (f"budget=latency_ms@toy={limit}", "evaluations=2", "samplers=random", "calibration_images=64")
    nas(*command, *quick, "name=byname", cwd=place).ok()
    for record in read_search(RunStore(place / "run"), "byname").evaluations():
        assert record.costs["latency_ms@toy"] == pytest.approx(model.predict(record.architecture))
        assert "latency_ms" not in record.costs
        if record.origin.kind == "sampler":
            assert record.costs["latency_ms@toy"] <= float(limit)
    never = (*command, "budget=latency_ms@toy=0.000001", "name=never")
    nas(*never, cwd=place).refused("latency_ms@toy is the binding limit")
    here = ("search", "run=run", "profiles=toy.json", "objectives=top1,macs", "budget=latency_ms=1", "name=here")
    given, _, instead = nas(*here, cwd=place).refused("toy.json is of another device")
    assert "and was Abacus 3" in given
    assert "and was 0.4" in given
    assert "latency_ms@toy" in instead


@pytest.mark.parametrize("count", [2, 3, 25, 53])
def test_calibration_covers_the_range_of_the_networks(count: int) -> None:
    archs = spread_networks(load_space("images32"), 55, 0)
    sizes = {arch.digest: len(list(units(arch))) for arch in archs}
    chosen = calibrating(archs, count, 0)
    assert len(chosen) == count
    assert chosen == calibrating(archs[::-1], count, 0)
    assert {min(sizes.values()), max(sizes.values())} == {min(sizes[d] for d in chosen), max(sizes[d] for d in chosen)}
    if 2 < count < 53:
        assert chosen != calibrating(archs, count, 1)


def test_latency_ms_is_that_of_this_machine(toy: Path, tmp_path: Path) -> None:
    mine, other = toy / "toy.json", tmp_path / "other.json"
    other.write_text(json.dumps(json.loads(mine.read_text()) | {"device": "other"}))
    for wanted in (["macs"], ["latency_ms"]):  # who does not need it knows it too, for comparison
        with temporary_costs():
            add_profiles([str(mine)], wanted)
            assert cost_named("latency_ms").origin == cost_named("latency_ms@toy").origin
    with temporary_costs():
        add_profiles([str(mine), str(other)], ["macs"])
        assert "latency_ms" not in cost_names()
    with temporary_costs(), pytest.raises(InputError, match="2 profiles are of this device"):
        add_profiles([str(mine), str(other)], ["latency_ms"])
    of_another_machine(other)
    with temporary_costs():
        add_profiles([str(other)], ["macs"])
        assert "latency_ms" not in cost_names()
    with temporary_costs():
        add_profiles([str(other), str(mine)], ["latency_ms"])
        assert cost_named("latency_ms").origin == cost_named("latency_ms@toy").origin


def without_some_units(data: dict[str, Any]) -> str:
    kept = [line for line in data["units"] if "d_mixer" not in str(line)]
    return json.dumps(data | {"units": kept})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_some_units, ("of the 20 units of space tiny", "mixer layer_norm(eps=1e-06) d_mixer(", "resolution=8")),
        (lambda data: json.dumps(data)[:-300], ("is cut off or damaged",)),
        (lambda data: json.dumps(data | {"format": 99}), ("format 99",)),
        (lambda data: "[]", ("is no profile",)),
        (lambda data: json.dumps({**data, "units": [{"ms": -1}]}), ("no time above 0 for unit 1",)),
    ],
)  # fmt: skip
def test_profiles_that_a_search_refuses(
    nas: Commands, toy: Path, after: After, damage: Callable[[dict[str, Any]], str], words: tuple[str, ...]
) -> None:
    place = after("train")
    (place / "toy.json").write_text(damage(json.loads((toy / "toy.json").read_text())))
    settings = ("profiles=toy.json", "budget=latency_ms@toy=1", "name=refused")
    nas("search", "run=run", *settings, cwd=place).refused("toy", *words)
    assert not list((place / "run" / "searches").glob("*"))


def test_what_a_search_says_without_a_usable_profile(nas: Commands, after: After) -> None:
    place = after("train")
    nas("search", "run=run", "profiles=none.json", cwd=place).refused("none.json", "nas profile")
    nas("search", "run=run", "budget=latency_ms=3", cwd=place).refused("latency_ms", "search.profiles")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("out=new.json", "device=cuda"), ("device",)),
        (("out=new.json", "runtime=eagre"), ("eagre", "eager")),
        (("out=new.json", "error=0"), ("profile.error",)),
        (("out=new.json", "name=My Laptop"), ("profile.name=my-laptop",)),
        (("out=new.json", "networks=none.json"), ("none.json",)),
        (("out=new.json", "space=tny"), ("tny",)),
        (("out=new.json", "calibration=5000"), ("different networks",)),
        (("out=tiny.toml/new.json",), ("cannot be written", "out=")),
        ((), ("profile.out is empty",)),
        (("out=toy.json", "batch=2"), ("already a profile", "its batch is 1 and not 2", "toy-2.json")),
        (("out=toy.json", "calibration=7"), ("its calibration is 6 and not 7", "toy-2.json")),
        (("out=toy.json", "heldout=4"), ("its heldout is 3 and not 4",)),
        (("out=toy.json", "units=none"), ("its units is all and not none",)),
        (("out=toy.json", "networks=arch.json"), ("it lacks 1 of the 1 networks",)),
        (("out=toy.json", "resolution=16"), ("another space tiny, or of images of another size",)),
        (("out=toy.csv",), ("profile.out is toy.csv", "out=toy.json", "list=toy.csv")),
        (("missing=arch.json",), ("profile.missing", "profile=FILE.json")),
        (("profile=toy.json", "networks=arch.json"), ("profile.networks", "missing=arch.json")),
        (("out=new.json", "list=new.csv"), ("profile.out and profile.list",)),
        (("out=new.json", "profile=toy.json", "missing=arch.json"), ("profile.out and profile.profile",)),
        (("profile=toy.json",), ("without networks",)),
        (("profile=none.json", "missing=arch.json"), ("none.json",)),
        (("out=new.json", "runtime=slowing.Slowing", "noisy=false"), ("too noisy", "waited for a core", "noisy=true")),
    ],
)
def test_what_profile_refuses(
    nas: Commands, toy: Path, tmp_path: Path, settings: tuple[str, ...], words: tuple[str, ...]
) -> None:
    place = Path(shutil.copytree(toy, tmp_path / "place"))
    (place / "slowing.py").write_text(SLOWING)
    networks = json.loads((toy / "toy.json").read_text())["networks"]
    digests = {line["digest"] for line in networks}
    others = spread_networks(load_space(place / "tiny.toml").bind(1, 10, 8), 40, 1)
    (place / "arch.json").write_text(next(arch for arch in others if arch.digest not in digests).to_json())
    before = sorted(path.name for path in place.iterdir())
    command = ("profile", "space=tiny.toml", *SIZES, *QUICK, *settings)
    nas(*command, cwd=place, env={"PYTHONPATH": str(place)}).refused(*words)
    left = sorted(path.name for path in place.iterdir() if path.suffix not in (".partial", "") or path.name == "run")
    assert left == before


def test_missing_units_are_measured_when_asked_for(nas: Commands, toy: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(toy, tmp_path / "place"))
    whole = json.loads((place / "toy.json").read_text())
    arch = Architecture.from_dict(whole["networks"][0]["architecture"])
    lacking = read_model(place / "toy.json").times.measured.keys() & {
        unit for unit in space_units(load_space(place / "tiny.toml").bind(1, 10, 8)) if unit.kind == "embedding"
    }
    kept = [line for line in whole["units"] if line["kind"] != "embedding"]
    (place / "toy.json").write_text(json.dumps(whole | {"units": kept}))
    (place / "arch.json").write_text(arch.to_json())
    assert [unit.kind for unit in read_model(place / "toy.json").missing(arch)] == ["embedding"]
    done = nas("profile", "profile=toy.json", "missing=arch.json", *QUICK, cwd=place).ok()
    assert "1 units added" in done.out
    model = read_model(place / "toy.json")
    assert model.missing(arch) == []
    assert model.predict(arch) is not None
    assert len(model.times.measured) == len(kept) + 1 < len(kept) + len(lacking) + 1
    elsewhere = json.loads((place / "toy.json").read_text())
    elsewhere["fingerprint"]["threads"] = 64
    (place / "toy.json").write_text(json.dumps(elsewhere))
    nas("profile", "profile=toy.json", "missing=arch.json", *QUICK, cwd=place).refused("number of threads", "64")


def test_an_interrupted_profile_resumes(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = load_space(toy / "tiny.toml").bind(1, 10, 8)
    plan = Plan(
        device="toy", space=space, setting=Setting(), calibration=4, held_out=2, error=0.3, seconds=0.2, noisy=True
    )
    out = tmp_path / "toy.json"
    measured: list[int] = []
    real = steps.measure_some

    def counting(chosen: Any, *rest: Any, **settings: Any) -> Any:
        if measured and not settings.pop("go", False) and len(measured) == 1:
            measured.append(0)
            raise KeyboardInterrupt
        measured.append(len(chosen))
        return real(chosen, *rest, **settings)

    monkeypatch.setattr(steps, "measure_some", counting)
    with pytest.raises(KeyboardInterrupt):
        make_profile(plan, out, show=False)
    assert measured == [6, 0]  # the networks, and then no unit
    assert not out.exists()
    partial = tmp_path / "toy.json.partial"
    times = [
        json.loads(line)["timing"]["ms"] for line in partial.read_text().splitlines() if '"kind":"network"' in line
    ]
    with pytest.raises(InputError, match="is of another profile: seed differs"):
        make_profile(replace(plan, seed=1), out, show=False)
    measured.clear()
    measured.append(-1)
    measured.append(-1)
    model = make_profile(plan, out, show=False)
    assert measured[2:] == [20, 16 + 4, 6]  # the units, then some units among others and all networks anew
    assert len(times) == len(model.about["networks"]) == 6
    assert {line["rounds"] for line in model.about["networks"]} != {0}
    assert not partial.exists()


QUIET = Noise(
    spread=1.0, drift=0.0, waiting=0.0, unsettled=0.0, error=0.01, load=None, cores=2, reference_ms=0.5
)  # fmt: skip


class Device:
    """A device whose times are known: in place of `measure_some`.

    Args:
        unit: milliseconds that a unit adds to a network.
        alone: milliseconds of a unit that is measured alone.
        base: milliseconds of every network.
    """

    def __init__(self, unit: Callable[[Unit], float], alone: Callable[[Unit], float], base: float = 0.5) -> None:
        self.unit, self.alone, self.base = unit, alone, base

    def __call__(self, chosen: Sequence[Any], *_: Any, **settings: Any) -> Measurement[int]:
        found = {}
        for position, item in enumerate(chosen):
            if isinstance(item, Unit):
                ms = self.alone(item)
            else:
                ms = self.base + sum(self.unit(unit) for _, unit in units(item))
            found[position] = Timing(ms, ms, ms, 1.0, 15, 0.0)
        return Measurement(found, QUIET, False)


def truth(unit: Unit) -> float:
    """Milliseconds by the name of the part, which no sum of counted quantities tells."""
    part = unit.parts[len(unit.parts) // 2]
    return random.Random(part.name).uniform(0.02, 0.1) * (1 + unit.dims[0] * unit.height * unit.width / 2000)


def noise(unit: Unit) -> float:
    return random.Random(str(unit)).uniform(0.01, 0.5)


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


COMPOSED = """\
name = "composed"
about = "Branches in more combinations than are measured."
in_channels = 1
num_classes = 10
resolution = 16
head = { part = "linear_head", norm = "layer_norm" }

[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }, { part = "batch_norm" }]
scale = [{ part = "none" }, { part = "layer_scale" }]
mixer = [{ part = "depthwise_conv", kernel_size = [3, 5, 7] }]
ffn = [{ part = "mlp", ratio = [1, 2, 3, 4] }]

[[stages]]
width = [16]
depth = [1, 2]
embedding = { part = "conv_stem", stride = 2 }
"""


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


def learned_profile(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(steps, "measure_some", Device(truth, noise))
        plan = Plan(
            device="toy", space=load_space("digits"), setting=Setting(), calibration=20, held_out=10, which="none"
        )
        assert make_profile(plan, place / "toy.json", show=False).is_learned
    return place / "toy.json"


def test_what_a_learned_profile_cannot_do(nas: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = learned_profile(tmp_path, monkeypatch)
    with temporary_costs(), pytest.raises(InputError, match=r"search.fill=true learns from units") as error:
        add_profiles([str(path)], ["latency_ms@toy"], fill=True)
    assert "search.fill=false" in error.value.instead
    (tmp_path / "arch.json").write_text(spread_networks(load_space("images32"), 1, 0)[0].to_json())
    before = path.read_text()
    nas("profile", "profile=toy.json", "missing=arch.json", cwd=tmp_path).refused(
        "learned from whole networks", "units=all"
    )
    assert path.read_text() == before


def test_units_that_were_added_stay_when_adding_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "measure_some", Device(truth, truth))
    space, out = load_space("digits"), tmp_path / "toy.json"
    make_profile(Plan(device="toy", space=space, setting=Setting(), calibration=4, held_out=2), out, show=False)
    archs = spread_networks(load_space("images32"), 2, 0)
    lacking = {unit for arch in archs for unit in read_model(out).missing(arch)}
    before, left = len(read_model(out).times.measured), [2]

    class Interrupted(Device):
        def __call__(self, *rest: Any, **settings: Any) -> Measurement[int]:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return super().__call__(*rest, **settings)

    monkeypatch.setattr(adding, "measure_some", Interrupted(truth, truth))
    monkeypatch.setattr(adding, "chunks", lambda items, size: ([item] for item in items))
    with pytest.raises(KeyboardInterrupt):
        add_units(out, archs, noisy=True)
    assert len(read_model(out).times.measured) == before + 2 < before + len(lacking)
    assert not read_model(out).about["noisy"]  # noisy=true allows a noisy machine; this one was not
    left[0] = len(lacking)
    assert len(add_units(out, archs)) == len(lacking) - 2
    assert all(read_model(out).predict(arch) for arch in archs)


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


def test_a_process_that_is_kept_to_one_core(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a message of a noisy machine advises makes no other device of this one."""
    model = read_model(toy / "toy.json")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert differences_here(model) == []
    two = replace(model, about={**model.about, "setting": {**model.about["setting"], "threads": 2}})
    assert "this process may use 1 core only" in differences_here(two)[0]
    plan = Plan(device="toy", space=load_space("digits"), setting=Setting(threads=2))
    with pytest.raises(InputError, match="may use 1 core only"):
        make_profile(plan, toy / "two.json", show=False)
    assert not list(toy.glob("two*"))


def test_a_space_with_few_networks(tmp_path: Path) -> None:
    """What the message offers is what the settings allow."""
    (tmp_path / "few.toml").write_text(COMPOSED.replace("[1, 2, 3, 4]", "[1]").replace("[3, 5, 7]", "[3]"))
    space = load_space(tmp_path / "few.toml")
    for calibration, held_out in ((25, 30), (24, 3), (4, 60)):
        plan = Plan(
            device="toy", space=space, setting=Setting(), calibration=calibration, held_out=held_out,
        )  # fmt: skip
        with pytest.raises(InputError, match="different networks") as error:
            make_profile(plan, tmp_path / "toy.json", show=False)
        offered = dict(part.split("=") for part in error.value.instead.split())
        assert int(offered["calibration"]) >= 3
        assert int(offered["heldout"]) >= 2
        assert int(offered["calibration"]) + int(offered["heldout"]) <= space.size
        (tmp_path / "toy.json.partial").unlink()


def test_a_space_of_a_file_is_not_offered_by_its_name(toy: Path, tmp_path: Path) -> None:
    space = load_space(toy / "tiny.toml").bind(1, 10, 8)
    (tmp_path / "toy.json").write_text(without_some_units(json.loads((toy / "toy.json").read_text())))
    with temporary_costs():
        add_profiles([str(tmp_path / "toy.json")], ["latency_ms@toy"])
        with pytest.raises(InputError) as error:
            check_covered(space, ["latency_ms@toy"])
    assert "space=SPACE.toml channels=1" in error.value.instead


def test_a_table_of_units_is_of_no_device_that_is_known_here(tmp_path: Path) -> None:
    unit = space_units(load_space("digits"))[0]
    text = json.dumps(unit.to_dict()).replace('"', '""')
    (tmp_path / "phone.csv").write_text(f'unit,latency_ms@phone\n"{text}",0.5\n')
    with temporary_costs(), pytest.raises(InputError) as error:
        add_profiles([str(tmp_path / "phone.csv")], ["latency_ms"])
    assert "a table of units, which does not say" in error.value.given
    assert "None" not in error.value.given


def test_units_that_are_added_are_on_the_scale_of_those_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device may run at another speed than when it was profiled."""
    monkeypatch.setattr(steps, "measure_some", Device(truth, truth))
    space, out = load_space("digits"), tmp_path / "toy.json"
    make_profile(Plan(device="toy", space=space, setting=Setting(), calibration=4, held_out=2), out, show=False)
    arch = spread_networks(space, 1, 1)[0]
    data = json.loads(out.read_text())
    gone = [unit.to_dict() for _, unit in units(arch) if unit.kind == "ffn"]
    data["units"] = [line for line in data["units"] if {key: line[key] for key in line if key in gone[0]} not in gone]
    out.write_text(json.dumps(data))
    monkeypatch.setattr(adding, "measure_some", Device(truth, lambda unit: 1.7 * truth(unit)))
    added = add_units(out, [arch])
    assert {unit.kind for unit in added} == {"ffn"}
    times = read_model(out).times.measured
    for unit in added:
        assert times[unit] == pytest.approx(truth(unit))


def test_a_damaged_journal_is_refused(toy: Path, tmp_path: Path) -> None:
    space = load_space(toy / "tiny.toml").bind(1, 10, 8)
    plan = Plan(device="toy", space=space, setting=Setting(), calibration=4, held_out=2, noisy=True)
    (tmp_path / "toy.json.partial").write_text('{"kind":"plan"}\n')
    with pytest.raises(InputError, match="none of a profile"):
        make_profile(plan, tmp_path / "toy.json", show=False)


def test_networks_are_measured_by_digest() -> None:
    space = load_space("digits")
    archs = spread_networks(space, 3, 0)
    found = measure_networks([*archs, archs[0]], Setting(), seed=0, error=0.3, noisy=True)
    assert list(found) == [arch.digest for arch in archs]
    assert all(timing.low <= timing.ms <= timing.high for timing in found.values())


def test_networks_of_a_profile_are_spread_over_macs() -> None:
    space = load_space("images32")
    found = spread_networks(space, 24, 0)
    assert found == spread_networks(space, 24, 0) != spread_networks(space, 24, 1)
    costs = sorted(map(macs, found))
    assert len({arch.digest for arch in found}) == 24
    width = (costs[-1] - costs[0]) / 4
    quarters = [
        sum(costs[0] + part * width <= cost < costs[0] + (part + 1) * width for cost in costs) for part in range(4)
    ]
    assert min(quarters) >= 3


def test_units_are_measured_among_others() -> None:
    known = space_units(load_space("images32"))
    for count in (1, 30, 90):
        beside = companions(known[:count], known, 0)
        assert len(set(beside)) == len(beside) == max(0, CROWD - count)
        assert not set(beside) & set(known[:count])
    assert len(companions(known[:3], known[:10], 0)) == 7

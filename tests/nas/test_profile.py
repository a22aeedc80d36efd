"""`nas profile` with the real command: a device is measured, the profile is a cost of searches, and what cannot be used is refused.

Machines that run tests are seldom quiet, so these profiles are asked for with large errors and noisy=true. How well the model of a quiet
machine predicts is measured by tests/benchmarks/latency_model.py.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.latency.making import make_profile, steps
from nas.latency.making.plan import HELD_OUT, Plan
from nas.latency.profiles import add_profiles, check_covered, differences_here
from nas.measuring.profiling import spread_networks
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names, temporary_costs
from search_spaces.costs.macs import macs
from search_spaces.costs.profile_files import read_model
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space_units import space_units
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


def test_a_damaged_journal_is_refused(toy: Path, tmp_path: Path) -> None:
    space = load_space(toy / "tiny.toml").bind(1, 10, 8)
    plan = Plan(device="toy", space=space, setting=Setting(), calibration=4, held_out=2, noisy=True)
    (tmp_path / "toy.json.partial").write_text('{"kind":"plan"}\n')
    with pytest.raises(InputError, match="none of a profile"):
        make_profile(plan, tmp_path / "toy.json", show=False)

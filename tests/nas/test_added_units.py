"""Units that are added to a profile: on its scale, kept when adding is interrupted, and none to a profile learned from networks."""

import json
from pathlib import Path
from typing import Any

import pytest

from nas.latency.making import adding, make_profile, steps
from nas.latency.making.adding import add_units
from nas.latency.making.plan import Plan
from nas.latency.profiles import add_profiles
from nas.measuring.noise import Measurement
from nas.measuring.profiling import spread_networks
from nas.runtimes import Setting
from search_spaces.costs import temporary_costs
from search_spaces.costs.profile_files import read_model
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.units import units
from tests.command_line import Commands
from tests.nas.known_devices import Device, noise, truth


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

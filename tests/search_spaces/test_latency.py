"""Device models: a latency is a base and a sum over units, units that were not measured are composed, and profiles are read or refused."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces.architecture import Architecture, Part
from search_spaces.costs import Additive, cost_named, cost_names, temporary_costs
from search_spaces.costs.latency import DeviceModel, add_model
from search_spaces.costs.macs import macs
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.profile_files import FORMAT, model_of, read_model, text_of
from search_spaces.costs.unit_times import UnitTimes, representatives
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space_units import space_units
from search_spaces.units import NOTHING, Unit, units

SPACE = load_space("images32")
ARCHS = [SPACE.sample(random.Random(seed)) for seed in range(4)]


@pytest.fixture(autouse=True)
def scoped() -> Iterator[None]:
    with temporary_costs():
        yield


def made_up(wanted: list[Unit], seed: int = 0) -> dict[Unit, float]:
    rng = random.Random(seed)
    return {unit: rng.uniform(0.01, 0.2) for unit in wanted}


TIMES = made_up(space_units(SPACE))


def profile(**changes: Any) -> dict[str, Any]:
    return {
        "format": FORMAT, "device": "toy", "space": {"name": "images32"}, "setting": {}, "fingerprint": {}, "noisy": False,
        "model": {"form": "sum of units", "base": 0.25, "weights": {"ms": 2.0}}, "errors": {}, "networks": [],
        "units": [{"ms": ms, "error": 0.01, "rounds": 15, **unit.to_dict()} for unit, ms in TIMES.items()],
    } | changes  # fmt: skip


@pytest.mark.parametrize("name", ["digits", "images32", "transxnet"])
def test_the_units_of_a_space_are_those_of_its_members(name: str) -> None:
    space = load_space(name)
    found = space_units(space)
    assert len(set(found)) == len(found)
    seen = {unit for seed in range(40) for _, unit in units(space.sample(random.Random(seed)))}
    assert seen <= set(found)
    if name == "digits":  # of which forty members have nearly all
        assert len(seen) > 0.9 * len(found)


def test_a_unit_is_the_same_behind_json() -> None:
    for unit in space_units(load_space("transxnet"))[::50]:
        assert Unit.from_dict(json.loads(json.dumps(unit.to_dict()))) == unit


@pytest.mark.parametrize(
    "change",
    [{"kind": "block"}, {"parts": []}, {"dims": [0]}, {"height": 1.5}, {"width": "8"}, {"more": 1}, {"parts": [{}]}],
)
def test_what_describes_no_unit(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Unit.from_dict(space_units(SPACE)[0].to_dict() | change)


@pytest.mark.parametrize(
    "weights", [{"ms": 1.5}, {"ms": 0.9, "units": 0.01}, {"ms.mixer": 2.0, "ms.ffn": 1.0}, {"macs": 1e-6}, {"elements": 1e-4},
        {"ms": 1.0, "units.ffn": 0.1, "units.ffn.mlp": 0.2, "units.mixer.depthwise_conv": 0.05}]
)  # fmt: skip
def test_a_latency_is_a_base_and_a_sum_over_units(weights: dict[str, float]) -> None:
    model = DeviceModel("toy", UnitTimes(TIMES), base=0.25, weights=weights)

    def by_hand(unit: Unit) -> float:
        amounts = {
            "ms": TIMES[unit],
            "units": 1,
            "macs": unit_cost(unit).macs,
            "elements": unit.dims[0] * unit.height**2,
        }
        part = unit.parts[1 if len(unit.parts) == 3 else 0].name
        names = {f"{name}{of}": name for name in amounts for of in ("", f".{unit.kind}", f".{unit.kind}.{part}")}
        return sum(weight * amounts[names[key]] for key, weight in weights.items() if key in names)

    for arch in ARCHS:
        assert model.predict(arch) == pytest.approx(0.25 + sum(by_hand(unit) for _, unit in units(arch)))
        assert model.missing(arch) == []


def test_a_unit_adds_no_less_than_nothing() -> None:
    model = DeviceModel("toy", UnitTimes(TIMES), base=0.0, weights={"ms": 1.0, "units": -1.0})
    assert all(model.of_unit(unit) == 0 for unit in TIMES)
    assert DeviceModel("toy", UnitTimes(TIMES), base=-100.0).predict(ARCHS[0]) == 0


def test_what_was_not_measured_is_named_and_not_guessed() -> None:
    lacking = [unit for _, unit in units(ARCHS[0]) if unit.kind == "ffn"][:1]
    known = {unit: ms for unit, ms in TIMES.items() if unit not in lacking}
    model = DeviceModel("toy", UnitTimes(known))
    assert model.predict(ARCHS[0]) is None
    assert model.missing(ARCHS[0]) == lacking
    assert DeviceModel("toy", UnitTimes(known), weights={"macs": 1e-6}).missing(ARCHS[0]) == []


def branches() -> list[Unit]:
    """Every combination of norms, sets of options and scales of two mixers, on one map."""
    norms = [Part.of("layer_norm"), Part.of("batch_norm"), NOTHING]
    mixers = [Part.of("depthwise_conv", kernel_size=size) for size in (3, 5, 7)] + [Part.of("pooling")]
    scales = [NOTHING, Part.of("layer_scale", init=1e-5)]
    biases = [None, Part.of("dense_table", num_heads=2)]
    return [
        Unit("mixer", (norm, mixer, scale), (32,), 8, 8, bias)
        for mixer in mixers for norm in norms for scale in scales for bias in biases
    ]  # fmt: skip


def composable(unit: Unit) -> float:
    """A device on which norm, scale and bias cost the same beside every set of options of a mixer."""
    norm, mixer, scale = unit.parts
    rng = random.Random(str((mixer.name, mixer.options)))
    extra = {"layer_norm": 0.1, "batch_norm": 0.02}.get(norm.name, 0.0) + (0.03 if scale.name == "layer_scale" else 0.0)
    return rng.uniform(1, 2) + (2 if mixer.name == "pooling" else 1) * (extra + (0.05 if unit.bias else 0.0))


def test_branches_that_were_not_measured_are_composed() -> None:
    wanted = branches()
    measured = representatives(wanted)
    assert len(measured) == (3 + 2 + 1 + 1) + (
        1 + 2 + 1 + 1
    )  # sets of options, then the other norms, scales and biases
    times = UnitTimes({unit: composable(unit) for unit in measured})
    for unit in wanted:
        assert times(unit) == pytest.approx(composable(unit))
    assert times(wanted[0]._replace(height=7)) is None  # another map
    assert UnitTimes({unit: composable(unit) for unit in measured[1:]})(wanted[-1]) is not None


@pytest.mark.parametrize("seed", range(5))
def test_composed_times_do_not_depend_on_the_order_of_measuring(seed: int) -> None:
    wanted = branches()
    measured = representatives(wanted)
    times = {unit: composable(unit) * random.Random(str(unit)).uniform(0.9, 1.1) for unit in measured}
    first = UnitTimes(times)
    random.Random(seed).shuffle(measured)
    again = UnitTimes({unit: times[unit] for unit in measured})
    assert [again(unit) for unit in wanted] == [first(unit) for unit in wanted]
    assert None not in map(again, wanted)


@pytest.mark.parametrize("name", ["images32", "transxnet"])
def test_representatives_tell_the_time_of_every_unit(name: str) -> None:
    wanted = space_units(load_space(name))
    measured = representatives(wanted)
    assert len(measured) <= len(wanted)
    random.Random(0).shuffle(measured)
    times = UnitTimes(dict.fromkeys(measured, 0.5))
    assert all(times(unit) == 0.5 for unit in wanted)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    path.write_text(text_of(profile()))
    assert len(path.read_text().splitlines()) > len(TIMES)  # a line per unit
    model = read_model(path)
    assert (model.device, model.base, model.weights, model.times.measured) == ("toy", 0.25, {"ms": 2.0}, TIMES)
    add_model(model, path)
    cost = cost_named("latency_ms@toy")
    assert "latency_ms" not in cost_names()
    assert isinstance(cost.additive, Additive)
    for arch in ARCHS:
        added = [cost.additive.of_unit(unit) for _, unit in units(arch)]
        assert cost(arch) == model.predict(arch) == pytest.approx(cost.additive.base + sum(x for x in added if x))
    add_model(model, path, here=True)
    assert cost_named("latency_ms")(ARCHS[0]) == cost(ARCHS[0])
    with pytest.raises(InputError, match="already"):
        add_model(model, tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2"),
        ({"device": "My Laptop"}, "'My Laptop'"),
        ({"device": ""}, "no name"),
        ({"model": {}}, "without weights"),
        ({"model": {"base": 0, "weights": {"joules": 1.0}}}, "joules"),
        ({"model": {"base": 0, "weights": {"ms.block": 1.0}}}, "ms.block"),
        ({"model": {"base": "0", "weights": {"ms": 1.0}}}, "base"),
        ({"units": {}}, "no list of units"),
        ({"units": [{"ms": 0}]}, "no time above 0 for unit 1"),
        ({"units": [{"ms": 1.0, "kind": "mixer"}]}, "describes unit 1 wrongly"),
        ({"errors": None}, "null for its key errors, which is a table"),
        ({"errors": {"held_out": None}}, "errors.held_out, which is a table"),
        ({"errors": {"held_out": {"mape": "3 %"}}}, "errors.held_out.mape, which is a number"),
        ({"setting": "eager"}, "for its key setting, which is a table"),
        ({"fingerprint": []}, "for its key fingerprint, which is a table"),
        ({"noisy": "no"}, "for its key noisy, which is true or false"),
        ({"networks": {}}, "for its key networks, which is a list"),
        ({"space": None}, "for its key space, which is a table"),
    ],
)
def test_what_is_no_profile(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        model_of(profile(**change), "toy.json")
    assert "toy.json" in error.value.given
    assert says in error.value.given


@pytest.mark.parametrize("key", ["device", "space", "setting", "fingerprint", "model", "errors", "networks", "units"])
def test_a_profile_that_lacks_a_key(key: str) -> None:
    whole = profile()
    del whole[key]
    with pytest.raises(InputError, match=f"lacks the key {key}"):
        model_of(whole, "toy.json")


def test_macs_alone_are_a_model_too() -> None:
    model = DeviceModel("toy", UnitTimes({}), base=0.5, weights={"macs": 2e-6})
    for arch in ARCHS:
        assert isinstance(arch, Architecture)
        assert model.predict(arch) == pytest.approx(0.5 + 2e-6 * macs(arch))

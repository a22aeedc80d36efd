"""Which sum over units is taken for a device, on devices that are made here."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from nas.latency.fitting import BY_PART, Calibration
from nas.measuring.profiling import calibrating, spread_networks
from search_spaces.architecture import Architecture
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.named import load_space
from search_spaces.units import Unit, units


@pytest.fixture(scope="module")
def archs() -> list[Architecture]:
    return spread_networks(load_space("images32"), 55, 0)


@pytest.fixture(scope="module")
def unit_times(archs: list[Architecture]) -> dict[Unit, float]:
    return {
        unit: random.Random(str(unit)).uniform(0.8, 1.2) * (0.01 + 1e-7 * unit_cost(unit).macs)
        for unit in dict.fromkeys(unit for arch in archs for _, unit in units(arch))
    }


@pytest.mark.parametrize(
    ("extra", "form"),
    [({}, "sum of units"), ({"mixer.d_mixer": 0.03, "mixer.partial_attention": -0.006, "ffn.ms_ffn": 0.01}, BY_PART)],
)
def test_what_parts_cost_beside_their_own_time_is_found(
    extra: Mapping[str, float], form: str, archs: list[Architecture], unit_times: dict[Unit, float]
) -> None:
    noise = np.random.default_rng(0)
    ms = np.array([
        sum(unit_times[unit] + extra.get(f"{unit.kind}.{unit.part.name}", 0.0) for _, unit in units(arch)) for arch in archs
    ]) * noise.normal(1, 0.005, len(archs))  # fmt: skip
    some = calibrating(archs, 25, 0)
    known = np.array([arch.digest in some for arch in archs])
    times = UnitTimes(unit_times)
    networks = [[unit for _, unit in units(arch)] for arch in archs]
    found = Calibration([network for network, at in zip(networks, known, strict=True) if at], ms[known], times).best()
    assert found.form == form
    model = DeviceModel("made", times, found.base, found.weights)
    errors = [
        abs((model.predict(arch) or 0.0) / value - 1)
        for arch, value, at in zip(archs, ms, known, strict=True)
        if not at
    ]
    assert np.mean(errors) < 0.015

"""Which sum over units is taken for a device, on devices that are made here."""

import random
from collections.abc import Mapping

import numpy as np
import pytest

from nas.latency.fitting import BY_PART, Calibration
from nas.measuring.profiling import calibrating, spread_networks
from search_spaces.costs.latency import DeviceModel, UnitTimes
from search_spaces.costs.pieces import unit_cost
from search_spaces.named import load_space
from search_spaces.units import units

ARCHS = spread_networks(load_space("images32"), 55, 0)
TIMES = {
    unit: random.Random(str(unit)).uniform(0.8, 1.2) * (0.01 + 1e-7 * unit_cost(unit).macs)
    for unit in dict.fromkeys(unit for arch in ARCHS for _, unit in units(arch))
}


@pytest.mark.parametrize(
    ("extra", "form"),
    [({}, "sum of units"), ({"mixer.d_mixer": 0.03, "mixer.partial_attention": -0.006, "ffn.ms_ffn": 0.01}, BY_PART)],
)
def test_what_parts_cost_beside_their_own_time_is_found(extra: Mapping[str, float], form: str) -> None:
    noise = np.random.default_rng(0)
    ms = np.array([
        sum(TIMES[unit] + extra.get(f"{unit.kind}.{unit.part.name}", 0.0) for _, unit in units(arch)) for arch in ARCHS
    ]) * noise.normal(1, 0.005, len(ARCHS))  # fmt: skip
    some = calibrating(ARCHS, 25, 0)
    known = np.array([arch.digest in some for arch in ARCHS])
    times = UnitTimes(TIMES)
    networks = [[unit for _, unit in units(arch)] for arch in ARCHS]
    found = Calibration([network for network, at in zip(networks, known, strict=True) if at], ms[known], times).best()
    assert found.form == form
    model = DeviceModel("made", times, found.base, found.weights)
    errors = [
        abs((model.predict(arch) or 0.0) / value - 1)
        for arch, value, at in zip(ARCHS, ms, known, strict=True)
        if not at
    ]
    assert np.mean(errors) < 0.015

"""The networks and units that a profile measures: spread over a space, and as many as it has."""

from pathlib import Path

import pytest

from nas.latency.making import make_profile
from nas.latency.making.plan import Plan
from nas.measuring.profiling import CROWD, calibrating, companions, measure_networks, spread_networks
from nas.runtimes import Setting
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.space_units import space_units
from search_spaces.units import units
from tests.nas.known_devices import COMPOSED


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

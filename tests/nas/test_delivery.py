"""Budgets are delivered: what a search calls feasible was measured on the device, and what was not within the budget may not win."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.goals.costing import prepare_costs
from nas.goals.roles import front_of, roles_of
from nas.goals.selection import Selected
from nas.measuring.delivery import TOGETHER, Delivery
from nas.measuring.fingerprint import fingerprint
from nas.measuring.noise import NoisyMachine
from nas.measuring.targets import Target, about_devices, targets_of
from nas.measuring.timing import Timing, pooled
from nas.networks.cards import COUNTED, card_of
from nas.records import Evaluation, RecordError, eligible
from nas.records.device_times import OVER, PREDICTED, WITHIN, DeviceTime, latest
from nas.runs.searches import RUNNING, Search
from nas.runs.store import RunStore
from nas.runtimes import Setting
from search_spaces.architecture import Architecture
from search_spaces.costs import temporary_costs
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.units import units
from tests.nas.reporting.made_searches import search_view

COST = "latency_ms@sim"


@dataclass
class Simulated:
    """A device whose times are known: what is predicted, times a factor that depends on the network.

    Args:
        factors: measured over predicted, by the first hexadecimal digit of the digest in turn.
        width: half the width of the confidence intervals over the median.
        fails_after: networks that are measured before the command is interrupted.
    """

    predicted: Mapping[str, float]
    factors: Sequence[float] = (1.0,)
    width: float = 0.0
    fails_after: int | None = None
    device: str = "sim"
    form: str = "known"
    fingerprint: Mapping[str, Any] = field(default_factory=lambda: {"processor": "simulated"})
    errors: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    measured: list[str] = field(default_factory=list)

    def predict(self, arch: Architecture) -> float:
        return self.predicted[arch.digest]

    def truth(self, digest: str) -> float:
        return self.predicted[digest] * self.factors[int(digest[0], 16) % len(self.factors)]

    def __call__(self, archs: Sequence[Architecture], _: Setting, noisy: bool) -> dict[str, tuple[Timing, bool]]:
        if self.fails_after is not None and len(self.measured) + len(archs) > self.fails_after:
            raise KeyboardInterrupt
        self.measured += [arch.digest for arch in archs]
        times = {arch.digest: self.truth(arch.digest) for arch in archs}
        return {
            digest: (Timing(ms, ms * (1 - self.width), ms * (1 + self.width), 1.0, 15, self.width), noisy)
            for digest, ms in times.items()
        }


EVALUATIONS = [
    Evaluation(**{**{f: getattr(e, f) for f in e.__slots__}, "costs": {**e.costs, COST: e.costs["latency_ms"]}})
    for e in search_view(budget="none", objectives=("top1", "latency_ms")).evaluations
]
TIMES = {e.digest: e.costs[COST] for e in EVALUATIONS}


def search_in(folder: Path, budget: str, objectives: tuple[str, ...] = ("top1", COST)) -> Search:
    asked = SearchConfig(budget=budget, objectives=objectives, name="made")
    return Search(RunStore(folder), "made", 0, asked, None, RUNNING, (), {})


def target_of(device: Simulated, here: bool = True) -> Target:
    return Target((COST,), device, here, Setting())  # type: ignore[arg-type]


def winners(search: Search, delivery: Delivery) -> list[Evaluation]:
    found = eligible(EVALUATIONS, search.budget, search.objectives, delivery.refuted)
    return front_of(found, search.objectives) if found else []


@given(
    st.lists(st.floats(0.5, 3.0), min_size=1, max_size=5),
    st.floats(0.4, 3.0),
    st.none() | st.floats(0.3, 0.9),
    st.floats(0.0, 0.1),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_the_front_is_measured_and_within(
    tmp_path_factory: pytest.TempPathFactory, factors: list[float], limit: float, share: float | None, width: float
) -> None:
    """Whatever the model's error: all networks with a role are measured, and those on the front keep the budget with their intervals."""
    budget = f"{COST}={limit:.4g}" if share is None else f"{COST}={share * limit:.4g}..{limit:.4g}"
    search = search_in(tmp_path_factory.mktemp("run"), budget)
    device = Simulated(TIMES, factors, width)
    delivery = Delivery(search, [target_of(device)], meter=device)
    delivery.deliver(EVALUATIONS)
    known = latest(search.measurements())
    assert known == latest(delivery.measurements)
    for digest in roles_of(EVALUATIONS, search.budget, search.objectives, search.refuted()):
        assert known[digest, COST].measured == pytest.approx(device.truth(digest))
    high = search.budget.limit(COST)
    assert high is not None
    for winner in winners(search, delivery):
        assert device.truth(winner.digest) * (1 + width) <= high
    predicted = {e.digest for e in eligible(EVALUATIONS, search.budget, search.objectives)}
    still = {e.digest for e in eligible(EVALUATIONS, search.budget, search.objectives, search.refuted())}
    assert predicted - still == search.refuted() & predicted
    for digest in search.refuted():
        measured = known[digest, COST]
        assert measured.said(search.budget) == OVER
        assert device.truth(digest) * (1 + width) > high
    again = len(device.measured)
    Delivery(search, [target_of(device)], meter=device).deliver(EVALUATIONS)
    assert len(device.measured) == again  # what is measured is not measured again


def test_a_network_that_is_faster_than_was_predicted_may_win(tmp_path: Path) -> None:
    """The least of a range says where the search looks. A device that has become a fifth faster would else refuse nearly all that is found."""
    limit = max(TIMES.values())
    search = search_in(tmp_path, f"{COST}={0.9 * limit}..{limit}")
    found = eligible(EVALUATIONS, search.budget, search.objectives)
    device = Simulated(TIMES, (0.8,))
    delivery = Delivery(search, [target_of(device)], meter=device)
    delivery.deliver(EVALUATIONS)
    delivery.check_any(EVALUATIONS)
    assert not search.refuted()
    assert winners(search, delivery) == front_of(found, search.objectives)
    assert all(m.said(search.budget) == WITHIN for m in search.measurements())


def test_an_interrupted_command_measures_only_what_is_missing(tmp_path: Path) -> None:
    whole, halted = search_in(tmp_path / "whole", f"{COST}=1.5"), search_in(tmp_path / "halted", f"{COST}=1.5")
    device = Simulated(TIMES, (1.0, 1.3))
    Delivery(whole, [target_of(device)], meter=device).deliver(EVALUATIONS)
    first = Simulated(TIMES, (1.0, 1.3), fails_after=len(device.measured) - 1)
    with pytest.raises(KeyboardInterrupt):
        Delivery(halted, [target_of(first)], meter=first).deliver(EVALUATIONS)
    kept = [m.digest for m in halted.measurements()]
    assert 0 < len(kept) < len(whole.measurements())
    rest = Simulated(TIMES, (1.0, 1.3))
    Delivery(halted, [target_of(rest)], meter=rest).deliver(EVALUATIONS)
    assert not set(rest.measured) & set(kept)
    assert halted.refuted() == whole.refuted()
    assert {m.digest: m.measured for m in halted.measurements()} == {m.digest: m.measured for m in whole.measurements()}


def test_a_network_near_its_limit_is_measured_twice(tmp_path: Path) -> None:
    front = winners(search_in(tmp_path, "none"), Delivery(search_in(tmp_path, "none"), []))
    limit = front[-1].costs[COST] * 1.01
    search = search_in(tmp_path, f"{COST}={limit}")
    device = Simulated(TIMES)
    Delivery(search, [target_of(device)], meter=device).deliver(EVALUATIONS)
    twice = {digest for digest in device.measured if device.measured.count(digest) == 2}
    assert front[-1].digest in twice
    assert all(limit / 1.03 <= TIMES[digest] <= limit for digest in twice)
    assert all(m.rounds == (30 if m.digest in twice else 15) for m in search.measurements())


def test_two_measurements_together() -> None:
    one, other = Timing(2.0, 1.9, 2.1, 1.1, 15, 0.05), Timing(2.2, 2.0, 2.3, 1.2, 20, 0.07)
    assert pooled(one, other) == Timing(2.1, 1.9, 2.3, 1.2, 35, (2.3 - 1.9) / 2 / 2.1)


def test_another_device_is_predicted_only(tmp_path: Path) -> None:
    search, device = search_in(tmp_path, f"{COST}=1.5"), Simulated(TIMES, (1.0, 3.0))
    delivery = Delivery(search, [target_of(device, here=False)], meter=device)
    delivery.deliver(EVALUATIONS)
    assert not device.measured
    assert not search.refuted()
    assert {m.said(search.budget) for m in search.measurements()} == {PREDICTED}
    assert all(m.measured is None and m.predicted == TIMES[m.digest] for m in search.measurements())
    assert "predicted only" in delivery.summary()[0]
    # The same search on the device itself measures them after all.
    Delivery(search, [target_of(device)], meter=device).deliver(EVALUATIONS)
    assert {m.said(search.budget) for m in latest(search.measurements()).values()} == {WITHIN, OVER}


def test_a_device_that_keeps_no_promise_is_an_error(tmp_path: Path) -> None:
    search, device = search_in(tmp_path, f"{COST}=1.5"), Simulated(TIMES, (9.0,))
    delivery = Delivery(search, [target_of(device)], meter=device)
    delivery.deliver(EVALUATIONS)
    assert not winners(search, delivery)
    with pytest.raises(InputError) as error:
        delivery.check_any(EVALUATIONS)
    assert "when it is measured" in error.value.given
    # The profiles and objectives of the search have to be typed again for another one.
    assert error.value.instead.startswith("the same command with search.budget=")
    assert error.value.instead.endswith(" search.name=another")
    limit = float(error.value.instead.split(f"{COST}=")[1].split()[0])
    eligible_now = eligible(EVALUATIONS, search.budget, search.objectives)
    assert limit >= 9 * min(TIMES[e.digest] for e in eligible_now)


def test_predictions_are_those_that_the_search_worked_with(tmp_path: Path) -> None:
    """A profile may lack units whose times the search has learned (search.fill=true)."""

    class Lacking(Simulated):
        def predict(self, arch: Architecture) -> float:
            return None  # type: ignore[return-value]

    search, device = search_in(tmp_path, f"{COST}=1.5"), Lacking(TIMES)
    Delivery(search, [target_of(device)], meter=device).deliver(EVALUATIONS)
    assert search.measurements()
    assert all(m.predicted == TIMES[m.digest] for m in search.measurements())


def test_devices_without_a_fingerprint_are_told_apart_by_their_names() -> None:
    phone, watch = (Simulated(TIMES, device=name, fingerprint={}) for name in ("phone", "watch"))
    assert target_of(phone).id != target_of(watch).id
    same = [Simulated(TIMES, device=name) for name in ("phone", "watch")]
    assert target_of(same[0]).id == target_of(same[1]).id


def profile_here(file: Path, device: str) -> str:
    """A small profile of this machine."""
    setting = Setting()
    unit = next(unit for _, unit in units(load_space("digits").sample(random.Random(0))))
    file.write_text(
        json.dumps(
            {
                "format": 1, "device": device, "space": {}, "setting": asdict(setting), "fingerprint": fingerprint(setting), "noisy": False,
                "model": {"base": 0.1, "weights": {"ms": 1.0}}, "errors": {}, "networks": [], "units": [{"ms": 0.5, **unit.to_dict()}],
            }
        )
    )  # fmt: skip
    return str(file)


def test_latency_ms_of_a_table_is_not_measured_here(tmp_path: Path) -> None:
    """A column latency_ms is of the device of its table, though the profile of this machine is there too."""
    laptop, phone = profile_here(tmp_path / "laptop.json", "laptop"), tmp_path / "phone.csv"
    phone.write_text(f"digest,latency_ms\n{EVALUATIONS[0].digest},7.5\n")
    budget = Budget.parse("latency_ms=8,latency_ms@laptop=3")
    both_files = SearchConfig(budget=str(budget), measured=(str(phone),), profiles=(laptop,))
    profile_alone = replace(both_files, measured=())
    for registered in (True, False):  # in a search, and in extraction and retraining
        with temporary_costs():
            if registered:
                prepare_costs(both_files)
            (target,) = targets_of(both_files, budget, ())
            assert target.here
            assert target.costs == ("latency_ms@laptop",)
        with temporary_costs():
            if registered:
                prepare_costs(profile_alone)
            (target,) = targets_of(profile_alone, budget, ())
            assert target.costs == ("latency_ms", "latency_ms@laptop")


def test_the_summary_prints_the_bias(tmp_path: Path) -> None:
    search, device = search_in(tmp_path, f"{COST}=1.5"), Simulated(TIMES, (1.25,))
    delivery = Delivery(search, [target_of(device)], meter=device)
    delivery.deliver(EVALUATIONS)
    (line,) = delivery.summary()
    assert "off by 20.0% on average, -20.0% in their mean (bias)" in line
    assert f"{len(set(device.measured))} networks measured on sim" in line


def test_a_device_that_has_changed_its_speed_is_found_out(tmp_path: Path) -> None:
    """Three networks of the profile are measured again beside the others; their times say how fast the device is now."""
    networks = [{"architecture": e.architecture.to_dict(), "ms": TIMES[e.digest]} for e in EVALUATIONS[:9]]
    for factor, words in ((1.25, "25% more time"), (0.8, "20% less time"), (1.03, "")):
        search = search_in(tmp_path / str(factor), "none")
        device = Simulated(TIMES, (factor,), about={"networks": networks})
        delivery = Delivery(search, [target_of(device)], meter=device)
        delivery.deliver(EVALUATIONS)
        assert len(delivery.targets[0].compared) == 3
        for measured in search.measurements():
            assert measured.speed == pytest.approx(factor)
        (line,) = delivery.summary()
        assert ("measures it again" in line) is bool(words)
        assert words in line


MEASURED = DeviceTime(
    digest="0123456789ab", cost=COST, predicted=3.0, measured=3.1, low=3.0, high=3.2, rounds=15, device="ba9876543210", noisy=False,
    time="2030-01-01T00:00:00+00:00",
)  # fmt: skip


def test_measurements_are_read_as_they_are_written() -> None:
    assert DeviceTime.from_dict(json.loads(json.dumps(MEASURED.to_dict()))) == MEASURED
    assert DeviceTime.from_dict({k: v for k, v in MEASURED.to_dict().items() if k != "speed"}) == MEASURED  # older runs
    for key, wrong in (("digest", 3), ("measured", "3"), ("low", -1.0), ("rounds", 1.5), ("noisy", 1), ("high", True)):
        with pytest.raises(RecordError, match=key):
            DeviceTime.from_dict({**MEASURED.to_dict(), key: wrong})
        with pytest.raises(RecordError, match=key):
            DeviceTime.from_dict({k: v for k, v in MEASURED.to_dict().items() if k != key})


def test_a_group_is_what_an_interruption_costs() -> None:
    assert 1 <= TOGETHER <= 32


def test_a_noisy_machine_is_said_to_be_resumable(tmp_path: Path) -> None:
    def meter(*_: object) -> dict[str, tuple[Timing, bool]]:
        raise NoisyMachine(
            "the machine is too noisy to be measured", "a quiet machine", "noisy=true measures all the same"
        )

    search = search_in(tmp_path, f"{COST}=1.5")
    with pytest.raises(NoisyMachine, match="the same command resumes it") as error:
        Delivery(search, [target_of(Simulated(TIMES))], meter=meter).deliver(EVALUATIONS)
    assert error.value.instead.startswith("search.noisy=true")
    assert search.measurements() == []


def test_a_network_that_was_not_measured_is_not_called_delivered(tmp_path: Path) -> None:
    """A network off the Pareto front can be extracted by its digest."""
    search, device = search_in(tmp_path, f"{COST}=1.5,macs=1G"), Simulated(TIMES)
    delivery = Delivery(search, [target_of(device)], meter=device)
    delivery.deliver(EVALUATIONS)
    search = replace(search, conditions={"devices": about_devices(delivery.targets)})
    kept = [e for e in EVALUATIONS if search.budget.allows(e.costs)]
    off = next(e for e in kept if e.digest not in device.measured)
    card = card_of(search, Selected(("chosen",), off))
    assert card["within_budget_by"] == PREDICTED
    (time,) = card["devices"]
    assert (time["status"], time["predicted_ms"], time["measured_ms"]) == (PREDICTED, off.costs[COST], None)
    on = next(e for e in kept if e.digest in device.measured and e.digest not in search.refuted())
    assert card_of(search, Selected(("front",), on))["within_budget_by"] == WITHIN
    counted = replace(search, settings=replace(search.settings, budget="macs=1G"))
    assert card_of(counted, Selected(("chosen",), off))["within_budget_by"] == COUNTED

"""The profile as plain data: the model that the calibration networks choose, its error on held-out networks, and all that was measured."""

import statistics
from typing import Any

import numpy as np

from nas.latency.accuracy import accuracy, kendall_tau
from nas.latency.choosing import FEWEST
from nas.latency.features import unit_features
from nas.latency.fitting import BETTER, MACS, Calibration, Fitted
from nas.latency.learned_costs import units_of
from nas.latency.learned_networks import NetworkModel, fit_networks
from nas.latency.making.journal import Journal
from nas.latency.making.plan import CALIBRATION, HELD_OUT, Roles
from nas.latency.making.steps import Steps
from nas.measuring.noise import DRIFT
from nas.measuring.profiling import worst
from nas.measuring.timing import Timing, pooled
from search_spaces.costs.latency import DeviceModel
from search_spaces.costs.pieces import cost
from search_spaces.costs.profile_files import FORMAT
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.units import Unit, units

LEARNED = "learned from networks"
"""The form of a model for which units need not be measured."""

UNSEEN = 0.6
"""Share of the error of a sum of measured units that a model learned from networks must stay below to be taken. Networks of the calibration
are predicted by others like them, and cross-validation finds 1.6 to 2.0 % on `images32` where held-out networks show 4 to 5 %; a sum of
measured units has about the same error on both.
"""


def fit(roles: Roles, timings: dict[str, Timing], times: UnitTimes) -> tuple[Fitted, Fitted, list[Fitted]]:
    """The model that the calibration networks choose, that of MACs alone, and all that were compared."""
    chosen = [(arch, timings[digest].ms) for digest, (arch, role) in roles.items() if role == CALIBRATION]
    sums = [[unit for _, unit in units(arch)] for arch, _ in chosen]
    calibration = Calibration(sums, np.array([ms for _, ms in chosen]), times)
    floor = next(found for found in calibration.fitted if found.form == MACS)
    return calibration.best(), floor, calibration.fitted


def errors_of(
    roles: Roles, timings: dict[str, Timing], predicted: dict[str, float | None], floor: Fitted
) -> dict[str, Any]:
    """How far predictions are from measurements, on the networks that the model has not seen."""
    held_out = [digest for digest, (_, role) in roles.items() if role == HELD_OUT]
    macs = np.array([cost(roles[digest][0]).macs for digest in held_out], float)
    ms = np.array([timings[digest].ms for digest in held_out])
    by_macs = np.maximum(0.0, floor.base + floor.weights["macs"] * macs)
    return {
        "held_out": accuracy(np.array([predicted[digest] for digest in held_out], float), ms).to_dict(),
        "macs": accuracy(by_macs, ms).to_dict() | {"tau": kendall_tau(macs, ms)},
        "spread": {"min": ms.min(), "median": float(np.median(ms)), "max": ms.max(), "ratio": ms.max() / ms.min()},
    }


def _numbers(timing: Timing) -> dict[str, float]:
    return {"ms": timing.ms, "low": timing.low, "high": timing.high, "rounds": timing.rounds}


def time_of(timing: Timing | None) -> dict[str, Any]:
    """The time of a unit as a profile has it; nothing for None."""
    return {} if timing is None else {"ms": timing.ms, "error": timing.error, "rounds": timing.rounds}


def learn(roles: Roles, timings: dict[str, Timing], seed: int) -> NetworkModel[Unit] | None:
    """Times of units that the calibration networks tell, without any unit measured; None where they are too few."""
    chosen = [(units_of(arch), timings[digest].ms) for digest, (arch, role) in roles.items() if role == CALIBRATION]
    if len(chosen) < FEWEST:
        return None
    networks, ms = [network for network, _ in chosen], np.array([ms for _, ms in chosen])
    return fit_networks(networks, ms, unit_features, seed, additive=True)


def summarise(steps: Steps, roles: Roles, found: dict[str, Any]) -> dict[str, Any]:
    """The profile as plain data.

    Args:
        steps: that have measured everything.
        found: the fingerprint of this device.
    """
    plan, journal = steps.plan, steps.journal
    networks = _both_passes(journal)
    times = UnitTimes({unit: timing.ms for unit, timing in journal.units.items()})
    chosen, floor, forms = fit(roles, networks, times)
    learned = learn(roles, networks, plan.seed)
    if learned is not None:
        forms.append(Fitted(f"{LEARNED}: {learned.name}", learned.base, {"learned": 1.0}, learned.accuracy.mape))
        knows_units = any(name.partition(".")[0] == "ms" for name in chosen.weights)
        if forms[-1].is_better_than(chosen, UNSEEN if knows_units else BETTER):
            chosen = forms[-1]
            times = UnitTimes(times.measured, {unit: learned.unit_ms(unit) for unit in steps.wanted(roles)})
    model = DeviceModel(plan.device, times, chosen.base, chosen.weights)
    signs = worst(journal.noises).problems()
    if abs(steps.change) > DRIFT:
        signs.append(
            f"networks take {steps.change:+.0%} of their time when they are measured again (limit {DRIFT:.0%})"
        )
    predicted = {digest: model.predict(arch) for digest, (arch, _) in roles.items()}
    return {
        "format": FORMAT,
        "device": plan.device,
        "space": {
            "name": plan.space.name, "digest": plan.space.digest, "in_channels": plan.space.in_channels,
            "num_classes": plan.space.num_classes, "resolution": plan.space.resolution, "units": len(steps.known), "measured": plan.which,
        },
        "setting": steps.setting.to_dict(),
        "fingerprint": found,
        "noisy": bool(signs),
        "signs": signs,
        "model": {"form": chosen.form, "base": chosen.base, "weights": dict(chosen.weights)},
        "errors": {
            **errors_of(roles, networks, predicted, floor),
            "cross_validation": {form.form: form.error for form in forms},
            "repeat": _repeat_errors(steps, times),
        },
        "networks": [
            {
                "digest": digest, "role": role, **_numbers(networks[digest]), "predicted": predicted[digest],
                "macs": cost(arch).macs, "architecture": arch.to_dict(),
            }
            for digest, (arch, role) in roles.items()
        ],
        "units": _unit_lines(steps, times),
    }  # fmt: skip


def _both_passes(journal: Journal) -> dict[str, Timing]:
    """The time of each network, of both passes where there were two."""
    first, second = journal.networks, journal.repeats
    return {digest: pooled(one, second[digest]) if digest in second else one for digest, one in first.items()}


def _unit_lines(steps: Steps, times: UnitTimes) -> list[dict[str, Any]]:
    """The units that were measured or learned, in the order of the forward pass."""
    place = {unit: number for number, unit in enumerate(steps.known)}
    found = sorted({**steps.journal.units, **times.learned}, key=lambda unit: place.get(unit, len(place)))
    lines = []
    for unit in found:
        learned = {"learned": times.learned[unit]} if unit in times.learned else {}
        lines.append(time_of(steps.journal.units.get(unit)) | learned | unit.to_dict())
    return lines


def _repeat_errors(steps: Steps, times: UnitTimes) -> dict[str, Any]:
    """Mean relative difference between two measurements of units and of networks, and between composed and measured times."""
    found: dict[str, list[float]] = {"units": [], "networks": [], "composed": []}
    by_name = {str(unit): unit for unit in (*steps.known, *steps.journal.units) if str(unit) in steps.journal.repeats}
    for name, timing in steps.journal.repeats.items():
        unit = by_name.get(name)
        if unit is None:
            found["networks"].append(abs(timing.ms / steps.journal.networks[name].ms - 1))
        else:
            first = times(unit)
            kind = "units" if unit in steps.journal.units else "composed"
            found[kind] += [] if first is None else [abs(first / timing.ms - 1)]
    return {kind: statistics.fmean(values) for kind, values in found.items() if values}

"""Profiles of this device: units are measured, whole networks are measured, a model is chosen, and its error is found on networks that
took no part in choosing it.
"""

import json
import random
import shutil
import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nas.latency.accuracy import accuracy, kendall_tau
from nas.latency.choosing import FEWEST
from nas.latency.features import unit_features
from nas.latency.fitting import BETTER, MACS, Calibration, Fitted
from nas.latency.journal import Journal
from nas.latency.learned_costs import units_of
from nas.latency.learned_networks import NetworkModel, fit_networks
from nas.latency.profiles import differences_here, elsewhere
from nas.log import Progress, say
from nas.measuring.fingerprint import check_cores, fingerprint
from nas.measuring.noise import DRIFT, NoisyMachine
from nas.measuring.profiling import (
    UNIT_ERROR,
    calibrating,
    chunks,
    companions,
    in_rounds,
    measure_some,
    spread_networks,
    worst,
)
from nas.measuring.run_cache import Item, RunCache, params_of, room
from nas.measuring.timing import Timing, pooled
from nas.runs.store import RunStore, offering
from nas.runtimes import Setting, make_runtime
from search_spaces.architecture import Architecture
from search_spaces.costs.latency import FORMAT, DeviceModel, UnitTimes, model_of, read_model, representatives, text_of
from search_spaces.costs.pieces import cost
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units
from search_spaces.textfiles import expanded, read_text
from search_spaces.units import Unit, units

CALIBRATION, HELD_OUT, GIVEN = "calibration", "held_out", "given"
"""What a measured network is for: choosing the model, telling its error, or the user's own interest."""

K = TypeVar("K", bound=Hashable)

ALL, NETWORKS, NONE = "all", "networks", "none"
"""Which units are measured: those that tell the time of every unit of the space, those of the networks that are measured, or none: the
model is then learned from whole networks alone, which saves hours with a runtime that takes long to prepare a unit."""

LEARNED = "learned from networks"
"""The form of a model for which units need not be measured."""

COMPANIONS = 24
"""Units of a profile that are measured again when others are added to it."""

REFERENCE_UNITS, REFERENCE_NETWORKS = 16, 5
"""How many of the units and of the networks that were measured before are measured again beside each further chunk.

Not everything fits into memory at once, and a machine changes its speed by some per cent in the minutes between two chunks. The median
change of these says by how much, for all of the chunk alike.
"""

PREPARED = ".prepared"
"""What the folder of exported or compiled files has behind the name of its profile, while the profile is made."""

REPEATED_UNITS, REPEATED_NETWORKS, COMPOSED = 16, 6, 24
"""How many units are measured a second time, how many networks where each would have to be prepared anew for minutes (elsewhere all of
them), and how many branches are measured whose time is composed of others.
"""

UNSEEN = 0.6
"""Share of the error of a sum of measured units that a model learned from networks must stay below to be taken. Networks of the calibration
are predicted by others like them, and cross-validation finds 1.6 to 2.0 % on `images32` where held-out networks show 4 to 5 %; a sum of
measured units has about the same error on both.
"""

PASS_ERROR = 1.4
"""How much larger the error of a network's time may be in each of its two passes than in their mean.

A machine's speed changes by some per cent within minutes, for all networks alike. More rounds in one go cannot tell that; networks are
measured before the units and anew after them, and the mean of both is taken.
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a profile measures.

    Args:
        device: what costs will call the device.
        space: complete, bound to the channels, classes and resolution of the data.
        setting: how networks are run.
        calibration, held_out: number of networks that choose the model, and that tell its error.
        which: `ALL`, `NETWORKS` or `NONE`.
        networks: further architectures that are measured and shown.
        error: of a network's time, relative, at which its measurement ends.
        seconds: of measuring, about; None for as long as the error needs.
        noisy: whether times of a noisy machine are taken.
    """

    device: str
    space: SearchSpace
    setting: Setting
    calibration: int = 25
    held_out: int = 30
    which: str = ALL
    networks: tuple[Architecture, ...] = ()
    error: float = 0.01
    seconds: float | None = None
    noisy: bool = False
    seed: int = 0

    def to_dict(self, found: dict[str, Any]) -> dict[str, Any]:
        """What a journal is bound to.

        Args:
            found: the fingerprint of this device.
        """
        return {
            "device": self.device,
            "space": self.space.digest,
            "calibration": self.calibration,
            "held_out": self.held_out,
            "units": self.which,
            "networks": [arch.digest for arch in self.networks],
            "error": self.error,
            "seed": self.seed,
            "fingerprint": found,
        }


def make_profile(plan: Plan, path: str | Path, show: bool = True, prepared: str | Path | None = None) -> DeviceModel:
    """Measures a device and writes its profile.

    Args:
        path: of the profile. What is measured is kept in a file beside it until the profile is whole.
        show: progress on standard error.
        prepared: a folder for exported or compiled files, which stays; one beside the profile, which is removed with the last
            measurement, if it is None.

    Raises:
        NoisyMachine: something disturbs the machine, and the plan does not take that. What was measured before is kept,
            unless the device has changed its speed meanwhile.
        InputError: the runtime or the device is missing, a network cannot be run, or the file cannot be written.
    """
    out, found = expanded(path), _fingerprint(plan)
    journal = Journal(out, plan.to_dict(found))
    work = _Work(plan, journal, show, expanded(prepared) if prepared else _beside(out))
    roles = work.choose()
    work.prepare(roles)
    work.measure_networks(roles)
    work.measure_units(roles)
    work.measure_again(roles)
    work.check_level()
    data = work.summary(roles, found)
    model = model_of(data, path)
    with offering("out=PATH in such a folder"):
        RunStore(out.parent).write_text(out.name, text_of(data))
    journal.remove()
    shutil.rmtree(_beside(out), ignore_errors=True)
    if hurry := worst(journal.noises).hurry():
        say(hurry)
    return model


def prepare_profile(plan: Plan, path: str | Path, show: bool = True, prepared: str | Path | None = None) -> None:
    """Exports or compiles everything that `make_profile` with the same arguments will measure, and measures nothing.

    It takes most of the time that a profile of a slow runtime takes, and the machine may be busy meanwhile. When it was interrupted, it
    resumes.

    Raises:
        InputError: as `make_profile`.
    """
    out = expanded(path)
    journal = Journal(out, plan.to_dict(_fingerprint(plan)))
    work = _Work(plan, journal, show, expanded(prepared) if prepared else _beside(out))
    work.prepare(work.choose(), keep=False)


def _fingerprint(plan: Plan) -> dict[str, Any]:
    """Of this device, after a check that it has a core for each thread."""
    check_cores(plan.setting.threads)
    return fingerprint(plan.setting)


def _beside(path: Path) -> Path:
    """The folder of what is prepared for a profile."""
    return path.with_name(path.name + PREPARED)


Roles = dict[str, tuple[Architecture, str]]
"""Architecture and role of the networks that are measured, by digest."""


class _Work:
    """The steps of a profile; each begins with what the journal has."""

    def __init__(self, plan: Plan, journal: Journal, show: bool, folder: Path) -> None:
        self.plan, self.journal, self.show = plan, journal, show
        self.setting = make_runtime(plan.setting.runtime).settled(plan.setting)
        self.known, self.room = space_units(plan.space), room(self.setting.device)
        self.cache = RunCache(self.setting, plan.seed, folder, self.room)

    def choose(self) -> Roles:
        """Networks for calibration and held-out ones, which are different."""
        plan, count = self.plan, self.plan.calibration + self.plan.held_out
        found = spread_networks(plan.space, min(count, plan.space.size), plan.seed)
        if len(found) < count:
            # The fewest that the settings allow are 3 for calibration and 2 held-out ones.
            calibration = max(3, min(len(found) - 2, len(found) * plan.calibration // count))
            fits = f"calibration={calibration} heldout={len(found) - calibration}"
            raise InputError(
                f"space {plan.space.name} gave {len(found)} different networks, and {plan.calibration} for calibration and "
                f"{plan.held_out} held-out ones are asked for",
                "no more than the space has, and 3 for calibration and 2 held-out ones at least",
                fits if len(found) >= 5 else "a space with more networks",
            )
        roles: Roles = {arch.digest: (arch, GIVEN) for arch in plan.networks}
        chosen = calibrating(found, plan.calibration, plan.seed)
        for arch in found:
            roles[arch.digest] = (arch, CALIBRATION if arch.digest in chosen else HELD_OUT)
        return roles

    def prepare(self, roles: Roles, keep: bool = True) -> None:
        """Everything that is to be measured, before the first measurement, where the runtime takes long for it: between two measurements
        that are compared the machine should have no time to change its speed.

        Args:
            keep: in memory, as far as it fits there, and not only in files.
        """
        if not self.cache.slow:
            return
        needed = self._needed_units(roles)
        items: list[Item] = [*needed, *self._composed(set(needed)), *(arch for arch, _ in roles.values())]
        keep = keep and sum(map(params_of, items)) <= self.room
        progress = self._progress("prepared", len(items), 0)
        done = 0
        for chunk in chunks(items, params_of):
            self.cache.runs(chunk, lambda number, before=done: progress.update(before + number) if progress else None)
            done += len(chunk)
            if not keep:
                self.cache.forget()

    def measure_units(self, roles: Roles) -> None:
        """Every unit that is needed and not measured yet."""
        needed = self._needed_units(roles)
        left = [unit for unit in needed if unit not in self.journal.units]
        # In random order, so that what disturbs one chunk disturbs no kind or stage alone.
        random.Random(f"units {self.plan.seed}").shuffle(left)
        with_progress = self._progress("units", len(needed), len(needed) - len(left))
        for chunk in chunks(left, params_of, self.room):
            self.journal.add_units(
                self._measure_units(chunk, needed, len(left), 0.5, with_progress, self.journal.units)
            )

    def _needed_units(self, roles: Roles) -> list[Unit]:
        """The units that are measured, each once."""
        return [] if self.plan.which == NONE else representatives(self._wanted(roles))

    def _composed(self, measured: Collection[Unit]) -> list[Unit]:
        """Some units whose time is composed of others', and is compared with a measurement of their own."""
        composed = [unit for unit in self.known if unit not in measured] if self.plan.which == ALL else []
        return random.Random(f"composed {self.plan.seed}").sample(composed, min(COMPOSED, len(composed)))

    def _wanted(self, roles: Roles) -> list[Unit]:
        """The units whose time the profile tells, each once."""
        used = (unit for arch, _ in roles.values() for _, unit in units(arch))
        return list(dict.fromkeys((*self.known, *used) if self.plan.which != NETWORKS else used))

    def measure_networks(self, roles: Roles) -> None:
        """Every network that is not measured yet, those of all roles mixed."""
        left = [digest for digest in roles if digest not in self.journal.networks]
        random.Random(f"order {self.plan.seed}").shuffle(left)
        progress = self._progress("networks", len(roles), len(roles) - len(left))
        for chunk in chunks(left, lambda digest: params_of(roles[digest][0]), self.room):
            timings = self._measure_networks(roles, chunk, self.journal.networks, len(left), progress)
            self.journal.add_networks(timings)

    def measure_again(self, roles: Roles) -> None:
        """Networks and some units a second time, and some branches whose time is composed."""
        if self.journal.repeats:
            return
        rng = random.Random(f"again {self.plan.seed}")
        measured = list(self.journal.units)
        chosen = rng.sample(measured, min(REPEATED_UNITS, len(measured))) + self._composed(self.journal.units)
        networks = list(roles)
        if not self.cache.is_quick_again([arch for arch, _ in roles.values()]):
            held_out = [digest for digest, (_, role) in roles.items() if role == HELD_OUT]
            networks = rng.sample(held_out, min(REPEATED_NETWORKS, len(held_out)))
        rng.shuffle(networks)
        again: dict[str, Timing] = {}
        progress = self._progress("again", len(chosen) + len(networks), 0)
        for chunk in chunks(chosen, params_of, self.room):
            timings = self._measure_units(chunk, measured, len(chosen), 0.1, progress, {})
            again |= {str(unit): timing for unit, timing in timings.items()}
        second: dict[str, Timing] = {}
        for digests in chunks(networks, lambda digest: params_of(roles[digest][0]), self.room):
            second |= self._measure_networks(roles, digests, second, len(networks), progress)
        self.journal.add_repeats(again | second)

    @property
    def _change(self) -> float:
        """By what share networks took longer when they were measured again: the median. 0 where none were."""
        first, second = self.journal.networks, self.journal.repeats
        ratios = [second[digest].ms / timing.ms for digest, timing in first.items() if digest in second]
        return statistics.median(ratios) - 1 if ratios else 0.0

    def check_level(self) -> None:
        """Whether the device was as fast at the end as at the start, which of a profile that was interrupted may be days ago.

        Raises:
            NoisyMachine: it was not, and the plan does not take that. What was measured is discarded: it does not fit together.
        """
        change = self._change
        if self.plan.noisy or abs(change) <= DRIFT:
            return
        self.journal.remove()
        raise NoisyMachine(
            f"networks take {abs(change):.0%} {'more' if change > 0 else 'less'} time when they are measured again: the device has changed its "
            "speed, and what was measured is discarded",
            f"a machine whose speed changes by no more than {DRIFT:.0%} from the first to the last measurement",
            "the same command again; noisy=true measures all the same, and says so",
        )

    def summary(self, roles: Roles, found: dict[str, Any]) -> dict[str, Any]:
        """The profile as plain data."""
        plan, journal, networks = self.plan, self.journal, self._networks()
        times = UnitTimes({unit: timing.ms for unit, timing in journal.units.items()})
        chosen, floor, forms = fit(roles, networks, times)
        learned = learn(roles, networks, plan.seed)
        if learned is not None:
            forms.append(Fitted(f"{LEARNED}: {learned.name}", learned.base, {"learned": 1.0}, learned.accuracy.mape))
            knows_units = any(name.partition(".")[0] == "ms" for name in chosen.weights)
            if forms[-1].is_better_than(chosen, UNSEEN if knows_units else BETTER):
                chosen = forms[-1]
                times = UnitTimes(times.measured, {unit: learned.unit_ms(unit) for unit in self._wanted(roles)})
        model = DeviceModel(plan.device, times, chosen.base, chosen.weights)
        predicted = {digest: model.predict(arch) for digest, (arch, _) in roles.items()}
        return {
            "format": FORMAT,
            "device": plan.device,
            "space": {
                "name": plan.space.name, "digest": plan.space.digest, "in_channels": plan.space.in_channels,
                "num_classes": plan.space.num_classes, "resolution": plan.space.resolution, "units": len(self.known), "measured": plan.which,
            },
            "setting": self.setting.to_dict(),
            "fingerprint": found,
            "noisy": bool(worst(journal.noises).problems()) or abs(self._change) > DRIFT,
            "model": {"form": chosen.form, "base": chosen.base, "weights": dict(chosen.weights)},
            "errors": {
                **errors_of(roles, networks, predicted, floor),
                "cross_validation": {form.form: form.error for form in forms},
                "repeat": self._repeat_errors(times),
            },
            "networks": [
                {
                    "digest": digest, "role": role, **_numbers(networks[digest]), "predicted": predicted[digest],
                    "macs": cost(arch).macs, "architecture": arch.to_dict(),
                }
                for digest, (arch, role) in roles.items()
            ],
            "units": self._unit_lines(times),
        }  # fmt: skip

    def _networks(self) -> dict[str, Timing]:
        """The time of each network, of both passes where there were two."""
        first, second = self.journal.networks, self.journal.repeats
        return {digest: pooled(one, second[digest]) if digest in second else one for digest, one in first.items()}

    def _unit_lines(self, times: UnitTimes) -> list[dict[str, Any]]:
        """The units that were measured or learned, in the order of the forward pass."""
        place = {unit: number for number, unit in enumerate(self.known)}
        found = sorted({**self.journal.units, **times.learned}, key=lambda unit: place.get(unit, len(place)))
        lines = []
        for unit in found:
            learned = {"learned": times.learned[unit]} if unit in times.learned else {}
            lines.append(time_of(self.journal.units.get(unit)) | learned | unit.to_dict())
        return lines

    def _repeat_errors(self, times: UnitTimes) -> dict[str, Any]:
        """Mean relative difference between two measurements of units and of networks, and between composed and measured times."""
        found: dict[str, list[float]] = {"units": [], "networks": [], "composed": []}
        by_name = {str(unit): unit for unit in (*self.known, *self.journal.units) if str(unit) in self.journal.repeats}
        for name, timing in self.journal.repeats.items():
            unit = by_name.get(name)
            if unit is None:
                found["networks"].append(abs(timing.ms / self.journal.networks[name].ms - 1))
            else:
                first = times(unit)
                kind = "units" if unit in self.journal.units else "composed"
                found[kind] += [] if first is None else [abs(first / timing.ms - 1)]
        return {kind: statistics.fmean(values) for kind, values in found.items() if values}

    def _measure_units(
        self,
        chunk: Sequence[Unit],
        known: Sequence[Unit],
        total: int,
        share: float,
        progress: Progress | None,
        measured: Mapping[Unit, Timing],
    ) -> dict[Unit, Timing]:
        """As `_measure`, among enough other units of `known`, and on the scale of those that were measured before."""
        references = companions(chunk, list(measured), self.plan.seed, len(chunk) + REFERENCE_UNITS)
        others = [*references, *companions([*chunk, *references], known, self.plan.seed)]
        found = self._measure([*chunk, *others], total, UNIT_ERROR, share, progress, len(chunk))
        return on_scale({unit: found[unit] for unit in chunk}, [(measured[unit], found[unit]) for unit in references])

    def _measure_networks(
        self, roles: Roles, chunk: Sequence[str], measured: Mapping[str, Timing], total: int, progress: Progress | None
    ) -> dict[str, Timing]:
        """As `_measure`, by digest, on the scale of those that were measured before."""
        quickest = sorted(measured, key=lambda digest: measured[digest].ms)
        references = [digest for digest in quickest if digest not in chunk][:REFERENCE_NETWORKS]
        archs = [roles[digest][0] for digest in (*chunk, *references)]
        found = dict(
            zip(
                (*chunk, *references),
                self._measure(archs, total, PASS_ERROR, 0.2, progress, len(chunk)).values(),
                strict=True,
            )
        )
        return on_scale(
            {digest: found[digest] for digest in chunk}, [(measured[digest], found[digest]) for digest in references]
        )

    def _measure(
        self,
        chunk: Sequence[Any],
        total: int,
        looser: float,
        share: float,
        progress: Progress | None = None,
        counted: int | None = None,
    ) -> dict[Any, Timing]:
        """Times of some units or architectures.

        Args:
            looser: times the plan's error.
            share: of the plan's seconds that goes to `total` such things.
            progress: gets how many are prepared and measured.
            counted: how many of them count as measured; all by default.
        """
        counted = len(chunk) if counted is None else counted
        done = progress.first if progress else 0

        def prepared(number: int) -> None:
            if progress:
                progress.update(min(done, progress.total - 1), prepared=number)

        plan = self.plan
        seconds = None if plan.seconds is None else in_rounds(counted, total, share * plan.seconds)
        measured = measure_some(
            chunk, self.setting, seed=plan.seed, error=looser * plan.error, seconds=seconds, noisy=plan.noisy, prepared=prepared,
            cache=self.cache,
            level=True,
        )  # fmt: skip
        self.journal.add_noise(measured.noise)
        if progress:
            progress.first = done + counted
            progress.update(progress.first)
        return dict(zip(chunk, measured.timings.values(), strict=True))

    def _progress(self, what: str, total: int, done: int) -> Progress | None:
        return Progress(f"profile: {what}", total, done) if self.show and done < total else None


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


def on_scale(found: Mapping[K, Timing], references: Sequence[tuple[Timing, Timing]]) -> dict[K, Timing]:
    """Timings as they would have been when the references were measured for the first time.

    Args:
        found: what was measured beside the references now.
        references: of each, its timing then and its timing now; with none, timings stay as they are.
    """
    change = statistics.median(then.ms / now.ms for then, now in references) if references else 1.0
    return {
        key: replace(timing, ms=change * timing.ms, low=change * timing.low, high=change * timing.high)
        for key, timing in found.items()
    }


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


def add_units(
    path: str | Path, archs: Sequence[Architecture], *, seed: int = 0, error: float = 0.01, noisy: bool = False
) -> list[Unit]:
    """Measures the units of architectures that a profile of this device lacks, and adds them to it, some at a time. What was added stays
    when it is interrupted.

    Returns:
        The units that were added.

    Raises:
        InputError: the profile is of another device or was learned from whole networks, or the file cannot be read or written.
        NoisyMachine: something disturbs the machine, and `noisy` is false.
    """
    model = read_model(path)
    if differences_here(model):
        raise elsewhere(model, path)
    if model.is_learned:
        raise InputError(
            f"profile {path} was learned from whole networks, and the time of a unit that is measured alone is nothing beside its times",
            "a profile of measured units",
            "nas profile space=SPACE units=all out=FILE for a new one, or units=none with these networks in its space",
        )
    setting, measured = Setting(**model.about["setting"]), model.times.measured
    missing = list(dict.fromkeys(unit for arch in archs for unit in model.missing(arch)))
    for chunk in chunks(missing, params_of):
        known = companions(chunk, list(measured), seed, len(chunk) + COMPANIONS)
        measurement = measure_some([*chunk, *known], setting, seed=seed, error=UNIT_ERROR * error, noisy=noisy)
        found = measurement.timings
        # What was measured before tells how much faster or slower the device is now, and in this company.
        before = [
            (replace(found[len(chunk) + number], ms=measured[unit]), found[len(chunk) + number])
            for number, unit in enumerate(known)
        ]
        scaled = on_scale({unit: found[place] for place, unit in enumerate(chunk)}, before)
        lines = [time_of(timing) | unit.to_dict() for unit, timing in scaled.items()]
        _add_lines(path, lines, measurement.noisy)
    return missing


def _add_lines(path: str | Path, lines: list[dict[str, Any]], noisy: bool) -> None:
    """Adds lines of units to a profile.

    Args:
        noisy: whether the machine was, when they were measured.
    """
    out = expanded(path)
    data = json.loads(read_text(out))
    data["units"] += lines
    data["noisy"] = data["noisy"] or noisy
    model_of(data, path)
    with offering("a copy of the profile in such a folder"):
        RunStore(out.parent).write_text(out.name, text_of(data))

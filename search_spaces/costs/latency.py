"""The cost `latency_ms@DEVICE`: how long a network takes on a device, predicted from a profile of that device.

    latency = base + sum over the units of the network of (weight * quantity of the unit)

The quantities are the unit's measured time (`ms`), its number (`units`, which is 1), what can be counted (`macs`, `params`, `elements` of
its input map), and a time that was learned from whole networks (`learned`). Which of them a profile uses, and with which weights, was
decided by cross-validation on whole networks when the profile was made (`nas profile`).

A profile is a JSON file with one line per unit and per network:

    format       1
    device       what costs call it: latency_ms@DEVICE
    space        name, digest and sizes of the space, and which of its units were measured (all, networks or none)
    setting      runtime, device, threads, batch, dtype and layout
    fingerprint  what the times hold for: processor or GPU, versions, allocator and the setting
    noisy        whether the machine was too noisy, but was measured anyway
    signs        of that, as sentences; files of before have none
    model        form (its name), base in ms, and weights by quantity ("ms", "ms.ffn" for one kind of unit, or "units.ffn.mlp" for those of one part)
    errors       of the model on networks that it was not fitted on, and of a model of MACs alone
    networks     digest, role (calibration, held_out or given), ms (mean of the medians of two passes), low and high (which contain their 95 %
                 intervals), rounds, predicted, macs, architecture
    units        ms, error (half of that interval, relative) and rounds, or learned, or both; then the unit: kind, parts, dims, height, width
                 and perhaps bias

Times are in milliseconds for one batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, Cost, add_cost
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded, resolved
from search_spaces.units import Unit, units

LATENCY = "latency_ms"
"""The cost of the device that a search runs on; with `@` and a name, of that device."""

QUANTITIES = ("ms", "units", "macs", "params", "elements", "learned")
"""What a weight may be of."""


@dataclass(frozen=True)
class DeviceModel:
    """A device as its profile describes it.

    Args:
        device: its name in the names of costs.
        times: milliseconds of units.
        base: milliseconds that every network takes besides its units; may be negative.
        weights: milliseconds per quantity of a unit, by the quantity ("ms"), by quantity and kind of unit ("ms.ffn"), or by these and the name of
            the unit's part ("units.ffn.mlp").
        form: what the model is called.
        about: the rest of the profile, as the file has it.
    """

    device: str
    times: UnitTimes
    base: float = 0.0
    weights: Mapping[str, float] = field(default_factory=lambda: {"ms": 1.0})
    form: str = "units"
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the cost: `latency_ms@DEVICE`."""
        return f"{LATENCY}@{self.device}"

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """The machine and setting that the times hold for; empty if the profile does not say."""
        return self.about.get("fingerprint", {})

    @property
    def errors(self) -> Mapping[str, Any]:
        """On whole networks that the model was not fitted on; empty where the profile does not say."""
        return self.about.get("errors", {})

    @property
    def is_learned(self) -> bool:
        """Whether the times of its units were learned from whole networks, and so cannot be measured one by one."""
        return any(key.partition(".")[0] == "learned" for key in self.weights)

    def unit_ms(self, unit: Unit) -> float | None:
        """Milliseconds of a unit alone, measured or composed of measured ones; None where neither is possible."""
        return self.times(unit)

    @cached_property
    def _split(self) -> list[tuple[str, tuple[str, ...], float]]:
        """Of each weight: the quantity, the kind of unit and the part as far as it is of one, and the weight."""
        words = ((key.split(".", 2), weight) for key, weight in self.weights.items())
        return [(name, tuple(of), weight) for (name, *of), weight in words]

    @cached_property
    def _by_part(self) -> dict[tuple[str, str], tuple[tuple[str, float], ...]]:
        """Quantity and weight, by kind and part of units; filled as units come."""
        return {}

    def _weights_of(self, unit: Unit) -> tuple[tuple[str, float], ...]:
        key = (unit.kind, unit.part.name)
        found = self._by_part.get(key)
        if found is None:
            found = tuple((name, weight) for name, of, weight in self._split if of == key[: len(of)])
            self._by_part[key] = found
        return found

    def of_unit(self, unit: Unit) -> float | None:
        """What a unit adds to the latency of a network, at least 0; None where that is not known."""
        total = 0.0
        for name, weight in self._weights_of(unit):
            amount = quantity(name, unit, self.times)
            if amount is None:
                return None
            total += weight * amount
        return max(0.0, total)

    def predict(self, arch: Architecture) -> float | None:
        """Milliseconds of a complete architecture, at least 0; None where the time of a unit is not known."""
        total = self.base
        for _, unit in units(arch):
            added = self.of_unit(unit)
            if added is None:
                return None
            total += added
        return max(0.0, total)

    def missing(self, arch: Architecture) -> list[Unit]:
        """The units of a complete architecture whose time is not known, each once."""
        return [unit for unit in dict.fromkeys(unit for _, unit in units(arch)) if self.of_unit(unit) is None]

    def cost(self, name: str, origin: str) -> Cost:
        """The latency as a cost.

        Args:
            name: `self.name`, or `LATENCY` on the device itself.
            origin: the file.
        """
        about = f"on {self.device}, predicted{self._worded_error()}"
        return Cost(name, "ms", about, self.predict, origin, Additive(self.of_unit, self.base))

    def _worded_error(self) -> str:
        held_out = self.errors.get("held_out", {})
        return f" (mean error {held_out['mape']:.1%} on held-out networks)" if "mape" in held_out else ""


def quantity(name: str, unit: Unit, times: UnitTimes) -> float | None:
    """One of `QUANTITIES` of a unit; None where it was not measured."""
    if name == "ms":
        return times(unit)
    if name == "learned":
        return times.learned.get(unit)
    if name == "units":
        return 1.0
    if name == "elements":
        return float(unit.dims[0] * unit.height * unit.width)
    return float(getattr(unit_cost(unit), name))


def add_model(model: DeviceModel, path: str | Path, here: bool = False) -> None:
    """Registers `latency_ms@DEVICE`.

    Args:
        path: of the profile.
        here: register the device also as `latency_ms`.

    Raises:
        InputError: another cost has this name.
    """
    origin = origin_of(path)
    for name in (model.name, LATENCY) if here else (model.name,):
        try:
            add_cost(model.cost(name, origin))
        except TypeError as error:
            raise InputError(
                f"profile {path} is of device {model.device!r}: {error}",
                "profiles of devices with different names",
                f"another name for one of them: its key device in {path}",
            ) from None


def origin_of(path: str | Path) -> str:
    """The origin of the costs of a profile."""
    return f"a profile in {resolved(expanded(path))}"


__all__ = ["LATENCY", "DeviceModel", "add_model", "origin_of", "quantity"]

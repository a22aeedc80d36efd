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
    noisy        whether the machine was too noisy, and the times were asked for nevertheless
    model        form (its name), base in ms, and weights by quantity ("ms", "ms.ffn" for one kind of unit, or "units.ffn.mlp" for those of one part)
    errors       of the model on networks that it was not fitted on, and of a model of MACs alone
    networks     digest, role (calibration, held_out or given), ms (mean of the medians of two passes), low and high (which contain their 95 %
                 intervals), rounds, predicted, macs, architecture
    units        ms, error (half of that interval, relative) and rounds, or learned, or both; then the unit: kind, parts, dims, height, width
                 and perhaps bias

Times are in milliseconds for one batch.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, Cost, add_cost, is_cost_name
from search_spaces.costs.pieces import unit_cost
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded, read_text
from search_spaces.units import PARTS_OF, Unit, units

FORMAT = 1

LATENCY = "latency_ms"
"""The cost of the device that a search runs on; with `@` and a name, of that device."""

QUANTITIES = ("ms", "units", "macs", "params", "elements", "learned")
"""What a weight may be of."""

BRANCHES = ("mixer", "ffn")
"""The kinds of units whose time is composed where it was not measured."""

_KEYS = ("device", "space", "setting", "fingerprint", "noisy", "model", "errors", "networks", "units")


class UnitTimes:
    """Milliseconds of units: those that were measured, and branches that are composed of measured ones.

    A branch has a norm, a mixer or FFN, a scale and perhaps a position bias. Spaces offer every combination of them, too many to measure.
    Norm, scale and bias cost nearly the same beside every set of options of one mixer, so their cost is taken from one measured branch of
    its kind, its mixer's name and its map, the reference: the one beside which most others were measured that differ in one part.

        time(norm, mixer, scale, bias) = time of (norm0, mixer, scale0, bias0), and what each of norm, scale and bias changes of the reference

    Args:
        measured: milliseconds by unit, in any order.
        learned: milliseconds by unit, as whole networks tell them.
    """

    def __init__(self, measured: Mapping[Unit, float], learned: Mapping[Unit, float] | None = None) -> None:
        self.measured, self.learned = dict(measured), dict(learned or {})
        self._references = _references(self.measured)
        self._composed: dict[Unit, float | None] = {}

    def __call__(self, unit: Unit) -> float | None:
        """Milliseconds, or None where they are neither measured nor composed of what was measured."""
        found = self.measured.get(unit)
        if found is not None or unit.kind not in BRANCHES:
            return found
        if unit not in self._composed:
            self._composed[unit] = self._compose(unit)
        return self._composed[unit]

    def _compose(self, unit: Unit) -> float | None:
        for reference in self._references.get(_family(unit), ()):
            needed = [self.measured.get(part) for part in composed_of(unit, reference)]
            first, *changes = (ms for ms in needed if ms is not None)
            if len(changes) == len(needed) - 1:
                return max(0.0, first + sum(changed - self.measured[reference] for changed in changes))
        return None


def _references(measured: Iterable[Unit]) -> dict[tuple[Any, ...], list[Unit]]:
    """The branches that others may be composed with, by family, the best reference first. It does not depend on the order of `measured`."""
    families: dict[tuple[Any, ...], list[Unit]] = {}
    for unit in measured:
        if unit.kind in BRANCHES:
            families.setdefault(_family(unit), []).append(unit)
    beside = Counter(key for family in families.values() for unit in family for key in _but_one_part(unit))

    def rank(unit: Unit) -> tuple[int, str]:
        return -sum(beside[key] for key in _but_one_part(unit)), repr(unit)

    return {key: sorted(family, key=rank) for key, family in families.items()}


def _but_one_part(unit: Unit) -> Iterator[tuple[Any, ...]]:
    """What a branch has in common with those that differ from it in the norm, in the options of the body, in the scale or in the bias."""
    for place in range(len(unit.parts)):
        yield place, _family(unit), unit.parts[:place], unit.parts[place + 1 :], unit.bias
    yield len(unit.parts), _family(unit), unit.parts


def _family(unit: Unit) -> tuple[Any, ...]:
    """What branches with one reference have in common."""
    return unit.kind, unit.parts[1].name, unit.dims, unit.height, unit.width


def composed_of(unit: Unit, reference: Unit) -> tuple[Unit, ...]:
    """The branches whose times compose that of `unit`: with the mixer or FFN of `unit` and all else of the reference, then the reference
    with the norm, with the scale and with the position bias of `unit`.
    """
    (norm, body, scale), (norm0, body0, scale0) = unit.parts, reference.parts
    return (
        reference._replace(parts=(norm0, body, scale0)),
        reference._replace(parts=(norm, body0, scale0)),
        reference._replace(parts=(norm0, body0, scale)),
        reference._replace(bias=unit.bias),
    )


def representatives(wanted: Sequence[Unit]) -> list[Unit]:
    """Units that have to be measured so that the time of each of `wanted` is measured or composed; never more than `wanted` has."""
    references: dict[tuple[Any, ...], Unit] = {}
    found: dict[Unit, None] = {}
    for unit in wanted:
        if unit.kind not in BRANCHES:
            found[unit] = None
            continue
        reference = references.setdefault(_family(unit), unit)
        found[reference] = None
        for part in composed_of(unit, reference):
            found[part] = None
    return list(found) if len(found) < len(wanted) else list(dict.fromkeys(wanted))


@dataclass(frozen=True)
class DeviceModel:
    """A device as its profile describes it.

    Args:
        device: its name in the names of costs.
        times: milliseconds of units.
        base: milliseconds that every network takes beside its units; may be below 0.
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
        """What the times hold for; empty where the profile does not say."""
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
    return f"a profile in {expanded(path).resolve()}"


def read_model(path: str | Path) -> DeviceModel:
    """The device that a profile describes.

    Raises:
        InputError: no such file, or no whole profile of this format.
    """
    try:
        text = read_text(expanded(path))
    except OSError as error:
        raise InputError(
            f"profile {path} cannot be read ({error.strerror or error})",
            "a profile that `nas profile` wrote",
            f"nas profile space=SPACE out={path}",
        ) from None
    except UnicodeError as error:
        raise _damaged(path, f"is not UTF-8 ({error})") from None
    try:
        data = json.loads(text)
    except ValueError as error:  # no JSON, or a number of thousands of digits
        raise _damaged(path, f"is cut off or damaged ({error})") from None
    return model_of(data, path)


def model_of(data: Any, path: str | Path) -> DeviceModel:
    """The device that the content of a profile describes.

    Args:
        path: for messages.

    Raises:
        InputError: no profile of this format.
    """
    if not isinstance(data, dict) or "format" not in data:
        raise _damaged(path, "is no profile: it has no key format")
    if data["format"] != FORMAT:
        raise InputError(
            f"profile {path} has format {data['format']!r}",
            f"format {FORMAT}, which this version writes",
            f"nas profile space=SPACE out={path}.new, or the version of nas that wrote it",
        )
    for key in _KEYS:
        if key not in data:
            raise _damaged(path, f"lacks the key {key}")
    device, model = data["device"], data["model"]
    if not isinstance(device, str) or not device or not is_cost_name(f"{LATENCY}@{device}"):
        raise _damaged(path, f"calls its device {device!r}, which is no name")
    if not isinstance(model, dict) or not isinstance(model.get("weights"), dict) or not model["weights"]:
        raise _damaged(path, "has a model without weights")
    for key, weight in (("base", model.get("base")), *model["weights"].items()):
        name, *of = key.split(".", 2)
        if not _is_number(weight) or (key != "base" and (name not in QUANTITIES or (of and of[0] not in PARTS_OF))):
            raise _damaged(path, f"has the weight {key} = {weight!r} in its model")
    _check_about(data, path)
    about = {key: data[key] for key in _KEYS if key not in ("device", "model", "units")}
    times = UnitTimes(*_times(data["units"], path))
    return DeviceModel(device, times, model["base"], model["weights"], str(model.get("form", "")), about)


def _check_about(data: Mapping[str, Any], path: str | Path) -> None:
    """
    Raises:
        InputError: what a profile says beside its model and units is of another type than this module and its users expect.
    """
    for key, kind, words in _TYPES:
        if not isinstance(data[key], kind):
            raise _damaged(path, f"has {json.dumps(data[key])[:40]} for its key {key}, which is {words}")
    for key, found in data["errors"].items():
        if not isinstance(found, dict):
            raise _damaged(path, f"has {json.dumps(found)[:40]} for errors.{key}, which is a table of numbers")
    for key, value in data["errors"].get("held_out", {}).items():
        if not _is_number(value):
            raise _damaged(path, f"has {json.dumps(value)[:40]} for errors.held_out.{key}, which is a number")


_TYPES = (
    ("space", dict, "a table"), ("setting", dict, "a table"), ("fingerprint", dict, "a table"), ("errors", dict, "a table"),
    ("noisy", bool, "true or false"), ("networks", list, "a list"),
)  # fmt: skip
"""The types of what a profile has beside its model and units, and what a message calls them."""

_OF_TIME = ("ms", "error", "rounds", "learned")
"""What a line of a unit has beside the unit."""


def _times(lines: Any, path: str | Path) -> tuple[dict[Unit, float], dict[Unit, float]]:
    """Measured and learned milliseconds of units."""
    if not isinstance(lines, list):
        raise _damaged(path, "has no list of units")
    measured, learned = {}, {}
    for number, line in enumerate(lines, 1):
        given = {key: line[key] for key in ("ms", "learned") if key in line} if isinstance(line, dict) else {}
        if (
            not given
            or not all(map(_is_number, given.values()))
            or given.get("ms", 1) <= 0
            or given.get("learned", 0) < 0
        ):
            raise _damaged(path, f"has no time above 0 for unit {number}")
        try:
            unit = Unit.from_dict({key: value for key, value in line.items() if key not in _OF_TIME})
        except InputError as error:
            raise _damaged(path, f"describes unit {number} wrongly: {error.given}") from None
        for times, key in ((measured, "ms"), (learned, "learned")):
            if key in given:
                times[unit] = float(given[key])
    return measured, learned


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _damaged(path: str | Path, how: str) -> InputError:
    return InputError(
        f"profile {path} {how}",
        "a whole profile, as `nas profile` wrote it",
        f"a copy of it, or nas profile space=SPACE out={path} after {path} is removed",
    )


def text_of(data: Mapping[str, Any]) -> str:
    """A profile as the text of its file, with one line per unit and per network."""
    entries = []
    for key, value in data.items():
        lines = [json.dumps(item, allow_nan=False) for item in value] if isinstance(value, list) else None
        body = json.dumps(value, allow_nan=False) if not lines else "[\n  " + ",\n  ".join(lines) + "\n ]"
        entries.append(f" {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


__all__ = [
    "FORMAT", "LATENCY", "DeviceModel", "UnitTimes", "add_model", "composed_of", "model_of", "origin_of", "quantity", "read_model", "representatives",
    "text_of",
]  # fmt: skip

"""Reading and writing the profile of a device; `search_spaces.costs.latency` describes its format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.costs import LARGEST, is_cost_name
from search_spaces.costs.latency import LATENCY, QUANTITIES, DeviceModel
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError, quoted
from search_spaces.files.plain import RUN, parse
from search_spaces.textfiles import LONG, expanded, read_text
from search_spaces.units import PARTS_OF, Unit

FORMAT = 1

_KEYS = ("device", "space", "setting", "fingerprint", "noisy", "model", "errors", "networks", "units")


def read_model(path: str | Path) -> DeviceModel:
    """The device that a profile describes.

    Raises:
        InputError: no such file, or no whole profile of this format.
    """
    try:
        text = read_text(expanded(path), LONG)
    except OSError as error:
        raise InputError(
            f"profile {path} cannot be read ({error.strerror or error})",
            "a profile that `nas profile` wrote",
            f"nas profile space=SPACE out={path}",
        ) from None
    except UnicodeError as error:
        raise _damaged(path, f"is not UTF-8 ({error})") from None
    try:
        data = parse(text, RUN)
    except ValueError as error:
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
            f"profile {path} has format {quoted(data['format'])}",
            f"format {FORMAT}, which this version writes",
            f"nas profile space=SPACE out={path}.new, or the version of nas that wrote it",
        )
    for key in _KEYS:
        if key not in data:
            raise _damaged(path, f"lacks the key {key}")
    device, model = data["device"], data["model"]
    if not isinstance(device, str) or not device or not is_cost_name(f"{LATENCY}@{device}"):
        raise _damaged(path, f"calls its device {quoted(device)}, which is no name")
    if not isinstance(model, dict) or not isinstance(model.get("weights"), dict) or not model["weights"]:
        raise _damaged(path, "has a model without weights")
    for key, weight in (("base", model.get("base")), *model["weights"].items()):
        name, *of = key.split(".", 2)
        if not _is_number(weight) or (key != "base" and (name not in QUANTITIES or (of and of[0] not in PARTS_OF))):
            raise _damaged(path, f"has the weight {quoted(key)[1:-1]} = {quoted(weight)} in its model")
    _check_about(data, path)
    about = {key: data[key] for key in _KEYS if key not in ("device", "model", "units")}
    about["signs"] = data.get("signs", [])
    times = UnitTimes(*_times(data["units"], path))
    return DeviceModel(device, times, model["base"], model["weights"], str(model.get("form", "")), about)


def _check_about(data: Mapping[str, Any], path: str | Path) -> None:
    """
    Raises:
        InputError: what a profile says beside its model and units is of another type than this module and its users expect.
    """
    for key, kind, words in _TYPES:
        if not isinstance(data.get(key, kind()), kind):
            raise _damaged(path, f"has {json.dumps(data[key])[:40]} for its key {key}, which is {words}")
    versions = data["fingerprint"].get("versions", {})
    if not isinstance(versions, dict):
        raise _damaged(path, f"has {json.dumps(versions)[:40]} for fingerprint.versions, which is a table")
    for key, found in data["errors"].items():
        if not isinstance(found, dict):
            raise _damaged(path, f"has {json.dumps(found)[:40]} for errors.{key}, which is a table of numbers")
    for key, value in data["errors"].get("held_out", {}).items():
        if not _is_number(value):
            raise _damaged(path, f"has {json.dumps(value)[:40]} for errors.held_out.{key}, which is a number")


_TYPES = (
    ("space", dict, "a table"), ("setting", dict, "a table"), ("fingerprint", dict, "a table"), ("errors", dict, "a table"),
    ("noisy", bool, "true or false"), ("signs", list, "a list"), ("networks", list, "a list"),
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
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


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

"""Times of single units that users have measured themselves, on devices where Python does not run.

`write_unit_list` says what has to be measured for a space, in a CSV file with one row per unit. With the times filled in, it is given where
profiles are (`search.profiles=phone.csv`).

    unit,name,macs,latency_ms@phone
    "{""kind"": ""ffn"", ""parts"": ...}",ffn layer_norm mlp(ratio=2) 32 @ 8x8,131072,0.0413

- `unit`: the unit as JSON, as `search_spaces.units.Unit.to_dict` gives it.
- `latency_ms@DEVICE`: milliseconds of the unit for one image; an empty cell is not measured. There may be several devices. Several rows
  of one unit give the median of their values. `latency_ms` alone is of a device that is called as the file.
- `architecture`, which may be left out: a row with the JSON of an arch.json and no unit has the times of a whole network. Five of them or
  more correct the sum of units, as they do in `nas profile`.
- every other column is for reading.

UTF-8, commas; quotes as spreadsheets write them.
"""

import csv
import io
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from nas.runs.tables import as_text
from search_spaces.architecture import Architecture
from search_spaces.costs import is_cost_name
from search_spaces.costs.latency import LATENCY, DeviceModel
from search_spaces.costs.pieces import unit_cost
from search_spaces.costs.table import number_in, read_csv
from search_spaces.costs.unit_times import UnitTimes
from search_spaces.errors import InputError, quoted
from search_spaces.files.plain import parse as parse_json
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.space_units import space_units
from search_spaces.textfiles import expanded
from search_spaces.units import Unit, units

CALIBRATING = 5
"""Whole networks in a table from which on they correct the sum of units."""

_EXAMPLE = f"unit,{LATENCY}@phone"

Item = Unit | Architecture

T = TypeVar("T")


def write_unit_list(space: SearchSpace, path: str | Path, device: str = "phone") -> int:
    """Writes what has to be measured on a device: one row per distinct unit of a space, with an empty cell for its time.

    Args:
        space: complete, bound to the channels, classes and resolution of the data.
        device: what costs call the device.

    Returns:
        The number of units.

    Raises:
        InputError: the file is there already, or cannot be written.
    """
    found, text = space_units(space), io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["unit", "name", "macs", f"{LATENCY}@{device}"])
    rows.writerows([json.dumps(unit.to_dict()), as_text(str(unit)), unit_cost(unit).macs, ""] for unit in found)
    try:
        with expanded(path).open("x", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error})",
            "a new file in a folder that you can write",
            "another path, or remove what is there",
        ) from None
    return len(found)


def is_unit_table(path: str | Path) -> bool:
    """Whether a file that is given as a profile is a table of units, by its suffix."""
    return Path(path).suffix.lower() == ".csv"


def read_unit_table(path: str | Path) -> list[DeviceModel]:
    """The devices of a table of units.

    Raises:
        InputError: the file cannot be read, or is no table as described at the top.
    """
    file = expanded(path)
    reader = csv.DictReader(io.StringIO(read_csv(path, _EXAMPLE), newline=""), strict=True)
    try:
        reader.fieldnames = [(column or "").strip() for column in reader.fieldnames or ()]
        columns = _devices(reader.fieldnames, f"{path}, line 1", file.stem.lower())
        found: dict[str, dict[Item, list[float]]] = {device: {} for device in columns}
        for row in reader:
            for device, item, ms in _times(row, columns, f"{path}, line {reader.line_num}"):
                found[device].setdefault(item, []).append(ms)
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        raise InputError(
            f"{where} is not CSV ({error})", "commas, and quotes around cells that have them", f"correct {where}"
        ) from None
    models = []
    for device, values in found.items():
        medians = {item: statistics.median(several) for item, several in values.items()}
        measured = {item: ms for item, ms in medians.items() if isinstance(item, Unit)}
        if not measured:
            raise InputError(
                f"{path} has no time of a unit in column {columns[device]}",
                "one row for each unit that was measured",
                f"fill in {columns[device]} in {path}",
            )
        whole = {item: ms for item, ms in medians.items() if isinstance(item, Architecture)}
        models.append(_model(device, UnitTimes(measured), whole))
    return models


def _model(device: str, times: UnitTimes, networks: Mapping[Architecture, float]) -> DeviceModel:
    known = [arch for arch in networks if all(times(unit) is not None for _, unit in units(arch))]
    if len(known) < CALIBRATING:
        return DeviceModel(device, times, form="sum of units")
    from nas.latency.fitting import Calibration  # scikit-learn's models take a second to import

    ms = np.array([networks[arch] for arch in known])
    best = Calibration([[unit for _, unit in units(arch)] for arch in known], ms, times).best()
    errors = {"cross_validation": {best.form: best.error}}
    return DeviceModel(device, times, best.base, best.weights, best.form, {"errors": errors})


def _devices(columns: Sequence[str], where: str, stem: str) -> dict[str, str]:
    """The columns of times, by device.

    Args:
        stem: the device of a column that names none.
    """
    if "unit" not in columns:
        allowed = "a column unit with the JSON of each unit, as nas profile space=SPACE list=FILE.csv writes it"
        raise InputError(f"{where}: no column is called unit", allowed, _EXAMPLE)
    found: dict[str, str] = {}
    for column in columns:
        name, _, device = column.lower().partition("@")
        if name != LATENCY:
            continue
        device = device or stem
        if not is_cost_name(f"{LATENCY}@{device}") or device in found:
            allowed = f"{LATENCY}@DEVICE, once per device, in letters, digits and _ . -"
            raise InputError(f"{where}: a column is called {quoted(column)}", allowed, _EXAMPLE)
        found[device] = column
    if not found:
        raise InputError(f"{where}: no column has times", f"a column {LATENCY}@DEVICE", _EXAMPLE)
    return found


def _times(
    row: Mapping[str | None, object], columns: Mapping[str, str], where: str
) -> Iterator[tuple[str, Item, float]]:
    """Device, unit or network, and milliseconds of each time in a row."""
    if row.get(None):  # what stands behind the last column
        raise InputError(
            f"{where} has more cells than columns", "numbers with a point: 3.5, not 3,5", f"correct {where}"
        )
    cells = {name: (value if isinstance(value, str) else "").strip() for name, value in row.items()}
    times = {device: cells[column] for device, column in columns.items() if cells[column]}
    if not times:
        return
    item: Item
    if cells.get("architecture") and not cells["unit"]:
        item = complete(_parsed(cells["architecture"], where, Architecture.from_json))
    else:
        item = _parsed(cells["unit"], where, lambda text: Unit.from_dict(parse_json(text)))
    for device, text in times.items():
        yield device, item, number_in(text, f"{where}: {columns[device]}")


def _parsed(text: str, where: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{where}: {error.given}", error.allowed, error.instead) from None
    except ValueError as error:
        allowed = "the JSON of a unit, as nas profile space=SPACE list=FILE.csv writes it"
        raise InputError(f"{where}: the unit is no JSON ({error})", allowed, f"correct {where}") from None

"""Costs that were measured elsewhere, such as latency on a telephone, from a CSV file of a user's own.

    digest,latency_ms,energy [mJ],architecture
    6c1d0f3a9b2e,3.41,12.5,"{""in_channels"":1, ...}"
    6c1d0f3a9b2e,3.47,12.7,
    90ab12cd34ef,2.90,,

One header row, then one row for each measured network:

- `digest`: the first 12 hexadecimal digits of the architecture's digest, as in front.csv.
- `architecture`, which may be left out: the JSON text of the network's arch.json, or an empty cell.
- every other column is a cost. Its name is the header in lower case, perhaps followed by a unit in brackets. A value is
  a finite number above 0; an empty cell is not measured. Several rows of one digest give the median of their values.

A cost is known for the networks of its column, and not known for all others. UTF-8, commas; quotes as spreadsheets write them.
"""

import csv
import io
import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search_spaces.architecture import Architecture
from search_spaces.costs import BUILT_IN, RESERVED, Cost, add_cost, check_name, is_cost_name
from search_spaces.errors import InputError
from search_spaces.textfiles import LONG, expanded, read_text, resolved

csv.field_size_limit(2**24)  # an architecture's JSON text may be longer than the 128 KiB that are read by default

_HEADER = re.compile(r"\s*(?P<name>[^\[\]]*?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*")
_DIGEST = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class TableCost:
    """Measured values by digest; None for other networks."""

    values: Mapping[str, float]

    def __call__(self, arch: Architecture) -> float | None:
        return self.values.get(arch.digest)


def read_costs(path: str | Path) -> tuple[Architecture, ...]:
    """Registers each cost of a table, once for all.

    Returns:
        The architectures that the table has, each once, in its order.

    Raises:
        InputError: no such file, no table as described above, or a cost of that name from elsewhere. Nothing is registered then.
    """
    table = read_table(path)
    file = expanded(path)
    origin = f"a column of {resolved(file)}"
    check_columns(table, origin)
    for name, unit in table.units.items():
        measured = TableCost(table.medians(name))
        add_cost(Cost(name, unit, f"measured, from {file.name}", measured, origin))
    return tuple(table.architectures.values())


def read_table(path: str | Path) -> "Table":
    """A table of costs; nothing is registered.

    Raises:
        InputError: no such file, or no table as described above.
    """
    return Table(str(path), read_csv(path, _EXAMPLE))


def read_csv(path: str | Path, example: str) -> str:
    """The text of a CSV file.

    Args:
        example: of its columns.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_text(expanded(path), LONG)
    except OSError as error:
        what = f"table of costs {path} cannot be read ({error.strerror or error})"
        raise InputError(what, "a CSV file", f"the path of one, with the columns {example}") from None
    except UnicodeError as error:
        what = f"table of costs {path} is not UTF-8 ({error})"
        raise InputError(what, "CSV files in UTF-8", f"save {path} as CSV in UTF-8") from None


def check_columns(table: "Table", origin: str) -> None:
    """
    Args:
        origin: who wants to register the columns as costs.

    Raises:
        InputError: another cost has the name of a column.
    """
    for name in table.units:
        try:
            check_name(name, origin)
        except TypeError as error:
            raise _taken(table.path, name, str(error)) from None


_EXAMPLE = "digest,latency_ms"


def _taken(path: str, name: str, why: str) -> InputError:
    allowed = (
        f"names of your own, not {', '.join((*BUILT_IN, *RESERVED))}, in letters, digits and _; a name in one table"
    )
    return InputError(
        f"{path}, line 1: {why}", allowed, f"call the column measured_{name}" if is_cost_name(name) else _EXAMPLE
    )


class Table:
    """A table that has been read: units by cost, values by cost and digest, architectures by digest."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.units: dict[str, str] = {}
        self.values: dict[str, dict[str, list[float]]] = {}
        self.architectures: dict[str, Architecture] = {}
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next((row for row in reader if any(cell.strip() for cell in row)), None)
            if header is None:
                raise InputError(
                    f"{path} is empty", f"a header and one row per network: {_EXAMPLE}", f"write {_EXAMPLE} first"
                )
            columns = self._columns(header, reader.line_num)
            before = reader.line_num
            for row in reader:
                line, before = before + 1, reader.line_num  # the first line of the row; a quoted cell may have several
                if any(cell.strip() for cell in row):
                    self._row(row, columns, line)
        except csv.Error as error:
            where = f"{path}, line {reader.line_num}"
            raise InputError(
                f"{where} is not CSV ({error})", "commas, and quotes around cells that have them", f"fix {where}"
            ) from None
        if not any(self.values.values()):
            raise InputError(
                f"{path} has no value", "one row for each network that was measured", f"add rows to {path}"
            )

    def medians(self, name: str) -> dict[str, float]:
        """The values of a cost by digest."""
        return {digest: statistics.median(found) for digest, found in self.values[name].items()}

    def _columns(self, header: list[str], line: int) -> list[str]:
        where = f"{self.path}, line {line}"
        columns = []
        for cell in header:
            match = _HEADER.fullmatch(cell)
            name = (match["name"] if match else cell).lower()
            if name not in ("digest", "architecture"):
                if not match or not is_cost_name(name):
                    raise _column(where, cell)
                self.units[name] = (match["unit"] or "").strip()
                self.values[name] = {}
            if name in columns:
                raise InputError(
                    f"{where}: two columns are called {name}", "each column once", f"leave one out of {self.path}"
                )
            columns.append(name)
        if "digest" not in columns:
            allowed = "a column digest: the first 12 hexadecimal digits of each network's digest, as in front.csv"
            raise InputError(f"{where}: no column is called digest", allowed, _EXAMPLE)
        if not self.units:
            raise InputError(
                f"{where}: no column is a cost", "one or more columns beside digest and architecture", _EXAMPLE
            )
        return columns

    def _row(self, row: list[str], columns: list[str], line: int) -> None:
        where = f"{self.path}, line {line}"
        if len(row) > len(columns) and any(cell.strip() for cell in row[len(columns) :]):
            raise InputError(
                f"{where} has {len(row)} cells", f"{len(columns)}, as the header", "numbers with a point: 3.5, not 3,5"
            )
        cells = dict.fromkeys(columns, "") | {name: cell.strip() for name, cell in zip(columns, row, strict=False)}
        digest = cells["digest"].lower()
        if not _DIGEST.fullmatch(digest):
            allowed = "the first 12 hexadecimal digits of the network's digest, as in front.csv"
            raise InputError(
                f"{where}: digest is {_short(cells['digest'])}",
                allowed,
                f"fix {where} (a spreadsheet's text format keeps digits)",
            )
        if cells.get("architecture"):
            try:
                arch = Architecture.from_json(cells["architecture"])
            except InputError as error:
                raise InputError(f"{where}: {error.given}", error.allowed, error.instead) from None
            if arch.digest != digest:
                raise InputError(
                    f"{where}: digest is {digest}, and that of its architecture is {arch.digest}",
                    "the digest of the architecture in its row", f"digest {arch.digest}, or leave the architecture out",
                )  # fmt: skip
            self.architectures.setdefault(digest, arch)
        for name, found in self.values.items():
            if cells[name]:
                found.setdefault(digest, []).append(number_in(cells[name], f"{where}: {name}"))


def number_in(text: str, where: str) -> float:
    """A value of a table.

    Raises:
        InputError: no finite number above 0.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0 or "_" in text:
        raise InputError(
            f"{where} is {_short(text)}", "a finite number above 0, or an empty cell where nothing was measured", "3.5"
        )
    return number


def _column(where: str, cell: str) -> InputError:
    allowed = "a name of letters, digits and _, and perhaps a unit in brackets: energy [mJ]"
    return InputError(f"{where}: a column is called {_short(cell)}", allowed, _EXAMPLE)


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}..."

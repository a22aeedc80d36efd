"""Rows as the text of a CSV file, and back. Standard library only.

Spreadsheets run a cell as a formula when its text begins with one of a few characters, and names in our tables may come from files of
strangers. A text cell that begins so gets an apostrophe before it, which spreadsheets take for "this is text" and `csv_rows` takes off.
Numbers stay as they are, whatever their sign. Control characters are shown as escapes, for files are printed on terminals too.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

from nas.log import shown

_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
"""How a cell begins that a spreadsheet may run, or that would be taken for one that `as_text` has marked."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)")


def as_text(value: object) -> object:
    """A value as it stands in a cell: a text that would begin a formula is marked as text."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def as_given(cell: str) -> str:
    """The text that `as_text` made a cell from."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def csv_text(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows as CSV, with a column for every key, in the order in which keys first appear; a cell is empty where a row lacks its key."""
    found = list(rows)
    columns = list(dict.fromkeys(key for row in found for key in row))
    return csv_lines([columns, *([row.get(column, "") for column in columns] for row in found)])


def csv_lines(rows: Iterable[Sequence[object]]) -> str:
    """Rows of cells as CSV; the first are the names of the columns."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows([as_text(value) for value in row] for row in rows)
    return stream.getvalue()


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file that `csv_text` wrote."""
    return [
        {as_given(column): as_given(cell or "") for column, cell in row.items() if column is not None}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]

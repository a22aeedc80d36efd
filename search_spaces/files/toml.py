"""TOML from outside: files, and single values of a command line. Standard library only.

`tomllib` takes memory that grows with the square of the parts of a dotted key, and any depth until the interpreter gives up; both are
limited here.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from search_spaces.files.plain import MOST_DEPTH
from search_spaces.textfiles import read_text

MOST_BYTES = 2**20
"""Of a file of TOML. The largest space that comes with the package has 20 KB."""

MOST_PARTS = 32
"""Of a dotted key."""

LARGEST = 10**300
"""Of a whole number, whatever its sign: it fits into a float."""

_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{MOST_PARTS},}}""")


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: no TOML, or larger than any that is used; the message is a reason.
    """
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} characters")
    if _LONG_KEY.search(text):
        raise ValueError(f"it has a key of more than {MOST_PARTS} parts")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"it has more than {MOST_DEPTH} lists and tables inside each other") from None
    _check(table)
    return table


def _check(table: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(table, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict | list):
            if depth == MOST_DEPTH:
                raise ValueError(f"it has more than {MOST_DEPTH} lists and tables inside each other")
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError("it has a number above 10^300")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The table of a TOML file.

    Raises:
        OSError: it cannot be read, or is too large.
        ValueError: it is not TOML as `parse_toml` reads it, or not UTF-8.
    """
    return parse_toml(read_text(path, MOST_BYTES))


def value_of(text: str) -> Any:
    """The value behind `key=`.

    Raises:
        ValueError: the text is no value of TOML.
    """
    table = parse_toml(f"value = {text}")
    if table.keys() != {"value"}:
        raise ValueError("it is more than a value")
    return table["value"]


def value_or_text(text: str) -> Any:
    """The value behind `key=`; what is no value of TOML is a text without quotes."""
    try:
        return value_of(text)
    except ValueError:
        return text

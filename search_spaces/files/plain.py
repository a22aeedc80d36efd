"""JSON from outside: strict texts, and limits on the values in them. Standard library only."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError, quoted
from search_spaces.textfiles import SHORT, open_ordinary, read_text, size_of

MOST_DEPTH = 16
"""Lists and tables inside each other. A config.json with an architecture has 8."""

LARGEST = 10**18
"""Of a number in the description of a network, whatever its sign."""


@dataclass(frozen=True)
class Limits:
    """What a value may hold.

    Args:
        values: in it, counting lists and tables.
        containers: lists and tables among the values, if there may be fewer of them.
        each: whether every value is looked at; False where whoever asks does so, and only their number matters here.
        characters: of one text.
        largest: of a number, whatever its sign.
    """

    values: int = 1_000_000
    containers: int | None = None
    each: bool = True
    characters: int = 10_000
    largest: int = LARGEST


NETWORK = Limits()
"""Of the description of a network."""

RUN = Limits(values=2_000_000, characters=1_000_000, largest=int(sys.float_info.max))
"""Of a file of a run: its command may name many files, and its seed have many digits. Every number in it fits into a float."""

AS_WRITTEN = "a file as nas or timm writes it"
AGAIN = "extract the network again with `nas extract`, or download the folder again"


def _no_constant(name: str) -> Any:
    raise ValueError(f"it has {name}, which is no number of JSON")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):  # of which other readers would take another one
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {quoted(twice)} twice in one table")
    return table


_BETWEEN = {
    str: re.compile(r'([\[{,])|"(?:[^"\\]++|\\.)*+"?', re.DOTALL),
    bytes: re.compile(rb'([\[{,])|"(?:[^"\\]++|\\.)*+"?', re.DOTALL),
}
"""What stands between the values of a JSON text, and its texts, which may have the same characters. Of an unfinished text all is taken, so that
no character is looked at twice.
"""


def _check_number(text: str | bytes, limits: Limits) -> None:
    """Counts the values of a JSON text before any of them takes memory. A list of two bytes takes more than thirty times as many.

    Raises:
        ValueError: it has more than it may, whatever else it is.
    """
    values = limits.values
    most = values if limits.containers is None else limits.containers
    marks = ("[", "{", ",") if isinstance(text, str) else (b"[", b"{", b",")
    opened, commas = text.count(marks[0]) + text.count(marks[1]), text.count(marks[2])  # type: ignore[arg-type]
    if opened <= most and commas < values:
        return
    opened = commas = 0
    for found in _BETWEEN[type(text)].finditer(text):  # type: ignore[call-overload]
        if found[1] is not None:
            commas += found[1] == marks[2]
            opened += found[1] != marks[2]
            if opened > most:
                raise ValueError(f"it has more than {most:,} lists and tables")
            if commas >= values:
                raise ValueError(f"it has more than {values:,} values")


def parse(text: str | bytes, limits: Limits = NETWORK) -> Any:
    """The value of a JSON text. Stricter than `json.loads`: no key twice, no NaN and no Infinity, no deep nesting.

    Args:
        limits: of what it may hold.

    Raises:
        ValueError: not such a text; the message is a reason.
    """
    _check_number(text, limits)
    try:
        data = json.loads(text, object_pairs_hook=_table, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if limits.each and (fault := fault_of(data, limits)) is not None:
        raise ValueError(fault)
    return data


_TOO_DEEP = f"it has more than {MOST_DEPTH} lists and tables inside each other"


def fault_of(data: Any, limits: Limits = NETWORK) -> str | None:
    """Why a value is not plain, or too large: "it has ..."; None if it is in order. It is walked through without recursion."""
    waiting: list[tuple[Any, int]] = [(data, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if isinstance(value, dict | list | tuple):
            if depth == MOST_DEPTH:
                return _TOO_DEEP
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return "it has a key that is no text"
                waiting += [(key, depth) for key in value]
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        elif (fault := _fault_of_scalar(value, limits)) is not None:
            return fault
        if count + len(waiting) > limits.values:
            return f"it has more than {limits.values:,} values"
    return None


def _fault_of_scalar(value: Any, limits: Limits) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if len(value) > limits.characters:
            return f"it has a text of {len(value):,} characters"
        return None if encodable(value) else "it has a text with half of a surrogate pair, which is no character"
    if isinstance(value, int | float):
        if abs(value) <= limits.largest:  # which no infinity and no NaN is
            return None
        return f"it has a number above 10^{len(str(limits.largest)) - 1}, or one that is not finite"
    return f"it has a {type(value).__name__}"


def encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8: it has no half of a surrogate pair, which JSON can name and which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def regular_size(path: Path) -> int:
    """The size of an ordinary file in bytes.

    Raises:
        InputError: there is none, or it is a folder, a device or a pipe, which may never end.
    """
    try:
        with open_ordinary(path) as file:
            return size_of(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", AS_WRITTEN, AGAIN) from None


def read_json(path: Path) -> Any:
    """The value in a file of JSON that describes a network.

    Raises:
        InputError: it cannot be read, is too large, or is not JSON as `parse` reads it.
    """
    try:
        return parse(read_text(path, SHORT))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", AS_WRITTEN, AGAIN) from None
    except UnicodeError as error:
        raise InputError(f"{path} is damaged ({error})", AS_WRITTEN, AGAIN) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})", AS_WRITTEN, AGAIN) from None

"""JSON from outside: strict texts, and limits on the values in them. Standard library only."""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError
from search_spaces.textfiles import decode

MOST_BYTES = 16 * 2**20
"""Of a file of JSON. The description of a network of a hundred blocks has about 100 KB."""

MOST_DEPTH = 16
"""Lists and tables inside each other. A config.json with an architecture has 8."""

MOST_VALUES = 1_000_000
"""In one file, counting lists and tables."""

MOST_TEXT = 10_000
"""Characters of one text in a file."""

LARGEST = 10**18
"""Of a number, whatever its sign."""

AS_WRITTEN = "a file as nas or timm writes it"
AGAIN = "extract the network again with `nas extract`, or download the folder again"


def _no_constant(name: str) -> Any:
    raise ValueError(f"it has {name}, which is no number of JSON")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):  # of which other readers would take another one
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"it has the key {shortened(twice)} twice in one table")
    return table


def shortened(value: Any) -> str:
    """A value as Python writes it, without the middle of a long one. The value is plain."""
    if isinstance(value, list | tuple | dict) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value):,} values"
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "a number above 10^18"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:60]}...{text[-20:]}"


def parse(text: str) -> Any:
    """The value of a JSON text. Stricter than `json.loads`: no key twice, no NaN and no Infinity, no deep nesting.

    Raises:
        ValueError: not such a text; the message is a reason.
    """
    try:
        data = json.loads(text, object_pairs_hook=_table, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"it has more than {MOST_DEPTH} lists and tables inside each other") from None
    if (fault := fault_of(data)) is not None:
        raise ValueError(fault)
    return data


def fault_of(data: Any) -> str | None:
    """Why a value is not plain, or too large: "it has ..."; None if it is in order. It is walked through without recursion."""
    waiting: list[tuple[Any, int]] = [(data, 0)]
    count = 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if isinstance(value, dict | list | tuple):
            if depth == MOST_DEPTH:
                return f"it has more than {MOST_DEPTH} lists and tables inside each other"
            if isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return "it has a key that is no text"
                waiting += [(key, depth) for key in value]
            waiting += [(item, depth + 1) for item in (value.values() if isinstance(value, dict) else value)]
        elif (fault := _fault_of_scalar(value)) is not None:
            return fault
        if count + len(waiting) > MOST_VALUES:
            return f"it has more than {MOST_VALUES:,} values"
    return None


def _fault_of_scalar(value: Any) -> str | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            return f"it has a text of {len(value):,} characters"
        return None if _encodable(value) else "it has a text with half of a surrogate pair, which is no character"
    if isinstance(value, int):
        return None if abs(value) <= LARGEST else "it has a number above 10^18"
    if isinstance(value, float):
        return (
            None
            if math.isfinite(value) and abs(value) <= LARGEST
            else "it has a number above 10^18, or one that is not finite"
        )
    return f"it has a {type(value).__name__}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def regular_size(path: Path) -> int:
    """The size of an ordinary file in bytes. A symbolic link to one is followed: the cache of the hub consists of such links.

    Raises:
        InputError: there is none, or it is a folder, a device or a pipe, which may never end.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path} cannot be read ({reason})", AS_WRITTEN, AGAIN) from None
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} cannot be read (it is no ordinary file)", AS_WRITTEN, AGAIN)
    return found.st_size


def read_json(path: Path) -> Any:
    """The value in a file of JSON.

    Raises:
        InputError: it cannot be read, is too large, or is not JSON as `parse` reads it.
    """
    size = regular_size(path)
    if size > MOST_BYTES:
        raise InputError(f"{path} has {size:,} bytes", f"at most {MOST_BYTES:,} bytes", AGAIN)
    try:
        with open(path, "rb") as file:
            return parse(decode(file.read(MOST_BYTES)))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", AS_WRITTEN, AGAIN) from None
    except UnicodeError as error:
        raise InputError(f"{path} is damaged ({error})", AS_WRITTEN, AGAIN) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})", AS_WRITTEN, AGAIN) from None

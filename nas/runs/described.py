"""Whole files of a run, as they are read: ordinary, of bounded size, and of the shape that whoever reads them counts on.

Standard library only.
"""

from pathlib import Path
from typing import Any

from nas.records.shapes import Shape
from nas.runs.disk import damaged_file, unreadable
from search_spaces.files.plain import RUN, Limits, parse
from search_spaces.textfiles import SHORT, read_text


def text_of(path: Path, most: int = SHORT) -> str:
    """The text of a file.

    Args:
        most: bytes that such a file may have.

    Raises:
        InputError: not there, no ordinary file, too large, or not UTF-8 text.
    """
    try:
        return read_text(path, most)
    except PermissionError as error:
        raise unreadable(path, error) from None
    except OSError as error:
        raise damaged_file(path, error.strerror or str(error)) from None
    except UnicodeError as error:
        raise damaged_file(path, str(error)) from None


def json_of(path: Path, most: int = SHORT, limits: Limits = RUN, shape: Shape | None = None) -> Any:
    """The value in a file of JSON.

    Args:
        most: bytes that such a file may have.
        limits: see `search_spaces.files.plain.parse`.
        shape: that the value has to have.

    Raises:
        InputError: as `text_of`; or not JSON, or of another shape, of which the first wrong place is named.
    """
    text = text_of(path, most)
    try:
        value = parse(text, limits)
    except ValueError as error:
        raise damaged_file(path, str(error)) from None
    if shape is not None and (wrong := shape.fault(value, "")):
        raise damaged_file(path, f"at {wrong}")
    return value

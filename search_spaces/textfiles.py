"""Files that a person names and edits: paths that begin with `~`, and text as any editor saves it.

Standard library only. The encoding never follows the locale: a run made under one locale is read under every other.
"""

import codecs
import os
from pathlib import Path

from search_spaces.errors import InputError

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def expanded(path: str | Path) -> Path:
    """A path, with `~` and `~user` at its beginning as the home folder: shells leave them as they are in `run=~/mine`.

    A path from a file, such as `run = "größe"`, also names its folder under a locale whose own paths are ASCII.

    Raises:
        InputError: there is no such user, or the user has no home folder.
    """
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        path = os.fsdecode(str(path).encode("utf-8", "surrogateescape"))
    if not str(path).startswith("~"):
        # pathlib takes the dot from ./~name, and whoever is given the result would expand it after all.
        return Path.cwd() / path if str(Path(path)).startswith("~") else Path(path)
    try:
        return Path(path).expanduser()
    except RuntimeError:
        first = Path(path).parts[0]
        whose = f"there is no user {first[1:]!r}" if first[1:] else "the home folder is not known"
        raise InputError(
            f"path {str(path)!r} begins with {first}, and {whose}",
            "~ for your home folder, ~USER for that of a user, or a whole path",
            f"./{path} for a folder of that name, or the whole path",
        ) from None


def decode(data: bytes) -> str:
    """UTF-8 text with or without a byte-order mark, with line feeds as line ends.

    Raises:
        UnicodeError: another encoding; it is named where the bytes tell.
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise UnicodeError(f"it is saved as {name}, and only UTF-8 is read")
    if b"\0" in data[:100]:  # every second byte of English text in UTF-16
        raise UnicodeError("it has zero bytes, as text saved as UTF-16 has, and only UTF-8 is read")
    return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path) -> str:
    """The text of a file; see `decode`.

    Raises:
        OSError: it cannot be read.
        UnicodeError: it is not UTF-8.
    """
    return decode(path.read_bytes())

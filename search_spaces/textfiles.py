"""Files that a person names and edits: paths that begin with `~`, ordinary files of bounded size, and text as any editor saves it.

Every file from outside is opened by `open_ordinary`: a pipe, which may wait for ever, and a device, which may never end, are refused before
anything is read. Standard library only. The encoding never follows the locale: a run made under one locale is read under every other.
"""

import codecs
import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from search_spaces.errors import InputError, visible

SHORT = 16 * 2**20
"""Bytes of a file that describes one thing: a configuration, a space, a network, a search. The description of a network of a hundred blocks
has about 100 KB."""

LONG = 2**30
"""Bytes of a file with a line or an entry for each image, network or measurement. A search of 100,000 networks has about 300 MB, and the split
of ImageNet 150 MB."""

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
        InputError: there is no such user, or the user has no home folder; or no file can have this name, because of its length or a zero
            byte.
    """
    _check_name(path)
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


def resolved(path: str | Path) -> Path:
    """The whole path of a file, with links followed. Of links that lead in a circle, as a stranger's folder may have them, it is the path of
    one of them; `Path.resolve` raises an error of its own there.
    """
    return Path(os.path.realpath(path))


def _check_name(path: str | Path) -> None:
    """
    Raises:
        InputError: the operating system takes no such name.
    """
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            return  # what else is wrong is said by whoever opens it
        reason = f"it has {len(str(path)):,} characters, more than the name of a file can have"
    except UnicodeEncodeError:
        return  # see `expanded`
    except ValueError:
        reason = "it has a zero byte, which no name of a file can have"
    else:
        return
    shown = repr(str(path)[:60])
    raise InputError(f"path {shown} cannot be used: {reason}", "the path of a file or folder", "another path") from None


def open_ordinary(path: str | Path) -> BufferedReader:
    """An ordinary file, to read its bytes. A symbolic link to one is followed: the cache of the hub consists of such links.

    Raises:
        OSError: it cannot be opened, no file can have this name, or it is a folder, a pipe or a device.
    """
    try:
        _check_ordinary(
            os.stat(path), path
        )  # before it is opened: opening alone may wait for a pipe, or set a device to work
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:  # a zero byte, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no file can have this name: {error}", visible(str(path))) from None
    try:
        _check_ordinary(os.fstat(descriptor), path)  # another file may have taken its place
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check_ordinary(found: os.stat_result, path: str | Path) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))


def size_of(file: BinaryIO) -> int:
    """The size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def read_bytes(path: str | Path, most: int = SHORT) -> bytes:
    """The content of an ordinary file.

    Args:
        most: bytes that such a file may have.

    Raises:
        OSError: it is larger, or cannot be read; or as `open_ordinary`.
    """
    with open_ordinary(path) as file:
        return _content(file, most)


def _content(file: BinaryIO, most: int) -> bytes:
    size = size_of(file)
    content = file.read(size + 1) if size <= most else b""
    if len(content) > size:  # it grows meanwhile, or it is one of the kernel's, which say that they are empty
        content += file.read(most + 1 - len(content))
        size = len(content)
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, and at most {most:,} are read")
    return content


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


def read_text(path: str | Path, most: int = SHORT) -> str:
    """The text of an ordinary file; see `decode` and `read_bytes`.

    Raises:
        OSError: it cannot be read, or is too large.
        UnicodeError: it is not UTF-8.
    """
    with open_ordinary(path) as file:
        head = file.peek(100)[:100]
        if b"\0" in head:  # no text, whatever its size
            decode(head)
        return decode(_content(file, most))

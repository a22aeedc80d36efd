"""Files of lines: one line is appended and flushed, all are read, and a line that was cut off is no line. Standard library only."""

import codecs
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.runs.disk import damaged_file, unreadable, writing
from nas.runs.inside import Inside
from nas.runs.lines import is_sealed, line_of, record_of
from search_spaces.textfiles import LONG, decode, open_ordinary, size_of

LONGEST_LINE = 4 * 2**20
"""Bytes of a line. That of a network of 256 blocks, the most that a space may have, has about 90 kB."""


def append_line(inside: Inside, name: str, record: Mapping[str, Any]) -> None:
    """Appends the line of a record and flushes it to disk. What an interrupted call left of a line is dropped first.

    Args:
        name: of the file in the folder.

    Raises:
        InputError: the disk is full, or a link stands there. The lines before are intact.
    """
    line = line_of(record)
    with (
        writing(inside.folder / name),
        open(inside.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND), "ab+", buffering=0) as file,
    ):
        _drop_torn_line(file)
        start = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), start)
            raise


def _drop_torn_line(file: Any) -> None:
    """Cuts a file behind its last line break."""
    size = file.seek(0, os.SEEK_END)
    while size:
        step = min(size, 1 << 16)
        file.seek(size - step)
        chunk = file.read(step)
        if step == size or b"\n" in chunk:
            keep = size - step + chunk.rfind(b"\n") + 1
            break
        size -= step
    else:
        return
    if keep != os.fstat(file.fileno()).st_size:
        file.truncate(keep)


def read_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Every whole line of a file without its line break, and its record; None where the line is damaged. A line is read when it is asked for,
    so that whoever stops at a wrong one keeps no other.

    Raises:
        DamagedFile: the file is saved in another encoding, begins with zeros, or is larger than any that nas writes.
        InputError: it cannot be read.
    """
    keys = None  # of the lines with a checksum, once there is one
    for line in _whole_lines(path):
        record = record_of(line)
        if record is not None:
            if is_sealed(line):
                keys = record.keys()
            elif keys is not None and record.keys() != keys:
                record = None
        yield line, record


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that end with a line break, without it. None where there is no file."""
    try:
        with open_ordinary(path) as file:
            if size_of(file) > LONG:
                raise damaged_file(path, f"it has {size_of(file):,} bytes, and at most {LONG:,} are read")
            _check_beginning(path, file.peek(100)[:100])
            if file.peek(3)[:3] == codecs.BOM_UTF8:
                file.read(3)
            while line := file.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line[:-1].rstrip(b"\r")
                elif len(line) == LONGEST_LINE:
                    raise damaged_file(path, f"a line has more than {LONGEST_LINE:,} bytes")
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise unreadable(path, error) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _check_beginning(path: Path, head: bytes) -> None:
    """
    Raises:
        DamagedFile: the file begins as one that is saved in another encoding, or with zeros. Anything else is damage in a line.
    """
    if head[:4].count(0) > 1 or head[:1] > b"\x7f":
        try:
            decode(head)
        except UnicodeDecodeError:
            pass
        except UnicodeError as error:
            raise damaged_file(path, str(error)) from None

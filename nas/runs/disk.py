"""What goes wrong with files on a disk, as errors that say what to do about it. Standard library only."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search_spaces.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What a file system says when there is no room: on the disk, in a quota, or in a file."""


class DamagedFile(InputError):
    """A file as a whole is not what nas wrote."""


def damaged_file(path: Path, how: str) -> DamagedFile:
    """The error of a file of a run that is not what nas wrote."""
    return DamagedFile(
        f"{path} is damaged ({how})", "the file as nas wrote it", "a copy of it, or a new folder: run=runs/new"
    )


class DamagedLine(InputError):
    """A whole line of a file is damaged, and can be set aside."""


class Unwritable(InputError):
    """A file or folder cannot be written, for another reason than a full disk."""


@contextmanager
def offering(instead: str) -> Iterator[None]:
    """Lets an error about what cannot be written offer `instead`: what is typed depends on the command."""
    try:
        yield
    except Unwritable as error:
        raise InputError(error.given, "a folder that can be written", instead) from None


def unreadable(path: Path, error: OSError) -> InputError:
    """The error of a file or folder that may not be read."""
    return InputError(f"{path} cannot be read ({error.strerror})", "files that you may read", "make it readable")


@contextmanager
def writing(path: Path, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turns a full disk, and a path that cannot be written, into an error that says so.

    Args:
        but: errors that are left as they are.
    """
    try:
        yield
    except but:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise InputError(
                f"no room to write {path} ({error.strerror}); the previous file, if any, is intact",
                "a disk with free space",
                "free some space, then run the same command again: it resumes where it stopped",
            ) from None
        raise Unwritable(
            f"{path} cannot be written ({error.strerror or error})",
            "a run in a folder that can be written",
            "run=PATH of such a folder",
        ) from None

"""The lock of a run's folder: a file that the operating system locks, and unlocks when the process that holds it ends, killed or not."""

import errno
import os
import sys
from pathlib import Path
from weakref import WeakValueDictionary

from nas.log import say
from nas.runs.inside import Inside

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What a file system without locks says: some network file systems, as they are mounted on some clusters."""


class Lock:
    """A lock file, held by this process for as long as this object is referred to.

    Where the file system has no locks nothing is held, and a line on standard error says so. The file's content is left as it is: a
    file of another purpose that stands in its place loses nothing.

    Args:
        inside: the folder that is locked.
        name: of the lock file in it.

    Raises:
        BlockingIOError: another process holds it.
        LinkInside: it is a link, whose target is somebody else's file.
        OSError: it cannot be made.
    """

    def __init__(self, inside: Inside, name: str) -> None:
        import filelock  # takes 20 ms, which commands that only read a run are spared

        self.descriptor = inside.open(name, os.O_RDWR | os.O_CREAT)
        path = inside.folder / name
        try:
            if not filelock.lock_descriptor(self.descriptor, blocking=False):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            say(
                f"nas: the file system of {inside.folder} has no locks ({error.strerror}): nothing keeps two commands "
                "from writing this run at once, so start one after the other",
                sys.stderr,
            )

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def removed(self) -> bool:
        """Whether the file that is held is in no folder any more."""
        return os.fstat(self.descriptor).st_nlink == 0


_HELD: WeakValueDictionary[Path, Lock] = WeakValueDictionary()
"""Of this process, by path: it may open a run that it holds already."""


def lock_of(inside: Inside, name: str) -> Lock:
    """The lock that this process holds on a folder, or a new one.

    Raises:
        BlockingIOError, LinkInside, OSError: see `Lock`.
    """
    path = inside.checked(name).resolve()
    held = _HELD.get(path)
    lock = held if held and not held.removed() else Lock(inside, name)
    _HELD[path] = lock
    return lock

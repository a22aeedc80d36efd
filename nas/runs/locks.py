"""The lock of a run's folder: a file that the operating system locks, and unlocks when the process that holds it ends, killed or not."""

import errno
import os
import sys
from pathlib import Path

from nas.log import say
from search_spaces.errors import InputError

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What a file system without locks says: some network file systems, as they are mounted on some clusters."""


class Lock:
    """A lock file, held by this process for as long as this object is referred to.

    Where the file system has no locks nothing is held, and a line on standard error says so. The file's content is left as it is: a
    file of another purpose that stands in its place loses nothing.

    Raises:
        BlockingIOError: another process holds it.
        InputError: it is a link, whose target is somebody else's file.
    """

    def __init__(self, path: Path) -> None:
        import filelock  # takes 20 ms, which commands that only read a run are spared

        if path.is_symlink():
            raise InputError(f"{path} is a link", "a file of the run's own, which nas makes", f"remove {path}")
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not filelock.lock_descriptor(self.descriptor, blocking=False):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(path))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            say(
                f"nas: the file system of {path.parent.parent} has no locks ({error.strerror}): nothing keeps two commands "
                "from writing this run at once, so start one after the other",
                sys.stderr,
            )

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)

    def removed(self) -> bool:
        """Whether the file that is held is in no folder any more."""
        return os.fstat(self.descriptor).st_nlink == 0

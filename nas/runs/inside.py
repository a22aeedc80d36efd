"""Writing and removing below a folder that a stranger may have filled. Standard library only.

The rule for all that a command writes, whether a run, a folder of networks or one file:

- The folder is what the user typed (`run=`, `out=`), or for `out=FILE` the folder of that file. It may be reached through links, for
  whoever typed it chose them.
- Below it no link is followed, neither at the file nor at a folder on the way, wherever it points. A link in such a place is refused with
  an error, as is a device or a pipe, and stays as it is. This holds for the file of `out=FILE` too: type the path that the link points
  to. Hard links are files like any other.
- A name that would lead out of the folder (`..`, or a path from the root) is no name, whether it was typed or comes from data.
- Removing takes away the name itself, never what it points to.

Where the system can open files relative to a folder that is open (Linux, macOS), each step is opened without following links and the next
one starts from it: a link that appears between a check and an opening is not followed either. Elsewhere (Windows) each step is checked
just before it is used, which holds for folders that nobody else changes meanwhile. SQLite and TensorBoard open files by their paths: for
them this is so on every system (see `Inside.checked`).
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import InputError, quoted

_BY_STEPS = {os.open, os.mkdir, os.stat, os.unlink, os.rename, os.link} <= os.supports_dir_fd and hasattr(
    os, "O_NOFOLLOW"
)
"""Whether the system opens files relative to a folder that is open."""

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)
)


class LinkInside(InputError):
    """A link, a device or a pipe stands where a command writes."""


def _refused(path: Path, what: str) -> LinkInside:
    return LinkInside(
        f"{path} is {what}, and nothing is written there",
        "files and folders of its own: links are not followed below the folder that is written",
        "the file or folder itself in its place, or another folder",
    )


def parts_of(name: str) -> tuple[str, ...]:
    """The steps of a name in a folder.

    Raises:
        InputError: it would lead out of the folder.
    """
    parts = tuple(name.split("/"))
    forbidden = "\0\\:" if os.name == "nt" else "\0"
    if any(part in ("", ".", "..") or any(sign in part for sign in forbidden) for part in parts):
        raise InputError(
            f"{quoted(name)} is no name of a file in a folder",
            "names that stay in their folder, without .. and without / at the beginning",
            "the name as nas wrote it",
        )
    return parts


def _fault(found: os.stat_result) -> str:
    """Why nothing is written to what was found; empty for files and folders."""
    # A junction of Windows is a folder for `stat`, and leads elsewhere as a link does.
    junction = getattr(found, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
    if stat.S_ISLNK(found.st_mode) or junction:
        return "a link"
    return "" if stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode) else "no ordinary file"


@dataclass(frozen=True)
class _Place:
    """A name in a folder that was reached without links.

    Args:
        folder: its path, for messages and for systems that open files by their path only.
        descriptor: of the folder, where the system opens files relative to it.
    """

    folder: Path
    name: str
    descriptor: int | None

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def target(self, name: str = "") -> str:
        """What functions of `os` take for a name in the folder, beside the descriptor."""
        return (name or self.name) if self.descriptor is not None else str(self.folder / (name or self.name))

    def check(self) -> os.stat_result | None:
        """What stands there; None if nothing does.

        Raises:
            LinkInside: a link, a device or a pipe.
        """
        try:
            found = os.stat(self.target(), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if fault := _fault(found):
            raise _refused(self.path, fault)
        return found

    def open(self, flags: int, name: str = "") -> int:
        """
        Raises:
            LinkInside: a link, a device or a pipe stands there.
        """
        if not name:
            self.check()
        descriptor = os.open(self.target(name), flags | _FILE, 0o666, dir_fd=self.descriptor)
        if fault := _fault(os.fstat(descriptor)):
            os.close(descriptor)
            raise _refused(self.path, fault)
        return descriptor

    def unlink(self, name: str = "") -> None:
        os.unlink(self.target(name), dir_fd=self.descriptor)

    def draft(self, data: bytes) -> str:
        """Writes a temporary file beside the place, flushed to disk, and gives its name."""
        name = f".{self.name}.{os.getpid()}.tmp"
        self.discard(name)  # of a killed process that had this number, or a link of that name
        self._new(name, data)
        return name

    def _new(self, name: str, data: bytes) -> None:
        descriptor = self.open(os.O_WRONLY | os.O_CREAT | os.O_EXCL, name)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            self.discard(name)
            raise

    def discard(self, name: str) -> None:
        """Removes a temporary file, if it is there."""
        with suppress(FileNotFoundError):
            self.unlink(name)

    def keep(self) -> str | None:
        """Gives what stands there a second, temporary name, to get it back by; None if nothing does."""
        name = f".{self.name}.old.{os.getpid()}.tmp"
        self.discard(name)
        if self.check() is None:
            return None
        try:
            os.link(self.target(), self.target(name), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except OSError:  # a file system without hard links, or one that grants none to another user's file
            with open(self.open(os.O_RDONLY), "rb") as file:
                self._new(name, file.read())
        return name

    def take(self, name: str) -> None:
        """Renames a file of the same folder to this one."""
        os.replace(self.target(name), self.target(), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)


@dataclass(frozen=True)
class Inside:
    """The folder that is written, and all below it; see the top of this file. Names have `/` between their steps on every system.

    Args:
        folder: as the user typed it.
    """

    folder: Path

    @contextmanager
    def _at(self, name: str, make: bool = False) -> Iterator[_Place]:
        """The place of a name. What is opened for it is closed afterwards.

        Args:
            make: the folders that are missing.
        """
        *steps, last = parts_of(name)
        if make:
            self.folder.mkdir(parents=True, exist_ok=True)
        folder = self.folder
        descriptor = os.open(folder, _FOLDER) if _BY_STEPS else None
        try:
            for step in steps:
                folder, before = folder / step, descriptor
                descriptor = _entered(folder, before, make)
                if before is not None:
                    os.close(before)
            yield _Place(folder, last, descriptor)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def checked(self, *names: str) -> Path:
        """The path of the first name, for what opens files by their path, after a check that no link stands at the names or on the way.

        Raises:
            LinkInside: one does, or a device or a pipe.
            InputError: a name leads out of the folder.
        """
        for name in names:
            with suppress(FileNotFoundError), self._at(name) as place:
                place.check()
        return self.folder / names[0]

    def make_folder(self, name: str) -> Path:
        """Makes a folder, with those that are missing on the way."""
        with self._at(f"{name}/file", make=True) as place:
            return place.folder

    def open(self, name: str, flags: int) -> int:
        """A descriptor of an ordinary file; the folders that are missing are made. `os.O_CREAT` makes the file."""
        with self._at(name, make=True) as place:
            return place.open(flags)

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes whole files, all of them or none: first a temporary file beside each, flushed to disk, then they are renamed. When
        one cannot be renamed, those before it get back what they had. Only a process that is killed between two renames leaves some
        files of this time beside some of the last.

        Raises:
            LinkInside: a link stands at one of the names, or on the way.
            OSError: one of them cannot be written: that of `filename`. The files are as they were.
        """
        with ExitStack() as stack:
            drafts: list[tuple[_Place, str]] = []
            places = []
            for name in files:
                with _naming(self.folder / name):
                    place = stack.enter_context(self._at(name, make=True))
                    found = place.check()
                    if found is not None and stat.S_ISDIR(found.st_mode):
                        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
                places.append(place)
            for place, data in zip(places, files.values(), strict=True):
                with _naming(place.path):
                    drafts.append((place, place.draft(data)))
                stack.callback(place.discard, drafts[-1][1])
            _rename(drafts)

    def remove(self, name: str) -> None:
        """Takes a file away, or the link that stands in its place; nothing happens where there is none."""
        with suppress(FileNotFoundError), self._at(name) as place:
            place.unlink()

    def move(self, name: str, to: str) -> None:
        """Renames a file or folder; a file that has the new name is replaced."""
        with self._at(name) as place, self._at(to, make=True) as new:
            place.check()
            new.check()
            os.replace(place.target(), new.target(), src_dir_fd=place.descriptor, dst_dir_fd=new.descriptor)


def _entered(folder: Path, before: int | None, make: bool) -> int | None:
    """The descriptor of a folder, relative to that of the one above it; None where the system has none.

    Raises:
        LinkInside: it is a link.
    """
    step = _Place(folder.parent, folder.name, before)
    if step.check() is None and make:
        with suppress(FileExistsError):  # another process made it
            os.mkdir(step.target(), dir_fd=before)
    if before is None:
        found = step.check()
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        return None
    try:
        return os.open(step.target(), _FOLDER | os.O_NOFOLLOW, dir_fd=before)
    except OSError:
        step.check()  # a link that has just appeared
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of the system say which file they are about, whatever functions of `os` were given."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _rename(drafts: Sequence[tuple[_Place, str]]) -> None:
    """Gives temporary files their names; all of them, or none."""
    olds: list[str | None] = []
    done = 0
    try:
        try:
            for place, _ in drafts if len(drafts) > 1 else ():
                with _naming(place.path):
                    olds.append(place.keep())
            for place, draft in drafts:
                with _naming(place.path):
                    place.take(draft)
                done += 1
        except OSError:
            for (place, _), old in zip(drafts[:done], olds, strict=False):
                if old is None:
                    place.discard(place.name)
                else:
                    place.take(old)
            raise
    finally:
        for (place, _), old in zip(drafts, olds, strict=False):
            if old is not None:
                place.discard(old)

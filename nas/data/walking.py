"""Which files lie in the folders of a data set: each once, whatever links lead to it, and what is left out."""

import contextlib
import heapq
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from nas.images import printable
from search_spaces.errors import InputError

MOST_FILES = 20_000_000
"""In the classes of a part; ImageNet-21k has 14 million."""

MOST_DEPTH = 64
"""Folders inside each other, below that of a class."""

MOST_FOLDERS = 1_000_000
"""That are reached from the root of a data set, each as often as there are ways to it."""


@dataclass(frozen=True)
class LeftOut:
    """Files or folders that are in a data set's folder and in no part.

    part: of the folder where they are, or empty.
    what: their suffix, or their name.
    why: in words.
    count: how many.
    first: one of them, as a path from the root.
    """

    part: str
    what: str
    why: str
    count: int
    first: str


class Tally:
    """Counts what is left out, by part, kind and reason."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], list[str | int]] = {}

    def add(self, part: str, what: str, why: str, path: str, count: int = 1) -> None:
        entry = self._found.setdefault((part, what, why), [0, path])
        entry[0] = int(entry[0]) + count
        entry[1] = min(str(entry[1]), path)

    def entries(self) -> list[LeftOut]:
        """The most numerous first within each part."""
        found = [LeftOut(part, what, why, int(n), str(first)) for (part, what, why), (n, first) in self._found.items()]
        return sorted(found, key=lambda entry: (entry.part, -entry.count, entry.what, entry.why))


def suffix_of(name: str) -> str:
    """How a kind of file is called in messages: *.txt, or files without a suffix."""
    suffix = os.path.splitext(name)[1].lower()
    return f"*{suffix}" if suffix else "files without a suffix"


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, by name; none where there is no such folder.

    Raises:
        InputError: it cannot be listed.
    """
    if not folder.is_dir():
        return []
    entries = _entries(str(folder))  # which know folders without asking for each file
    return [folder / entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


class Walk:
    """Every regular file below the classes of one part, each once, whatever links lead to it.

    Paths are strings here: for small images, objects would take a tenth of the time that decoding takes.

    Args:
        root: of the data set; paths are told from there.
        part: its name.
        tally: counts what is left out.
    """

    def __init__(self, root: Path, part: str, tally: Tally) -> None:
        self._root, self._part, self._tally = str(root), part, tally
        self._seen: dict[tuple[int, int], tuple[str, str]] = {}  # device and inode: path and class
        above = (os.stat(path) for path in Path(os.path.realpath(root)).parents)
        self._above = {(status.st_dev, status.st_ino) for status in above}

    def files(self, folder: Path) -> list[str]:
        """The files of the class in `folder`, sorted.

        Real files and folders are visited before links, so that a file keeps the path without a link if it has one.

        Raises:
            InputError: a folder cannot be listed, or a file belongs to another class too, by a link.
        """
        found: list[str] = []
        top = str(folder).count(os.sep)
        folders: set[tuple[int, int]] = set()
        waiting, links = [str(folder)], list[str]()
        while waiting or links:
            path = waiting.pop() if waiting else heapq.heappop(links)
            if path.count(os.sep) - top > MOST_DEPTH:
                self._leave(path, f"below {MOST_DEPTH} folders inside each other", name=True)
                continue
            try:
                status = os.stat(path)
            except OSError as error:  # a link to nothing, or to itself
                self._leave(path, f"cannot be read ({error.strerror})")
                continue
            if stat.S_ISREG(status.st_mode):
                self._take(path, (status.st_dev, status.st_ino), folder.name, found)
                continue
            if not stat.S_ISDIR(status.st_mode):
                self._leave(path, "no regular file")
                continue
            if (status.st_dev, status.st_ino) in folders:
                self._leave(path, "link to a folder that is read already", name=True)
                continue
            if (status.st_dev, status.st_ino) in self._above:  # which holds everything else of the user's
                self._leave(path, "link to a folder above the data set", name=True)
                continue
            folders.add((status.st_dev, status.st_ino))
            for entry in _entries(path):
                if entry.name.startswith("."):
                    self._leave(entry.path, "hidden", name=True)
                elif entry.is_symlink():
                    heapq.heappush(links, entry.path)
                elif entry.is_file(follow_symlinks=False):  # known without asking, and on the device of its folder
                    self._take(entry.path, (status.st_dev, entry.inode()), folder.name, found)
                else:
                    waiting.append(entry.path)
        return sorted(found)

    def _take(self, path: str, key: tuple[int, int], name: str, found: list[str]) -> None:
        """Adds a file of class `name`, unless it has been reached before.

        Raises:
            InputError: see `reached_before`; or there are too many files.
        """
        if reached_before(self._seen, key, path, name, self._root):
            self._leave(path, AGAIN)
        else:
            found.append(path)
            if len(self._seen) > MOST_FILES:
                raise InputError(
                    f"{self._root} has more than {MOST_FILES:,} files",
                    f"at most {MOST_FILES:,}",
                    "data.root=PATH of fewer images",
                )

    def beside(self, folder: Path) -> None:
        """Counts the files that lie beside the classes of the part, not in one."""
        for entry in _entries(str(folder)):
            if entry.name.startswith("."):
                self._leave(entry.path, "hidden", name=True)
            elif not _is_folder(entry):
                self._leave(entry.path, "beside the folders of the classes")

    def _leave(self, path: str, why: str, name: bool = False) -> None:
        base = os.path.basename(path)
        self._tally.add(self._part, base if name else suffix_of(base), why, told(path, self._root))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """By name.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be listed ({error.strerror})",
            "folders that can be read",
            "make it readable, or remove it",
        ) from None


def check_links_end(root: Path) -> None:
    """Whether a walk that follows links, without a memory of where it was, comes to an end below a folder, and how many folders it would meet.

    Each folder is listed once.

    Raises:
        InputError: it does not end, or meets very many folders.
    """
    met: dict[tuple[int, int], int] = {}  # folders that a walk from here meets; 0 while it is not known
    waiting: list[tuple[str, tuple[int, int], list[tuple[str, tuple[int, int]]] | None]] = [
        (str(root), _key(str(root)), None)
    ]
    while waiting:
        path, key, inner = waiting.pop()
        if inner is None:
            if met.get(key):
                continue
            met[key] = 0
            inner = _folders_in(path)
            for other, its in inner:
                if met.get(its) == 0:
                    raise _endless(root, other, "has a folder that links lead back to")
            waiting.append((path, key, inner))
            waiting += [(other, its, None) for other, its in inner if its not in met]
            continue
        met[key] = 1 + sum(met[its] for _, its in inner)
        if met[key] > MOST_FOLDERS:
            raise _endless(root, path, f"has more than {MOST_FOLDERS:,} folders, as links are followed")


def _endless(root: Path, path: str, what: str) -> InputError:
    link = _link(path, str(root))
    instead = f"remove the link {link}" if link else "data=folder, which reads each folder once"
    return InputError(f"{root} {what}", "folders that end, also where links are followed", instead)


def _key(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _folders_in(path: str) -> list[tuple[str, tuple[int, int]]]:
    """The folders in a folder, links to folders too, with their devices and inodes; none where it cannot be listed."""
    found = []
    with contextlib.suppress(OSError), os.scandir(path) as entries:
        for entry in entries:
            if _is_folder(entry):
                with contextlib.suppress(OSError):
                    found.append((entry.path, _key(entry.path)))
    return found


AGAIN = "link to a file that is read already"


def reached_before(
    seen: dict[tuple[int, int], tuple[str, str]], key: tuple[int, int], path: str, name: str, root: str
) -> bool:
    """Whether a file of a part has been reached by another path; if not, it is noted.

    Args:
        seen: device and inode of each file so far, with its path and class.
        key: of this file.
        name: of its class.
        root: of the data set.

    Raises:
        InputError: it has, in another class.
    """
    other, its = seen.setdefault(key, (path, name))
    if its != name:
        link = _link(path, root) or _link(other, root)
        raise InputError(
            f"{other} and {path} are one file, in the classes {its!r} and {name!r}",
            "one class for each file",
            f"remove the link {link}" if link else "remove one of the two, which are links to the same file",
        )
    return other != path


def _link(path: str, root: str) -> str | None:
    """The first link on the way from the root to a path."""
    parts = path[len(root.rstrip(os.sep)) + 1 :].split(os.sep)
    ways = (os.path.join(root, *parts[:end]) for end in range(1, len(parts) + 1))
    return next((way for way in ways if os.path.islink(way)), None)


def told(path: str | Path, root: str | Path) -> str:
    """A path as messages and records tell it: from the root, and printable whatever its bytes are."""
    return printable(identified(str(path), str(root)).encode("utf-8", "replace").decode())


def identified(path: str, root: str) -> str:
    """A path below the root, told from there, with / on every system: what a split calls an image."""
    return path[len(root.rstrip(os.sep)) + 1 :].replace(os.sep, "/")

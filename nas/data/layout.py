"""Which folder of a data set is which part, and which files belong to which class."""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nas.images import printable
from search_spaces.errors import InputError

PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "eval", "evaluation", "dev"),
    "test": ("test", "testing"),
}
"""Names of a part's folder, in any case."""

_LIKE_A_PART = re.compile(
    r"((data|dataset|images?|imgs?|set|split|x)[\W_]*)?"
    rf"(?P<word>{'|'.join(name for names in PART_NAMES.values() for name in names)})"
    r"([\W_]*(data|dataset|folder|images?|imgs?|part|set|split))?[\W_]*\d*",
    re.IGNORECASE,
)
"""Names that people give to parts, such as test_set, train2017 or images-val."""


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


def part_named(name: str) -> str | None:
    """The part that a folder of this name holds, whatever the case; None if it says nothing."""
    return next((part for part, names in PART_NAMES.items() if name.casefold() in names), None)


def like_a_part(name: str) -> str | None:
    """The part that a name suggests, also where it does not say it outright."""
    found = _LIKE_A_PART.fullmatch(name)
    return part_named(found["word"]) if found else None


def _words(name: str) -> set[str]:
    """The parts whose names are words of a name: seg_train, PublicTest."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return {part for word in words if (part := part_named(word))}


def parts_of(root: Path, layout: str) -> dict[str, Path]:
    """The folder of each part that there is; {"train": root} where the classes lie in `root` itself.

    Args:
        layout: auto, classes or parts; see `nas.config.DataConfig`.

    Raises:
        InputError: no folder, parts without train, one part twice, or folders that may be parts or classes.
    """
    if not root.is_dir():
        raise InputError(
            f"{root} is not a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
        )
    folders = subfolders(root)
    if layout == "classes":
        return {"train": root}
    named: dict[str, list[Path]] = {part: [] for part in PART_NAMES}
    for folder in folders:
        if part := part_named(folder.name):
            named[part].append(folder)
    whole = {part: [folder for folder in found if subfolders(folder)] for part, found in named.items()}
    if whole["train"] or layout == "parts":
        return _parts(root, folders, named, whole, layout)
    if whole["validation"] or whole["test"]:
        raise no_train(root, (whole["validation"] + whole["test"])[0].name)
    _no_parts_among(root, folders)
    return {"train": root}


def _parts(
    root: Path, folders: list[Path], named: Mapping[str, list[Path]], whole: Mapping[str, list[Path]], layout: str
) -> dict[str, Path]:
    """
    Raises:
        InputError: see `parts_of`.
    """
    if not named["train"]:
        raise InputError(f"{root} has no folder train", "train/CLASS/IMAGE", "data.layout=classes, or make that folder")
    for part, found in whole.items():
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise InputError(f"{root} has {names}", f"one folder of {part} images", "rename or merge one of them")
    for part, found in named.items():
        if found and not whole[part]:
            raise InputError(
                f"{found[0]} holds no folder of a class",
                "the same classes as in train",
                f"remove or fill {found[0]}",
            )
    others = [folder for folder in folders if part_named(folder.name) is None]
    if layout == "auto":
        for folder in others:
            if part := like_a_part(folder.name) or min(_words(folder.name), default=None):
                raise InputError(
                    f"{folder} beside {whole['train'][0].name} is called like a part, but not so that it is sure",
                    f"the names {', '.join(name for names in PART_NAMES.values() for name in names)}, in any case",
                    f"rename it to {part}, or data.layout=parts to leave it out",
                )
        if others and not whole["validation"] and not whole["test"]:
            names = ", ".join(folder.name for folder in others[:5]) + ", ..." * (len(others) > 5)
            raise InputError(
                f"{root} holds {whole['train'][0].name} and {names}: parts, or classes of which one has that name",
                "parts alone, or classes alone",
                f"data.layout=classes, or data.layout=parts, which leaves {names} out",
            )
    return {part: found[0] for part, found in whole.items() if found}


def _no_parts_among(root: Path, classes: list[Path]) -> None:
    """
    Raises:
        InputError: what would be classes are parts by their names, or hold parts.
    """
    suspects = [folder for folder in classes if like_a_part(folder.name)]
    words = {folder: _words(folder.name) for folder in classes}
    if len(set().union(*words.values())) > 1:  # one alone may be a train station
        suspects = [folder for folder in classes if words[folder]]
    if suspects:
        names = " and ".join(folder.name for folder in suspects[:3])
        raise InputError(
            f"{root} would have the class{'es' * (len(suspects) > 1)} {names}, which {'are' if len(suspects) > 1 else 'is'} "
            "called like a part of a data set",
            "train/CLASS/IMAGE with val and test, in any case, or CLASS/IMAGE",
            f"name the parts so, each with a folder per class; data.layout=classes if {suspects[0].name} is a class",
        )
    for folder in classes:
        found = {part_named(path.name) for path in subfolders(folder)} - {None}
        if "train" in found and len(found) > 1:
            alone = len(classes) == 1
            raise InputError(
                f"{folder} would be a class, and holds {' and '.join(sorted(filter(None, found)))}",
                "train/CLASS/IMAGE with val and test beside it, or CLASS/IMAGE",
                f"data.root={folder}" if alone else f"rearrange {root}; data.layout=classes to merge them",
            )


def no_train(root: Path, part: str) -> InputError:
    return InputError(
        f"{root} has a part {part} but no train",
        "train/CLASS/IMAGE beside it, or CLASS/IMAGE alone",
        f"put the training images into {root / 'train'}",
    )


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

    def files(self, folder: Path) -> list[str]:
        """The files of the class in `folder`, sorted.

        Real files and folders are visited before links, so that a file keeps the path without a link if it has one.

        Raises:
            InputError: a folder cannot be listed, or a file belongs to another class too, by a link.
        """
        found: list[str] = []
        folders: set[tuple[int, int]] = set()
        waiting, links = [str(folder)], list[str]()
        while waiting or links:
            path = waiting.pop() if waiting else links.pop(0)
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
            folders.add((status.st_dev, status.st_ino))
            for entry in _entries(path):
                if entry.name.startswith("."):
                    self._leave(entry.path, "hidden", name=True)
                elif entry.is_symlink():
                    links.append(entry.path)
                elif entry.is_file(follow_symlinks=False):  # known without asking, and on the device of its folder
                    self._take(entry.path, (status.st_dev, entry.inode()), folder.name, found)
                else:
                    waiting.append(entry.path)
            links.sort()
        return sorted(found)

    def _take(self, path: str, key: tuple[int, int], name: str, found: list[str]) -> None:
        """Adds a file of class `name`, unless it has been reached before.

        Raises:
            InputError: see `reached_before`.
        """
        if reached_before(self._seen, key, path, name, self._root):
            self._leave(path, AGAIN)
        else:
            found.append(path)

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

"""Inputs that found a fault once. `make test` tries all of them.

They are kept as files, so that they stay the same when the mutations or the corpus change:

    known/TARGET/NUMBER/    the files of the input that had this number. One whose name ends in `.packed` is packed by gzip.
        places.json         what is no plain file, or has a name that not every file system takes
    known/run/              the run that inputs of `report` and `extract` differ from; of theirs only what differs is kept

`python -m tests.fuzzing TARGET 1 --first NUMBER --known` adds one. The weights and the split of `extract` are made by code.
"""

import gzip
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.fuzzing.target import Target
from tests.fuzzing.targets.runs import heavy

FOLDER = Path(__file__).parent / "known"

LARGE: dict[str, tuple[int, ...]] = {"checkpoints": (1709,), "extract": (28, 211)}
"""Numbers of inputs that are too large to be kept: a file of 32 MB, and other splits of images. They are made anew, and may be others than they were."""

PLACES, PACKED = "places.json", ".packed"

LONGEST = 2000
"""Bytes of a file that is kept as it is."""

RUNS = ("report", "extract")


def numbers(name: str) -> list[int]:
    """The numbers of the inputs of a target that are kept."""
    folder = FOLDER / name
    return sorted(int(path.name) for path in folder.iterdir()) if folder.is_dir() else []


def known(target: Target) -> Iterator[tuple[Target, int]]:
    """The inputs of a target that found a fault, each as a target that writes it whatever it is asked for, and its number."""
    for number in numbers(target.name):
        yield replace(target, make=lambda _, folder, number=number: restore(target.name, number, folder)), number
    for number in LARGE.get(target.name, ()):
        yield target, number


@cache
def _base(name: str) -> dict[str, bytes]:
    """The files that inputs of a target have in common, by their names in an input."""
    if name not in RUNS:
        return {}
    run = FOLDER / "run"
    files = {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    return {f"run/{other}": data for other, data in (files | (heavy() if name == "extract" else {})).items()}


def restore(name: str, number: int, folder: Path, kept: Path = FOLDER) -> str:
    """Writes an input that is kept into an empty folder."""
    place = kept / name / str(number)
    for other, data in _base(name).items():
        _put(folder / other, data)
    for path in (path for path in place.rglob("*") if path.is_file() and path.name != PLACES):
        other, data = path.relative_to(place).as_posix(), path.read_bytes()
        packed = other.endswith(PACKED)
        _put(folder / other.removesuffix(PACKED), gzip.decompress(data) if packed else data)
    places = json.loads((place / PLACES).read_text()) if (place / PLACES).exists() else {}
    for other, (kind, value) in places.items():
        path = folder / other
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "link":
            path.symlink_to(value)
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "name":
            (folder / value).rename(path)
    return "known"


def store(target: Target, number: int, kept: Path = FOLDER) -> Path:
    """Keeps an input as files.

    Returns:
        The folder with them.
    """
    place = kept / target.name / str(number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        target.write(number, folder)
        found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
        base = _base(target.name)
        gone = {_first_without(other, found) for other in base if other not in found}
        places: dict[str, tuple[str, str]] = dict.fromkeys(sorted(gone - found.keys()), ("nothing", ""))
        for other, path in found.items():
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                places[other] = ("link", os.readlink(path))
            elif stat.S_ISFIFO(mode):
                places[other] = ("pipe", "")
            elif stat.S_ISDIR(mode):
                if not any(path.iterdir()):
                    places[other] = ("folder", "")
            elif (data := path.read_bytes()) != base.get(other):
                plain = other if _is_plain(other) else f"odd-{len(places)}"
                if plain != other:
                    places[other] = ("name", plain)
                packed = len(data) > LONGEST
                _put(place / (plain + PACKED * packed), gzip.compress(data, 9, mtime=0) if packed else data)
        if places:
            _put(place / PLACES, json.dumps(places, indent=1).encode() + b"\n")
    return place


def _first_without(name: str, found: Mapping[str, Path]) -> str:
    """The file of this name or the first folder above it that is not there, or is no folder."""
    above = [*reversed([path.as_posix() for path in Path(name).parents][:-1]), name]
    return next(path for path in above if path not in found or found[path].is_symlink() or not found[path].is_dir())


def _is_plain(name: str) -> bool:
    """Whether every file system takes a name."""
    return all(letter.isascii() and (letter.isalnum() or letter in "/._-") for letter in name) and len(name) < 100


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

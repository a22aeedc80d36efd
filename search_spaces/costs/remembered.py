"""Counts of parts on disk: what one process counts, the next one reads.

A count belongs to the source code that made it. Its file is named by a hash of this package's source, of torch's version, and, where a
part of somebody else's is involved, of the source of every such part's package; so a part that is changed is counted anew. Files lie in
`hybrid-mixer-nas` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`). The environment variable HYBRID_MIXER_NAS_CACHE names
another folder, and "off" switches this memory off.

Nothing here can fail a computation: what cannot be read is counted, and what cannot be written is forgotten.
"""

import atexit
import contextlib
import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

import torch

from search_spaces.architecture import Part
from search_spaces.registry import PartModule, lookup, registered

VARIABLE = "HYBRID_MIXER_NAS_CACHE"
"""Environment variable: a folder for the counts, or "off"."""

PACKAGE = Path(__file__).resolve().parent.parent

KEPT_FILES = 8
"""Files of other versions of the source that are kept when one is written, the newest."""

WRITE_EVERY = 2000
"""New counts after which they are written; the rest is written when the process ends."""

_STARTED = time.time()

Counts = tuple[int, ...]
"""What is remembered of a part: whole numbers."""


def folder() -> Path | None:
    """Where counts are kept; None where this is switched off or no place is known."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen.lower() == "off":
        return None
    if chosen:
        return Path(chosen)
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home folder
        return None
    return base / "hybrid-mixer-nas"


def _hash_of(files: list[Path]) -> str | None:
    """Hash of files; None where one has changed since this process began, which may run its older text."""
    hashed = hashlib.sha256(torch.__version__.encode())
    for file in sorted(files):
        if file.stat().st_mtime > _STARTED:
            return None
        content = file.read_bytes()
        hashed.update(f"{file.name} {len(content)}\n".encode())
        hashed.update(content)
    return hashed.hexdigest()


@cache
def _own_source() -> str | None:
    """Hash of the source of this package."""
    return _hash_of(list(PACKAGE.rglob("*.py")))


@cache
def _foreign_source(parts: frozenset[type[PartModule]]) -> str | None:
    """Hash of the source of these parts and of every loaded module of their packages; None where they have no file of their own."""
    files: set[Path] = set()
    for part in parts:
        module = sys.modules.get(part.__module__)
        # A class that is made inside a function can depend on more than its file.
        if part.__module__ == "__main__" or "<locals>" in part.__qualname__ or not getattr(module, "__file__", None):
            return None
        top = part.__module__.partition(".")[0]
        for name, loaded in list(sys.modules.items()):
            file = getattr(loaded, "__file__", None)
            if file and file.endswith(".py") and (name == top or name.startswith(f"{top}.")):
                files.add(Path(file))
    return _hash_of(list(files))


def _is_foreign(part: type[PartModule]) -> bool:
    return not part.__module__.startswith("search_spaces.")


def source_of(kind: str, part: Part) -> str | None:
    """Hash of all source that a count of this part depends on; None where that cannot be known.

    A part can be made of others that its options name, as an embedding of its norm.
    """
    foreign = frozenset(filter(_is_foreign, registered()))
    names = {getattr(cls, "part_name", "") for cls in foreign}
    try:
        if not _is_foreign(lookup(kind, part.name)) and not names & {v for _, v in part.options if isinstance(v, str)}:
            return _own_source()
        own, found = _own_source(), _foreign_source(foreign)
        return own and found and hashlib.sha256((own + found).encode()).hexdigest()
    except OSError:
        return None


class Memory:
    """The counts of one version of the source.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.counts, self.new = path, _read(path), dict[str, Counts]()
        self.lock = threading.Lock()

    def get(self, key: str, length: int) -> Counts | None:
        """What is remembered by a key; None where that is nothing of this length."""
        found = self.counts.get(key)
        return found if found is not None and len(found) == length else None

    def put(self, key: str, counts: Counts) -> None:
        with self.lock:
            self.counts[key] = self.new[key] = counts
            full = len(self.new) >= WRITE_EVERY
        if full:
            self.write()

    def write(self) -> None:
        """Writes what is new, with what other processes have written meanwhile."""
        with self.lock:
            if not self.new:
                return
            new, self.new = self.new, {}
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _write(self.path, _read(self.path) | new)
            _tidy(self.path.parent, self.path)


def _checksum(counts: dict[str, Counts]) -> str:
    return hashlib.sha256(json.dumps(counts, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, Counts]:
    """The counts of a file; none where it is missing or damaged."""
    try:
        data = json.loads(path.read_bytes())
        counts = {key: tuple(values) for key, values in data["counts"].items()}
        return counts if _checksum(counts) == data["sha256"] else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _write(path: Path, counts: dict[str, Counts]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"sha256": _checksum(counts), "counts": counts}, file)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _tidy(place: Path, kept: Path) -> None:
    """Removes the oldest files of other versions of the source."""
    others = [file for file in place.glob("counts-*.json") if file != kept]
    for file in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True)[KEPT_FILES:]:
        file.unlink(missing_ok=True)


@cache
def _memory(path: Path) -> Memory:
    memory = Memory(path)
    atexit.register(memory.write)
    return memory


def memory_for(kind: str, part: Part) -> Memory | None:
    """The memory that a part's counts belong to; None where they are not remembered."""
    place = folder()
    source = None if place is None else source_of(kind, part)
    return None if place is None or source is None else _memory(place / f"counts-{source[:16]}.json")


def key_of(kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> str:
    """By what a count is remembered: everything that it depends on beside source code."""
    return json.dumps([kind, part.to_dict(), dims, height, width])


__all__ = ["VARIABLE", "Memory", "folder", "key_of", "memory_for", "source_of"]

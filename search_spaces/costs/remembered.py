"""What is found of parts, on disk: what one process counts or checks, the next one reads.

A count belongs to the source code that made it. Its file is named by a hash of this package's source and of torch's version, so a part
that is changed is counted again. Parts of other packages, and parts that are made of them, are counted by every process: what their
counts depend on, such as modules that they import, data files or installed libraries, cannot be known here.

Files lie in `hybrid-mixer-nas` in the user's cache folder (`XDG_CACHE_HOME`, or `~/.cache`). The environment variable
HYBRID_MIXER_NAS_CACHE names another folder, and "off" switches this memory off.

Nothing here can fail a computation: what cannot be read is counted, and what cannot be written is forgotten. A file is replaced as a
whole, so it is never read half-written. Of two processes that write at the same moment, the later one may leave out what the earlier
one added; that is counted and written again by the next process that needs it.
"""

import atexit
import contextlib
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from search_spaces.architecture import Part, Value
from search_spaces.registry import PartModule, lookup, registered

VARIABLE = "HYBRID_MIXER_NAS_CACHE"
"""Environment variable: a folder for what is remembered, or "off"."""

PACKAGE = Path(__file__).resolve().parent.parent

KEPT_FILES = 8
"""Files of other versions of the source that are kept when one is written, the newest."""

WRITE_EVERY = 2000
"""New counts after which they are written; the rest is written when the process ends."""

ABANDONED = 3600
"""Seconds after which a file that a process has begun to write is taken for that of a process that was killed."""

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


def _is_foreign(part: type[PartModule]) -> bool:
    return not part.__module__.startswith("search_spaces.")


def _words(value: Value) -> Iterator[str]:
    """Every text in the value of an option, which may be nested."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _words(item)


def source_of(kind: str, part: Part) -> str | None:
    """Hash of all source that a count of this part depends on; None where that cannot be known.

    A part can be made of others that its options name, as an embedding of its norm.
    """
    if _is_foreign(lookup(kind, part.name)):
        return None
    words = {word for _, value in part.options for word in _words(value)}
    if words and words & {getattr(cls, "part_name", "") for cls in registered() if _is_foreign(cls)}:
        return None
    try:
        return _own_source()
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

    def get(self, key: str, lengths: Container[int]) -> Counts | None:
        """What is remembered by a key; None where that is nothing of these lengths."""
        found = self.counts.get(key)
        return found if found is not None and len(found) in lengths else None

    def put(self, key: str, counts: Counts) -> None:
        with self.lock:
            self.counts[key] = self.new[key] = counts
            full = len(self.new) >= WRITE_EVERY
        if full:
            self.write()

    def write(self) -> None:
        """Writes what is new, with what other processes had written when this began."""
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
    """Removes the oldest files of other versions of the source, and what killed processes have left half-written."""
    for file in place.glob("counts-*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process tidies at the same time
            if time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink()
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


def key_of(kind: str, part: Part, dims: tuple[int, ...], *more: Any) -> str:
    """By what a count is remembered: everything that it depends on beside source code.

    Args:
        more: the height and width of the input, or for other counts than those of MACs their name and what else they depend on.
    """
    return json.dumps([kind, part.to_dict(), dims, *more])


def recall(
    kind: str, part: Part, dims: tuple[int, ...], *more: Any, lengths: Container[int], count: Callable[[], Counts]
) -> Counts:
    """What `count` returns, which is called where it is not remembered yet.

    Args:
        dims: as for `registry.make`.
        more: see `key_of`.
        lengths: that the result may have; of another it is counted again.
    """
    memory = memory_for(kind, part)
    if memory is None:
        return count()
    key = key_of(kind, part, dims, *more)
    known = memory.get(key, lengths)
    if known is None:
        known = count()
        memory.put(key, known)
    return known


__all__ = ["VARIABLE", "Memory", "folder", "key_of", "memory_for", "recall", "source_of"]

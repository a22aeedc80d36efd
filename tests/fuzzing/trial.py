"""One input under limits: what became of it, how long it took, and how much memory."""

import contextlib
import io
import os
import resource
import shutil
import signal
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from search_spaces.errors import InputError
from tests.fuzzing.target import Target

SECONDS = 2.0
"""Of processor time: the longest that one input may take."""

HANG = 30
"""Seconds by the clock after which an input is interrupted: it waits for something, or does not end."""

LONGEST, LONGEST_GIVEN = 25_000, 1000
"""Characters of a message, in which a list of what is allowed may be long, and of what was given."""

GROWTH = 200 * 2**20
"""Bytes of memory by which one input may raise what the process holds at most."""

ADDRESS_SPACE = 2 * 2**30
"""Bytes that the address space may grow by: what asks for more fails, whether or not it would touch the memory."""


class FaultyError(Exception):
    """An input was neither accepted nor refused as it should be."""


class _HangError(BaseException):
    """An input took so long that it was interrupted. No handler of exceptions may keep it."""


@dataclass(frozen=True)
class Trial:
    """What became of an input.

    Args:
        kind: what was changed in it.
        outcome: accepted, refused, or a word of the target's.
        seconds: of processor time.
        growth: bytes of memory above what was held before.
    """

    kind: str
    outcome: str
    seconds: float
    growth: int


def try_input(target: Target, number: int, keep: Path | None = None, most: float = SECONDS) -> Trial:
    """Makes one input and reads it.

    Args:
        keep: a folder that gets a copy of the input before it is read.
        most: seconds of processor time.

    Raises:
        FaultyError: it was refused in another form than three short parts, or took too long or too much memory.
        Exception: it crashed.
    """
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as name, _quietly():
        folder = Path(name).resolve()
        kind = target.write(number, folder)
        if keep is not None:
            shutil.copytree(folder, keep, symlinks=True, dirs_exist_ok=True)
        before, _ = _memory(renew=True)
        start = time.process_time()
        try:
            with _within(folder), _limits():
                outcome = _outcome(target, folder)
        except _HangError:
            raise FaultyError(f"it hung: interrupted after {HANG} s") from None
        seconds = time.process_time() - start
        growth = max(0, _memory()[1] - before)
    if seconds > most:
        raise FaultyError(f"it took {seconds:.1f} s")
    if growth > GROWTH:
        raise FaultyError(f"memory grew by {growth / 2**20:.0f} MiB")
    return Trial(kind, outcome, seconds, growth)


def _outcome(target: Target, folder: Path) -> str:
    try:
        return target.read(folder) or "accepted"
    except InputError as error:
        check_message(error)
        return "refused"


def check_message(error: InputError) -> None:
    """
    Raises:
        FaultyError: it is not a message in three short parts that a terminal can show.
    """
    if not (error.given and error.allowed and error.instead):
        raise FaultyError("a part of the message is empty") from error
    text = str(error)
    if len(text) > LONGEST or len(error.given) > LONGEST_GIVEN:
        raise FaultyError(f"a message of {len(text):,} characters") from error
    raw = sorted({letter for letter in text if letter != "\n" and unicodedata.category(letter) in ("Cc", "Cf", "Cs")})
    if raw:
        raise FaultyError(f"a message with the control characters {raw}") from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what commands print, which strangers may have a hand in, and without warnings of libraries."""
    with (
        contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings()
    ):  # fmt: skip
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    """Limits of address space and of time. What runs out of the first fails; what runs out of the second is interrupted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + ADDRESS_SPACE
    most = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    previous = signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(HANG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _HangError


def _memory(renew: bool = False) -> tuple[int, int]:
    """Bytes that the process holds, and held at most since the last renewal."""
    if renew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.partition(":")[0]: line for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return tuple(int(found[name].split()[1]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]

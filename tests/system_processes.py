"""The processes that run on this machine, as Linux tells of them."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of this machine. Its start, in ticks of the system, tells it from a later one with its number."""

    pid: int
    start: int
    parent: int = field(compare=False)
    title: str = field(compare=False)


def processes() -> list[Process]:
    """All that run; those that have ended and that nobody has waited for are left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # What lies behind the name, which may contain anything: state, parent, ..., and the start as the 20th.
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            title = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if fields[0] != "Z":
                found.append(Process(int(place.name), int(fields[19]), int(fields[1]), title))
    return found


def descendants(pid: int) -> list[Process]:
    """The processes that a process has started, and those that they have started; children first."""
    every, found, of = processes(), [], {pid}
    while of:
        children = [process for process in every if process.parent in of]
        found += children
        of = {process.pid for process in children}
    return found

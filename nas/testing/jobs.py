"""Setups and work for the laws of executors. It imports no torch and no pytest, so that workers start quickly."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from search_spaces.errors import InputError


@dataclass(frozen=True)
class Counted:
    """A setup that writes a line for each state that is made."""

    log: Path
    offset: int = 0

    def __call__(self) -> int:
        with self.log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return self.offset

    @property
    def made_by(self) -> list[int]:
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def nothing() -> None:
    """A setup without a state."""


def bad_setup() -> None:
    raise InputError("the setup", "b", "c")


def square(offset: int | None, job: int) -> int:
    return (offset or 0) + job**2


def later_first(_: object, job: int) -> int:
    """Jobs of larger numbers end earlier."""
    time.sleep(max(0.0, 0.3 - 0.1 * job))
    return job


def fail(_: object, job: str | int) -> str | int:
    match job:
        case "input":
            raise InputError("given", "allowed", "instead")
        case "value":
            raise ValueError("as itself", 3)
        case "exit":
            sys.exit("enough")
        case "slow":
            time.sleep(0.3)
    return job

"""Setups and works for tests of executors. It imports no torch, so that workers start quickly."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from nas.testing import jobs


def pid(_: object, job: object) -> int:
    time.sleep(0.02)
    return os.getpid()


def meet(_: object, job: tuple[Path, int]) -> int:
    """Waits until that many processes have come to a folder."""
    folder, number = job
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < number:
        time.sleep(0.01)
    return os.getpid()


def touch(folder: Path, job: int) -> float:
    """When it began; it leaves a file."""
    began = time.monotonic()
    (folder / str(job)).touch()
    time.sleep(0.05)
    return began


def wait_for(_: object, job: tuple[int, Path]) -> int:
    """Leaves a file, and works until the file `go` beside it is there."""
    number, folder = job
    (folder / f"{number}-{os.getpid()}").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    return number


class Unreadable(Exception):
    """Is pickled, and cannot be read: it needs two arguments and keeps one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def fail(_: object, job: str | int) -> Any:
    """What the laws of executors let fail, and what workers alone have to stand."""
    match job:
        case "unreadable":
            raise Unreadable("first words", "second")
        case "result":
            return lambda: None
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
    return jobs.fail(None, job)


def threads(_: object, __: object) -> tuple[int, str | None]:
    import torch

    return torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")

"""The machine a run is on: what it is, and the settings that make it fast."""

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError


def tune_allocator() -> bool:
    """Tells glibc to keep freed memory. Its defaults give every large tensor back to the kernel, and page faults dominate.

    Returns:
        Whether this C library took the settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    return all(
        mallopt(key, value)
        for key, value in ((mmap_threshold, 1 << 30), (trim_threshold, (1 << 31) - 1), (top_pad, 1 << 26))
    )


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared(threads: int, processes: int) -> int:
    """Threads of each of several processes.

    Args:
        threads: as they are asked for; 0 shares out the cores.
    """
    return threads or max(1, cores() // processes)


def prepare(threads: int, device: str) -> Any:
    """Sets threads, allocator and determinism for this process, and returns the torch device.

    Args:
        threads: of torch; 0 takes the number of cores.
        device: auto, or a torch device.

    Raises:
        InputError: there is no such device.
    """
    import torch

    tune_allocator()
    torch.set_num_threads(threads or cores())
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {device!r} cannot be used ({reason})", "auto, cpu, cuda, cuda:1, ...", "device=auto"
        ) from None
    return found


@cache
def describe(threads: int = 0) -> dict[str, Any]:
    """Processor, cores, memory and threads."""
    cpu = platform.processor() or platform.machine()
    memory = 0.0
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
        memory = int(Path("/proc/meminfo").read_text("utf-8", "replace").split()[1]) / 2**20
    except OSError:
        pass
    return {"cpu": cpu, "cores": cores(), "memory_gib": round(memory, 1), "threads": threads or cores()}


def versions() -> dict[str, str]:
    """Of Python and of what the results depend on."""
    found = {"python": platform.python_version()}
    for name in ("hybrid-mixer-nas", "torch", "torchvision", "timm", "optuna", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """The commit of the source, with "+" when it is changed; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def command() -> list[str]:
    """The command line, with the program's name instead of its path."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]

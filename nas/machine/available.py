"""The memory that this process can still get, as the machine tells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

ADDRESSES = 288 * 2**20
"""Address space that training takes beyond the memory it uses: the heap grows by 64 MiB at a time, and compiled kernels, libraries and
the stacks of threads come on top. Measured in fresh processes: 160 to 280 MiB."""


@dataclass(frozen=True, slots=True)
class Available:
    """Memory that may still be taken: bytes, and what bounds them."""

    size: int
    bound: str


def available(
    device: torch.device, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
) -> Available | None:
    """The memory that this process can still get on a device; None where nothing says so.

    On the CPU it is the least of what the kernel has, what the control group leaves, and what the limit of the address space
    leaves (`ulimit -v`). On a GPU it is what the driver reports as free, and what torch holds there without using it.

    Args:
        proc, cgroups: where the kernel tells.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Available(free + unused, f"free on {torch.cuda.get_device_name(device)}")
    if device.type != "cpu":
        return None
    found = [*_of_the_kernel(proc), *_of_control_groups(proc, cgroups), *_of_the_address_space(proc)]
    return min(found, key=lambda bound: bound.size, default=None)


def _of_the_kernel(proc: Path) -> Iterator[Available]:
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield Available(int(line.split()[1]) * 1024, "available on this machine")


def _of_control_groups(proc: Path, root: Path) -> Iterator[Available]:
    """Of the group of this process and of those around it, by version 2 and by version 1."""
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "":
            base, limit, usage, reclaimable = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, usage, reclaimable = (
                root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
            )  # fmt: skip
        else:
            continue
        inner = Path(path.lstrip("/"))
        # In a container the path may be that of the host, which is not there; its own group is then the root.
        for folder in (base / inner, *(base / parent for parent in inner.parents)):
            size, used = _number(folder / limit), _number(folder / usage)
            if size is None or used is None:
                continue
            # Cached files count as used, and the kernel gives them up when memory is short.
            cached = [int(row.split()[1]) for row in _lines(folder / "memory.stat") if row.split()[0] == reclaimable]
            yield Available(max(0, size - used + sum(cached)), "left by the limit of the control group")


def _of_the_address_space(proc: Path) -> Iterator[Available]:
    try:
        import resource
    except ImportError:  # not on this system
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = [line.split()[0] for line in _lines(proc / "self" / "statm")]
    if limit != resource.RLIM_INFINITY and pages:
        used = int(pages[0]) * resource.getpagesize()
        yield Available(max(0, limit - used - ADDRESSES), "left by the limit of the address space (ulimit -v)")


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError:
        return []


def _number(path: Path) -> int | None:
    """The number in a file; None without one, such as "max"."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def address_space_is_limited() -> bool:
    """Whether the address space of this process has a limit (`ulimit -v`)."""
    return any(_of_the_address_space(Path("/proc")))

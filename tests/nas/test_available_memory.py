"""Memory that the machine has for a process: what the kernel, its control groups and limits of the address space leave of it."""

from pathlib import Path

import pytest
import torch

from nas.machine import available

MIB = 2**20
CPU = torch.device("cpu")


def files(root: Path, **texts: str) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup with these files; `__` in a name is a slash."""
    for name, text in texts.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "proc", root / "cgroup"


def left(root: Path, **texts: str) -> tuple[int, str]:
    found = available.available(
        CPU, *files(root, **{"proc__meminfo": "MemTotal: 9 kB\nMemAvailable:  8192 kB\n"} | texts)
    )
    assert found is not None
    return found.size, found.bound


def test_the_kernel_is_asked(tmp_path: Path) -> None:
    assert left(tmp_path) == (8 * MIB, "available on this machine")


def test_nobody_says_anything(tmp_path: Path) -> None:
    assert available.available(CPU, tmp_path, tmp_path) is None


def group(folder: str, limit: str, used: int, cached: int) -> dict[str, str]:
    """The files of a group of version 2."""
    names = {
        "memory.max": limit + "\n",
        "memory.current": f"{used}\n",
        "memory.stat": f"anon 5\ninactive_file {cached}\n",
    }
    return {f"cgroup__{folder}{name}": text for name, text in names.items()}


def test_control_groups_of_version_2(tmp_path: Path) -> None:
    own = {"proc__self__cgroup": "0::/user/job\n"}
    size, bound = left(tmp_path / "a", **own, **group("user__job__", "4194304", 3 * MIB, MIB))
    assert (size, "control group" in bound) == (2 * MIB, True)
    # An outer group bounds as well, and "max" is none.
    outer = group("user__", str(2 * MIB), MIB, 0) | group("user__job__", "max", MIB, 0)
    assert left(tmp_path / "b", **own, **outer)[0] == MIB
    assert left(tmp_path / "c", **own, **group("user__job__", "max", MIB, 0))[0] == 8 * MIB
    # In a container the root is the group's own, whatever the path says.
    assert left(tmp_path / "d", **own, **group("", str(3 * MIB), MIB, 0))[0] == 2 * MIB
    # Full is full, and not less than nothing.
    assert left(tmp_path / "e", **own, **group("", str(MIB), 2 * MIB, 0))[0] == 0


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    texts = {
        "proc__self__cgroup": "5:cpu,cpuacct:/job\n3:memory:/job\n",
        "cgroup__memory__job__memory.limit_in_bytes": "4194304",
        "cgroup__memory__job__memory.usage_in_bytes": "3145728",
        "cgroup__memory__job__memory.stat": "inactive_file 1\ntotal_inactive_file 524288\n",
        "cgroup__memory__memory.limit_in_bytes": "9223372036854771712",
        "cgroup__memory__memory.usage_in_bytes": "3145728",
    }
    assert left(tmp_path, **texts)[0] == MIB + 524288


def test_the_address_space_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    pages = 1000
    limit = pages * resource.getpagesize() + available.ADDRESSES + MIB
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit if kind == resource.RLIMIT_AS else -1, -1))
    assert left(tmp_path, proc__self__statm=f"{pages} 5 5 1 0 5 0\n")[0] == MIB

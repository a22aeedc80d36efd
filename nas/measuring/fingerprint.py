"""What a time was measured on: a plain value that is kept beside the time and compared before the time is used again.

Standard library only, but for the names of GPUs.
"""

import os
import platform
import re
from pathlib import Path
from typing import Any

from nas import machine
from nas.runtimes import Setting, make_runtime
from search_spaces.errors import InputError

FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "bf16", "sve", "sve2")
"""Of a processor's instruction sets, those by which libraries choose their kernels. They differ between virtual machines of one model."""

PACKAGE = "hybrid-mixer-nas"

WORDS = {
    "processor": "processor",
    "cores": "number of cores",
    "flags": "instruction sets of the processor",
    "gpu": "GPU",
    "tf32": "use of TF32",
    "system": "system",
    "allocator": "allocator",
    "runtime": "runtime",
    "device": "device",
    "threads": "number of threads",
    "batch": "batch",
    "dtype": "type of numbers",
    "layout": "layout",
}
"""How messages call the entries of a fingerprint; an entry of versions is called by its own name."""


def fingerprint(setting: Setting) -> dict[str, Any]:
    """Processor or GPU, versions, runtime, threads, allocator, type of numbers, layout and batch; plain JSON, the same in every process.

    Args:
        setting: how networks are run; it is settled here.

    Raises:
        InputError: the runtime cannot run so on this machine.
    """
    runtime = make_runtime(setting.runtime)
    setting = runtime.settled(setting)
    return {
        "processor": processor(),
        # Of the machine: how many of them this process is kept to makes no difference while each thread has one.
        "cores": os.cpu_count() or 1,
        "flags": processor_flags(),
        "gpu": gpu_name(setting.device),
        "tf32": tf32(setting.device),
        "system": f"{platform.system()} {platform.machine()}",
        "allocator": "tuned" if machine.tune_allocator() else "as it is",
        **setting.to_dict(),
        # A part's form for inference may be faster in another version of this package.
        "versions": {
            "python": platform.python_version(),
            PACKAGE: machine.versions()[PACKAGE],
            **runtime.versions(setting),
            **gpu_versions(setting.device),
        },
    }


def check_cores(threads: int) -> None:
    """
    Raises:
        InputError: this process may use fewer cores than there are threads, so that threads wait for each other.
    """
    if threads > machine.cores():
        cores = f"{machine.cores()} core{'s' * (machine.cores() > 1)}"
        raise InputError(
            f"{threads} threads are to be measured, and this process may use {cores} only",
            "a core for each thread",
            f"threads={machine.cores()}, or taskset -c 0-{threads - 1} nas ... on a machine with as many cores",
        )


def processor() -> str:
    """The processor's name, with its family and model where the system tells them: clouds give many models one name."""
    numbers = [(word, _of_processor(key)) for word, key in (("family", "cpu family"), ("model", "model"))]
    known = ", ".join(f"{word} {number}" for word, number in numbers if number)
    return machine.describe()["cpu"] + (f" ({known})" if known else "")


def processor_flags() -> list[str]:
    """Those of `FLAGS` that this processor has; none where the system does not list them."""
    found = {*_of_processor("flags").split(), *_of_processor("Features").split()}
    return [flag for flag in FLAGS if flag in found]


def _of_processor(key: str) -> str:
    """A line of /proc/cpuinfo; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return ""
    line = re.search(rf"^{key}[ \t]*:(.*)$", text, flags=re.MULTILINE)
    return line[1].strip() if line else ""


def gpu_name(device: str) -> str:
    """The model of a CUDA device; empty for a processor."""
    if not device.startswith("cuda"):
        return ""
    import torch

    return torch.cuda.get_device_name(device)


def gpu_versions(device: str) -> dict[str, str]:
    """Versions of the driver and of the library of convolutions of a CUDA device; nothing for a processor."""
    if not device.startswith("cuda"):
        return {}
    import torch

    return {"driver": driver(), "cuDNN": str(torch.backends.cudnn.version() or "")}


def driver() -> str:
    """Version of Nvidia's kernel module; empty where the system does not tell it."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text("utf-8", "replace")
    except OSError:
        return ""
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", text)
    return found[0] if found else ""


def tf32(device: str) -> str:
    """What a CUDA device rounds to ten bits in float32: "products", "convolutions", both, or nothing; empty for a processor."""
    if not device.startswith("cuda"):
        return ""
    import torch

    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    return " and ".join(["products"] * bool(products) + ["convolutions"] * bool(convolutions))


def same_device(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """How two fingerprints differ, a clause per entry; nothing when a time of one holds for the other.

    Args:
        one: as it is now, or of one file.
        other: as it was measured, or of another file.
    """
    found = [
        f"the {WORDS.get(key, key)} is {_said(one.get(key))} and was {_said(other.get(key))}"
        for key in dict.fromkeys((*WORDS, *one, *other))
        if key != "versions" and one.get(key) != other.get(key)
    ]
    now, then = one.get("versions", {}), other.get("versions", {})
    found += [
        f"{name} is {_said(now.get(name))} and was {_said(then.get(name))}"
        for name in dict.fromkeys((*now, *then))
        if now.get(name) != then.get(name)
    ]
    return found


def _said(value: Any) -> str:
    if value in (None, "", []):
        return "none"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

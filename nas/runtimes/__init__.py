"""What runs a network: PyTorch as it is, PyTorch compiled, ONNX Runtime, or a class of yours. One file each; names are file names.

    setting = Setting(runtime="compiled", threads=1, batch=1)
    runtime = make_runtime(setting.runtime)
    setting = runtime.settled(setting)
    run = runtime.prepare(network, images, setting)
    run()

A runtime gets a network, or a unit of one, as it is trained, and brings a copy into the form in which this runtime is fastest: that is
what is used, so that is what is measured. A runtime of your own is a class with the methods of `Runtime`, made without arguments and
named by its dotted path, such as `my_package.MyRuntime`.

Standard library only; a runtime's own module, and with it torch, is imported when it is made.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nas.dotted import check_name, found_at, made_of, path_of
from search_spaces.errors import InputError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from torch import Tensor, nn

NAMES = ("eager", "compiled", "onnx")
"""The runtimes that come with nas."""

ABOUT = {
    "eager": "PyTorch, operator by operator",
    "compiled": "torch.compile of the whole network, for its sizes",
    "onnx": "ONNX Runtime",
}
"""What each of `NAMES` is."""

_CONTRACT = "a class with name, settled(setting), prepare(module, inputs, setting) and versions(setting), made without arguments"

DTYPES = ("float32", "bfloat16", "float16")
LAYOUTS = ("channels_last", "contiguous")

MOST_THREADS = 4096
LARGEST_BATCH = 2**20


@dataclass(frozen=True)
class Setting:
    """How a network is run.

    Args:
        runtime: one of `NAMES`, or the dotted path of a class.
        device: a torch device, such as cpu, cuda or cuda:1.
        threads: of one process, at least 1.
        batch: images at once.
        dtype: of weights and maps, one of `DTYPES`.
        layout: of maps in memory, one of `LAYOUTS`.

    Raises:
        InputError: a value out of range.
    """

    runtime: str = "eager"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    dtype: str = "float32"
    layout: str = "channels_last"

    def __post_init__(self) -> None:
        check_runtime(self.runtime)
        for key, most in (("threads", MOST_THREADS), ("batch", LARGEST_BATCH)):
            value = getattr(self, key)
            if type(value) is not int or not 1 <= value <= most:
                raise InputError(f"{key} is {value!r}", f"a whole number from 1 to {most:,}", f"{key}=1")
        for key, names in (("dtype", DTYPES), ("layout", LAYOUTS)):
            if getattr(self, key) not in names:
                raise unknown(key, getattr(self, key), names, f"{key}={{}}")

    def to_dict(self) -> dict[str, Any]:
        """Its fields; `Setting(**setting.to_dict()) == setting`."""
        return asdict(self)


@runtime_checkable
class Runtime(Protocol):
    """What runs networks. `name` is what settings call it.

    A runtime that takes more than seconds to prepare a network may have `slow = True`; what it has prepared is then kept in memory and
    used again where it can be. One that makes files of networks may have `keep_in(folder)`, which is told where to keep them.
    """

    name: str

    def settled(self, setting: Setting) -> Setting:
        """The setting as it will really be, such as with the one layout that this runtime has.

        Raises:
            InputError: the runtime is not installed, or cannot run so: no such device, or no such type of numbers.
        """
        ...

    def prepare(self, module: "nn.Module", inputs: "tuple[Tensor, ...]", setting: Setting) -> "Callable[[], object]":
        """What runs the module on the inputs once, when it is called, in the fastest form that the runtime has for it.

        Args:
            module: a network, a unit of one, or any other module, as it is trained; it is left as it is.
            inputs: of its forward, float32 tensors on the CPU.
            setting: one that is settled.

        Returns:
            A function that gives the outputs. Its work is done when it returns, unless it is `nas.measuring.timing.SelfTimed`.

        Raises:
            InputError: the runtime cannot run this module.
        """
        ...

    def versions(self, setting: Setting) -> dict[str, str]:
        """Versions and options of the libraries that the time depends on, by name.

        Args:
            setting: one that is settled. What changes nothing on its device is left out, since latencies are only compared if all is equal.
        """
        ...


def make_runtime(name: str, key: str = "runtime") -> Runtime:
    """A runtime by its name.

    Args:
        name: one of `NAMES`, or the dotted path of a class.
        key: of the command that the name comes from, as messages call it.

    Raises:
        InputError: there is no such runtime, or the class is none.
    """
    check_runtime(name, key)
    found: Any = found_at(path_of(name, NAMES, "nas.runtimes"), NAMES, key, "runtime", "prepare", ours=name in NAMES)
    runtime = made_of(found, f"{key}={name}", _CONTRACT)
    if not isinstance(runtime, Runtime):
        lacks = [method for method in ("name", "settled", "prepare", "versions") if not hasattr(runtime, method)]
        what = f"{name.rpartition('.')[2]} has no {' and no '.join(lacks)}"
        raise InputError(f"{key}={name}: {what}", _CONTRACT, f"{key}=eager, or fix {name}")
    return runtime


def prepare_all(
    runtime: Runtime, jobs: "Iterable[tuple[nn.Module, tuple[Tensor, ...]]]", setting: Setting
) -> "Iterator[Callable[[], object]]":
    """What `runtime.prepare` gives for each of many modules, in their order, and in less time where the runtime has a `prepare_all` of
    its own.

    Args:
        jobs: modules and their inputs.
        setting: one that is settled.

    Raises:
        InputError: the runtime cannot run one of the modules.
    """
    own = getattr(runtime, "prepare_all", None)
    if own is not None:
        yield from own(jobs, setting)
        return
    for module, inputs in jobs:
        yield runtime.prepare(module, inputs, setting)


def keep_in(runtime: Runtime, folder: "Path") -> bool:
    """Tells a runtime to keep what it makes of modules in a folder, so that a second preparation, in this process or a later one, is
    quick; a runtime without `keep_in` makes nothing that could be kept.

    Returns:
        Whether it keeps anything.
    """
    own = getattr(runtime, "keep_in", None)
    if own is None:
        return False
    own(folder)
    return True


def check_runtime(name: str, key: str = "runtime") -> None:
    """Whether `name` is one of `NAMES`, or has the form of a dotted path; imports nothing.

    Raises:
        InputError: neither.
    """
    check_name(name, NAMES, key, "MyRuntime")

"""torch.compile of a whole module, for fixed sizes."""

import os
import shutil
import subprocess
import types
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.machine.environment import variable
from nas.runtimes import Setting
from nas.runtimes.cuda import graphed
from nas.runtimes.forms import check_device, check_outputs, folded, outputs_of, placed, placed_inputs, set_threads
from search_spaces.errors import InputError

CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""The variable that names the folder of the compiler's files."""

ON_CPU = {"cpp_wrapper": True}
"""Options of the compiler for a processor: kernels are called from C++. One image through a small network spends a tenth of its time in
Python's calls of them otherwise (DECISIONS.md, 81).
"""


class Compiled:
    """torch.compile with inductor: one graph for one module and its sizes. Compiling takes seconds to a minute.

    It is given the form for inference, since the compiler folds neither batch norms nor parallel branches by itself. `make bench` compares
    that, in its section compiled, with a straightforward implementation that is compiled: it is 1.0 to 2.2 times faster.
    """

    name = "compiled"
    slow = True

    def __init__(self) -> None:
        self._folder: Path | None = None

    def keep_in(self, folder: Path) -> None:
        """See `nas.runtimes.keep_in`. The compiler's cache is kept: the code of every graph, by the graph, its sizes and versions."""
        self._folder = folder

    def settled(self, setting: Setting) -> Setting:
        """The setting as given.

        Raises:
            InputError: there is no such device, or no C++ compiler for a processor's code.
        """
        check_device(setting.device)
        compiler = os.environ.get("CXX", "g++")
        if torch.device(setting.device).type == "cpu" and _compiler() is None:
            raise InputError(
                f"runtime compiled needs a C++ compiler, and there is no {compiler}",
                "g++ or clang++ on the PATH, or named by the variable CXX",
                "apt install g++, or runtime=eager",
            )
        return setting

    def prepare(self, module: nn.Module, inputs: tuple[Tensor, ...], setting: Setting) -> Callable[[], object]:
        """See `Runtime.prepare`.

        Raises:
            InputError: the module cannot be compiled as one graph, or gives other outputs then.
        """
        set_threads(setting)
        fast, images = placed(folded(module), setting), placed_inputs(inputs, setting)
        on_cpu = torch.device(setting.device).type == "cpu"
        options: dict[str, Any] | None = dict(ON_CPU) if on_cpu else None
        compiled = torch.compile(_own_code(fast), dynamic=False, fullgraph=True, options=options)

        @torch.inference_mode()
        def run() -> object:
            return compiled(*images)

        try:
            with warnings.catch_warnings(), _cache_in(self._folder):
                warnings.simplefilter("ignore")  # advice about settings of kernels
                y = run()
        except Exception as error:  # whatever the compiler finds
            reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
            raise InputError(
                f"runtime compiled cannot compile this network ({type(error).__name__}: {reason})",
                "networks that torch.compile takes as one graph",
                "runtime=eager",
            ) from error
        check_outputs(y, outputs_of(module, inputs), setting)
        return run if on_cpu else graphed(run, setting.device)

    def versions(self, setting: Setting) -> dict[str, str]:
        """Of torch; on a processor of the compiler of its code, and its options, which change times, too."""
        if torch.device(setting.device).type != "cpu":
            return {"torch": torch.__version__}
        options = ", ".join(f"{name}={value}" for name, value in ON_CPU.items())
        return {"torch": torch.__version__, "C++ compiler": _compiler_version(), "compiler options": options}


def _cache_in(folder: Path | None) -> AbstractContextManager[None]:
    """Lets the compiler keep its files in a folder; in its own, which many systems empty, if that is None."""
    return nullcontext() if folder is None else variable(CACHE, str(folder.resolve()))


def _compiler() -> str | None:
    """The path of the compiler that torch takes; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


@cache
def _compiler_version() -> str:
    """The first line of what the C++ compiler says of itself; empty where there is none."""
    path = _compiler()
    if path is None:
        return ""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, encoding="utf-8", errors="replace", timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.partition("\n")[0].strip()


def _own_code(module: nn.Module) -> Callable[..., object]:
    """A function that calls the module and whose code object is its own.

    torch.compile remembers what it has compiled by code object, looks through all of it in every call, and gives up after a few modules
    of one class. With code of their own any number of networks is compiled side by side, and none slows down another.
    """

    def call(*inputs: Tensor) -> object:
        return module(*inputs)

    return types.FunctionType(call.__code__.replace(), call.__globals__, "call", None, call.__closure__)

"""Shape annotations are checked while tests run: `Float[Tensor, "b c h w"]` becomes an assertion on every call."""

import atexit
import dataclasses
import gc
import importlib
import inspect
import os
import pkgutil
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType

# Before numpy is imported. The matrices are small, and a second thread of OpenBLAS would only wait, at full load.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import pytest

CHECKER = 'beartype.beartype(conf=__import__("beartype").BeartypeConf(is_pep484_tower=True))'
"""An int is a float, as in every type checker; beartype has to be told."""


def checked_modules() -> list[str]:
    """Everything that handles tensors: search_spaces' folders of parts, its layers, networks and models, and all of supernet.

    But for the laws (`testing`), whose assertions pytest rewrites.
    """
    root = Path(__file__).parent.parent
    folders = {path.parent.name for path in (root / "search_spaces").glob("*/__init__.py")} - {"space", "testing"}
    training = {path.stem for path in (root / "supernet").iterdir()} - {"__init__", "__pycache__", "testing"}
    first = ("layers", "network", "dynamic_convs", "timm_models")
    names = [f"search_spaces.{name}" for name in (*first, *sorted(folders))]
    return names + [f"supernet.{name}" for name in sorted(training)]


def with_submodules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), f"{name}."):
        yield importlib.import_module(found.name)


def checks_no_shape(found: object) -> bool:
    """Whether it is a function of the hook's, around one that annotates no shape."""
    if not isinstance(found, FunctionType) or not found.__globals__["__name__"].startswith("jaxtyping."):
        return False
    if (
        "<locals>" in inspect.unwrap(found).__code__.co_qualname
    ):  # timm's entry points, which are registered as they are
        return False
    return "jaxtyping." not in str(list(found.__annotations__.values()))


def leave_out_what_has_no_shapes(module: ModuleType) -> None:
    """Takes the check off functions that annotate no shape.

    The hook puts it on every function, and five of six have no shape to check. They are constructors above all, which tests call some
    millions of times: the check would take longer than they do. Options keep it, since nothing else checks their types.
    """
    own = [found for found in vars(module).values() if getattr(found, "__module__", "") == module.__name__]
    classes = [found for found in own if inspect.isclass(found) and not dataclasses.is_dataclass(found)]
    for owner in (module, *classes):
        for name, found in list(vars(owner).items()):
            if checks_no_shape(found) and found.__module__ == module.__name__:
                setattr(owner, name, inspect.unwrap(found, stop=lambda f: not checks_no_shape(f)))


# Counts of parts are remembered on disk, but not in the user's folder; commands that tests start inherit this.
cache = tempfile.mkdtemp(prefix="hybrid-mixer-nas-")
atexit.register(shutil.rmtree, cache, ignore_errors=True)
os.environ["HYBRID_MIXER_NAS_CACHE"] = cache


def pytest_configure(config: pytest.Config) -> None:
    """Installs the checks, but for the process of pytest-xdist that only hands out tests: it would take seconds, and the others wait for it."""
    hands_out = config.getoption("tx", None) and not config.option.collectonly and not hasattr(config, "workerinput")
    if hands_out:
        return
    # Nearly all of the 600,000 objects that are made by imports and collection stay, and looking for garbage among them takes a tenth of the time.
    gc.disable()
    config.add_cleanup(gc.enable)
    config.add_cleanup(gc.unfreeze)  # or triton complains at the end of objects that were left
    # Before anything of the project is imported; the value types need no check (and typing.Self cannot be checked by method).
    early = [name for name in sys.modules if name.startswith(("search_spaces.", "supernet."))]
    if early:
        raise RuntimeError(f"{early[0]} is imported before its shape checks are installed")
    import jaxtyping
    import torch

    jaxtyping.install_import_hook(checked_modules(), CHECKER)
    for checked in checked_modules():
        for part in with_submodules(checked):
            leave_out_what_has_no_shapes(part)
    torch.set_num_threads(1)  # the networks are small, and bitwise laws hold for any one number of threads


def pytest_collection_finish() -> None:
    """Garbage is collected again while tests run, but not among what is there before the first."""
    gc.freeze()
    gc.enable()

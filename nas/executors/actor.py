"""The process of a Ray cluster that does jobs: what it is asked, and what it must be equal in.

The class of the actor is sent by value, so that a node without this package can say so. What it needs of the package it imports
once its paths are those of the caller.
"""

import hashlib
import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("search_spaces", "supernet", "nas")


@dataclass(frozen=True)
class Place:
    """Where the caller works; actors work there too, as far as their node has it.

    Args:
        folder: relative paths of a configuration start there.
        path: where Python looks for modules.
    """

    folder: str
    path: tuple[str, ...]


@cache
def identity() -> dict[str, str]:
    """What must be equal on all nodes, for equal results: the source of this project, and versions of what it computes with."""
    from nas import machine

    digest = hashlib.sha256()
    for package in PACKAGES:
        root = Path(importlib.import_module(package).__file__ or "").parent
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{file.relative_to(root).as_posix()}\n".encode() + file.read_bytes())
    return {**machine.versions(), "source of hybrid-mixer-nas": digest.hexdigest()[:12]}


def difference(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """The name of the first entry of our identity in which another differs; empty where none does."""
    return next((name for name in ours if theirs.get(name) != ours[name]), "")


def state_of(pickled: bytes, array: Any) -> Any:
    """What a pickled setup makes, in a process that computes with one thread.

    Args:
        array: the setup's tensors; None where it has none.
    """
    from nas.executors.shared import unpack, wrapped

    setup = unpack(pickled, None if array is None else wrapped(array))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    return setup()


def actor_class() -> type:
    """The class of an actor. It is made by a call, and refers to no module outside of its methods, so that it is pickled by value."""

    class Worker:
        def __init__(self, folder: str, path: tuple[str, ...]) -> None:
            import os
            import sys

            os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
            if os.path.isdir(folder):
                os.chdir(folder)
            theirs = [place for place in path if os.path.exists(place)]
            sys.path[:] = [*theirs, *(place for place in sys.path if place not in theirs)]
            self.state: Any = None
            self.work: Any = None

        def about(self) -> dict[str, Any]:
            """Its process, its node, and its identity or why it has none."""
            import os
            import socket

            found: dict[str, Any] = {"pid": os.getpid(), "host": socket.gethostname(), "missing": "", "identity": {}}
            try:
                from nas.executors.actor import identity

                found["identity"] = identity()
            except Exception as error:  # it is not there, or of another Python
                found["missing"] = f"{type(error).__name__}: {error}"
            return found

        def ping(self) -> bytes:
            """Nothing, of an actor that lives."""
            return b""

        def prepare(self, pickled: bytes, array: Any) -> bytes:
            """Makes the state, and forgets the one before. The array has the setup's tensors; all processes of a node read the same."""
            from nas.executors.actor import state_of
            from nas.executors.worker import READY, attempt

            self.state = None

            def make() -> None:
                self.state = state_of(pickled, array)

            return attempt(make, READY)

        def do(self, work: bytes | None, job: bytes) -> bytes:
            """One job, of the work that it was told last."""
            from nas.executors.cluster import cloudpickle
            from nas.executors.worker import RESULT, attempt

            def run() -> Any:
                if work is not None:
                    self.work = cloudpickle.loads(work)
                return self.work(self.state, cloudpickle.loads(job))

            return attempt(run, RESULT, cloudpickle.dumps)

    return Worker

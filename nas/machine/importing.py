"""Imports of large packages, which take most of the time of a short command."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_runs_one_command: list[bool] = []


def one_command() -> None:
    """Says that this process runs one command and ends, so that what it imports stays until the end."""
    if not _runs_one_command:
        _runs_one_command.append(True)
        # Or the interpreter would leave the frozen objects there when it ends, of which triton complains on standard error.
        atexit.register(gc.unfreeze)


@contextmanager
def importing() -> Iterator[None]:
    """Garbage collection is off inside. torch and timm make 600,000 objects, nearly all of which stay, and collections during their import
    took a fifth of its time. In a process of one command the objects are frozen, too, so that later collections pass them by.

    Nothing is frozen where nothing new was imported: what a command has made by then may become garbage.
    """
    was, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if _runs_one_command and len(sys.modules) > before:
            gc.freeze()
        if was:
            gc.enable()

"""When Python need not look for garbage."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_one_command = False


def runs_one_command() -> None:
    """Says that this process runs one command and ends, so that what it imports stays until the end."""
    global _one_command
    if not _one_command:
        _one_command = True
        # Or the interpreter would leave the frozen objects there when it ends, of which triton complains on standard error.
        atexit.register(gc.unfreeze)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Garbage is not collected inside."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def importing() -> Iterator[None]:
    """For imports of large packages: torch and timm make 600,000 objects, nearly all of which stay, and looking for garbage among them takes a
    fifth of the time of their import. In a process of one command the objects are frozen, too, so that later collections pass them by.

    Nothing is frozen where nothing new was imported: what a command has made by then may become garbage.
    """
    before = len(sys.modules)
    with no_garbage_collection():
        try:
            yield
        finally:
            if _one_command and len(sys.modules) > before:
                gc.freeze()

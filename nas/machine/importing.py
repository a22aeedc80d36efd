"""Imports of large packages, which take most of the time of a short command."""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_stays: list[bool] = []


def everything_stays() -> None:
    """Says that this process runs one command: what exists when an import is done will be there until the end."""
    if not _stays:
        _stays.append(True)
        atexit.register(gc.unfreeze)  # or extension modules complain of objects that were left, on standard error


@contextmanager
def importing() -> Iterator[None]:
    """No garbage is looked for inside: torch and timm make a million objects, none of them garbage, and looking through them again and again
    took a fifth of the time of `nas extract`. In a process of one command they are not looked through later, either.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if _stays:
            gc.freeze()
        if was:
            gc.enable()

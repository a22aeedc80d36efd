"""The file of `out=FILE`, which commands write outside of a run. `nas.runs.inside` says which links they follow. Standard library only."""

import os
from pathlib import Path

from nas.runs.disk import offering
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded

INSTEAD = "out=table.csv"


def check_out(path: str) -> None:
    """Before work that takes a while.

    Raises:
        InputError: no file can be written there, or a link stands there.
    """
    file = expanded(path)
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"out={file} cannot be written", "a file in a folder that you may write", INSTEAD)
    with offering(INSTEAD):
        RunStore(file.parent).path_to_write(file.name)


def write_out(path: str, text: str) -> Path:
    """Writes the file, and the folders above it that are missing.

    Raises:
        InputError: it cannot be written, or a link stands there.
    """
    file = expanded(path)
    with offering(INSTEAD):
        return RunStore(file.parent).write_text(file.name, text)

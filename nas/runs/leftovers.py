"""Temporary files that a killed process left in a run folder. Standard library only."""

import os
import re
import sys
from pathlib import Path

from nas.runs.inside import Inside

_TEMPORARY = re.compile(r"\..+\.(\d+)\.tmp")
"""A file that is being written, with the process that writes it."""


def is_temporary(name: str) -> bool:
    """Whether a file of this name is being written, or was when its process was killed."""
    return _TEMPORARY.fullmatch(name) is not None


def remove_leftovers(inside: Inside) -> None:
    """Removes the temporary files below a folder whose processes have ended.

    Raises:
        OSError: one of them cannot be removed.
    """
    for folder, _, names in os.walk(inside.folder):  # which follows no links
        for name in names:
            found = _TEMPORARY.fullmatch(name)
            if found and not _alive(int(found[1])):
                inside.remove((Path(folder) / name).relative_to(inside.folder).as_posix())


def _alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # there os.kill ends the process, whatever the signal
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True

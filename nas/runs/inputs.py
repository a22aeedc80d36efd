"""Files that a search or a training used, as they were: what comes out depends on their content, not only on their paths.

Standard library only.
"""

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.config.search import SearchConfig
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded, open_ordinary

DIGITS = 12

SUPERNET = "supernet.safetensors"


def digests_of(settings: SearchConfig) -> dict[str, str]:
    """By path, the first 12 hexadecimal digits of the SHA-256 of every file of measured costs, of learned costs and of devices.

    Raises:
        InputError: a file cannot be read.
    """
    paths = dict.fromkeys((*settings.measured, *settings.learned, *settings.profiles))
    return {path: _digest(path) for path in paths}


def supernet_digest(store: RunStore) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a run's supernet.safetensors; "" where there is none, or none that can be read."""
    try:
        return _digest_of(store.path(SUPERNET))
    except OSError:
        return ""


def check_supernet(recorded: str | None, now: str, store: RunStore, who: str) -> None:
    """
    Args:
        recorded: the digest that a search wrote down; None, as of an older version, allows every supernet.
        now: as `supernet_digest` gives it.
        who: the search.

    Raises:
        InputError: the supernet is not the one that the search has results of.
    """
    if recorded is not None and recorded != now:
        raise InputError(
            f"{who} used another supernet (SHA-256 {recorded}..., {store.path(SUPERNET)} has {f'{now}...' if now else 'none'}): accuracies with inherited "
            "weights of two supernets cannot be compared",
            f"{SUPERNET} as it was, because what has been found depends on it",
            f"restore {shlex.quote(str(store.path(SUPERNET)))}, or search.name=another, without close=true",
        )


def _digest_of(path: Path) -> str:
    with open_ordinary(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _digest(path: str) -> str:
    try:
        return _digest_of(expanded(path))
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error})",
            "the files of costs that search.measured, search.learned and search.profiles name",
            f"restore {path}, or name another file",
        ) from None


def check_unchanged(recorded: Any, now: Mapping[str, str], who: str, instead: str) -> None:
    """
    Args:
        recorded: the digests that were written down; anything else, as of an older version, allows every file.
        now: as `digests_of` gives them. Files that were not recorded are allowed.
        who: the run or search that used the files.
        instead: what can be done, for the message, beside restoring the files.

    Raises:
        InputError: a file is not what it was.
    """
    before = recorded if isinstance(recorded, dict) else {}
    changed = [path for path, digest in now.items() if before.get(path, digest) != digest]
    if changed:
        whole = ", ".join(f"{path} (SHA-256 {before[path]}..., now {now[path]}...)" for path in changed)
        raise InputError(
            f"{who} used other contents of {whole}: costs by the old and the new values cannot be compared",
            "the files as they were, because what has been found depends on them",
            f"restore {shlex.join(changed)}, or {instead}",
        )

"""What is asked of a study.db before SQLite opens it: it may come with a run folder that somebody else made.

SQLite follows links, and does what a file tells it to do: a journal may name another file, which SQLite deletes when it has rolled the
journal back, and a view or a trigger runs for as long as it likes. Files that Optuna made have none of these.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

from nas.runs.inside import Inside
from nas.runs.store import RunStore

SIDES = ("-journal", "-wal", "-shm")
"""What SQLite has behind the name of a database, for the files beside it."""

LONGEST = 2**26
"""Bytes of one value. Those of a trial have a few hundred."""

_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that names another file."""

_FOREIGN = "SELECT COUNT(*) FROM sqlite_master WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'"


def place_of(store: RunStore, name: str) -> Path:
    """Where the studies of a run lie.

    Raises:
        InputError: a link stands there, or at one of the files that SQLite writes beside it.
    """
    return store.path_to_write(name, *(f"{name}{side}" for side in SIDES))


def settle(path: Path) -> None:
    """Removes a database that would have SQLite do something else than read and write rows of it; it can be made again.

    Raises:
        InputError: a link stands in its place, or at one of the files beside it.
        OSError: it cannot be read or removed.
    """
    Inside(path.parent).checked(path.name, *(f"{path.name}{side}" for side in SIDES))
    if _names_another(path.with_name(f"{path.name}-journal")) or _has_more_than_tables(path):
        remove(path)


def remove(path: Path) -> None:
    """Removes a database and what SQLite wrote beside it: a journal is never left for another file of the same name.

    Raises:
        OSError: a file cannot be removed.
    """
    for side in (*SIDES, ""):
        Inside(path.parent).remove(f"{path.name}{side}")


def harden(connection: sqlite3.Connection) -> None:
    """Limits what statements on a stranger's tables may do."""
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    connection.execute("PRAGMA trusted_schema = OFF")


def _names_another(journal: Path) -> bool:
    try:
        with journal.open("rb") as file:
            file.seek(-min(len(_NAMES_ANOTHER), os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read() == _NAMES_ANOTHER
    except FileNotFoundError:
        return False


def _has_more_than_tables(path: Path) -> bool:
    """Whether a database has views, triggers or virtual tables. One that cannot be read is left to those who write it."""
    if not path.exists():
        return False
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0)
        try:
            harden(connection)
            return connection.execute(_FOREIGN).fetchone() != (0,)
        finally:
            connection.close()
    return False

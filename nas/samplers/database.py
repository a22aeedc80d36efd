"""What is asked of a study.db before SQLite opens it: it may come with a run folder that somebody else made.

SQLite follows links, and does what a file tells it to do: a journal may name another file, which SQLite deletes when it has rolled the
journal back, and a view, a trigger, a CHECK or a column that is computed runs for as long as it likes. So the file must have exactly
the tables that Optuna makes. Optuna also reads whole tables into memory, so a file must not have much more than the records need.
"""

import functools
import os
import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

from optuna.storages import RDBStorage

from nas.runs.inside import Inside
from nas.runs.store import RunStore

SIDES = ("-journal", "-wal", "-shm")
"""What SQLite has behind the name of a database, for the files beside it."""

LONGEST = 2**20
"""Bytes of one value. Those of a trial have a few hundred."""

SPARE_BYTES = 2**24
"""Size of a file whatever the records have: there may be studies of the user in it."""

BYTES_PER_BYTE = 128
"""Size of a file for each byte of the records; 3 to 6 are usual, and more with genes of many choices."""

SPARE_ROWS = 10_000
"""Rows that Optuna may load beyond those that the trials have: of a study that is about to be replaced."""

STUDY_ROWS = 50_000
"""Rows that tell of the studies of all searches, and not of their trials: some five for each study."""

ROW = 4096
"""Characters of a row, on average over all that are loaded. Those of a trial have a few hundred."""

_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that names another file."""

_RECORDS = ("evaluations.jsonl", "searches/*/evaluations.jsonl")
"""Where the records lie beside the file."""

_OF_STUDIES = (
    "alembic_version", "version_info", "studies", "study_directions", "study_user_attributes", "study_system_attributes",
)  # fmt: skip
"""Tables that Optuna reads whole."""

_OF_TRIALS = (
    "trial_params", "trial_values", "trial_user_attributes", "trial_system_attributes", "trial_intermediate_values", "trial_heartbeats",
)  # fmt: skip
"""Tables of which Optuna reads what belongs to the trials of a study."""

_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master"


def place_of(store: RunStore, name: str) -> Path:
    """Where the studies of a run lie.

    Raises:
        InputError: a link stands there, or at one of the files that SQLite writes beside it.
    """
    return store.path_to_write(name, *(f"{name}{side}" for side in SIDES))


def settle(path: Path, names: Collection[str] = (), rows: int = 0) -> None:
    """Removes a database that would have SQLite do something else than read and write rows of it, or that has far more of them than
    the records need; it can be made again.

    Args:
        names: of the studies whose trials will be loaded.
        rows: that these trials have in all tables, by the records.

    Raises:
        InputError: a link stands in its place, or at one of the files beside it.
        OSError: it cannot be read or removed.
    """
    Inside(path.parent).checked(path.name, *(f"{path.name}{side}" for side in SIDES))
    if _names_another(path.with_name(f"{path.name}-journal")) or _is_foreign(path, names, rows):
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


def _is_foreign(path: Path, names: Collection[str], rows: int) -> bool:
    """Whether a database has other tables than Optuna's, or too much in them. One that is locked is left to those who write it."""
    if not path.exists():
        return False
    records = sum(file.lstat().st_size for pattern in _RECORDS for file in path.parent.glob(pattern))
    sides = [path.with_name(f"{path.name}{side}") for side in ("", *SIDES)]
    if sum(file.lstat().st_size for file in sides if file.exists()) > SPARE_BYTES + BYTES_PER_BYTE * records:
        return True
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0)
        try:
            harden(connection)
            return _normalised(connection.execute(_TABLES)) != _tables() or _has_too_much(connection, names, rows)
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return False
    except sqlite3.Error:  # no database, a damaged one, or a value that is too long
        return True


def _normalised(tables: Iterable[Iterable[str | None]]) -> list[list[str]]:
    """What makes the tables and indexes of a database, in an order of its own and without the spaces that tell nothing."""
    return sorted([" ".join((text or "").split()) for text in row] for row in tables)


@functools.cache
def _tables() -> list[list[str]]:
    """Those that the Optuna that is installed makes."""
    storage = RDBStorage("sqlite:///:memory:")
    try:
        with storage.engine.connect() as connection:
            return _normalised(tuple(row) for row in connection.exec_driver_sql(_TABLES))
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _has_too_much(connection: sqlite3.Connection, names: Collection[str], rows: int) -> bool:
    """Whether Optuna would load far more than the records need."""
    connection.text_factory = bytes
    if _is_longer((connection.execute(f"SELECT * FROM {table}") for table in _OF_STUDIES), STUDY_ROWS):
        return True
    found = (
        connection.execute("SELECT study_id FROM studies WHERE study_name = ?", (name,)).fetchone() for name in names
    )
    studies = [study for study in found if study is not None]
    own = "SELECT trial_id FROM trials WHERE study_id = ?"
    selections = (
        "SELECT * FROM trials WHERE study_id = ?",
        *(f"SELECT * FROM {table} WHERE trial_id IN ({own})" for table in _OF_TRIALS),
    )
    parts = (connection.execute(selection, study) for study in studies for selection in selections)
    return _is_longer(parts, rows + SPARE_ROWS)


def _is_longer(parts: Iterable[sqlite3.Cursor], rows: int) -> bool:
    """Whether these are more rows, or more text; no more than that is read."""
    count = size = 0
    for part in parts:
        for row in part:
            count += 1
            size += sum(len(value) for value in row if isinstance(value, bytes))
            if count > rows or size > ROW * rows:
                return True
    return False

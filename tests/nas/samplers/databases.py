"""Databases that tests open with Optuna. The fixture `closed` of conftest.py closes them when the test ends."""

from pathlib import Path

from optuna.storages import RDBStorage

opened: list[RDBStorage] = []


def database(path: Path) -> RDBStorage:
    """Optuna's view of a file. Of one that it opens by a URL alone nobody can close the connections, of which Python 3.13 warns."""
    opened.append(RDBStorage(f"sqlite:///{path}"))
    return opened[-1]

"""Studies that tests load from a database by its URL."""

from collections.abc import Iterator
from typing import Any

import optuna
import pytest


@pytest.fixture(autouse=True)
def closed_databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes what they leave open: Python 3.13 warns of it. Optuna offers no way that is closed by itself."""
    opened: list[optuna.storages.RDBStorage] = []
    first = optuna.storages.RDBStorage.__init__

    def init(storage: optuna.storages.RDBStorage, *args: Any, **keys: Any) -> None:
        first(storage, *args, **keys)
        opened.append(storage)

    monkeypatch.setattr(optuna.storages.RDBStorage, "__init__", init)
    yield
    for storage in opened:
        storage.engine.dispose()

"""The folder of a command: what has to stay there as it is, what is compared, and a space with one word changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command_line import SPACE, contents, results


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Checks that every file in a folder stays as it is, and that none is added."""
    before = contents(folder)
    yield
    after = contents(folder)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    # A verb that has looked at a run leaves its lock, which is empty.
    assert [name for name in changed if name != "run/work/lock"] == []


def without_page(place: Path) -> dict[str, object]:
    """Of `results`, all but the page, which says what was typed."""
    return {name: value for name, value in results(place).items() if name != "report.html"}


def tiny(old: str, new: str) -> str:
    assert SPACE.count(old) == 1, old
    return SPACE.replace(old, new)

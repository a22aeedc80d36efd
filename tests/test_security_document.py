"""SECURITY.md says what the code does."""

import importlib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

ROWS = re.findall(r"^\| ([^|]+) \| ([\d,]+(?: [KMG]iB)?) \| `([\w.]+):([\w.]+)` \|$", TEXT, flags=re.MULTILINE)


def value_of(module: str, name: str) -> Any:
    """The value of a constant, of an entry of a table, or of the default of a field."""
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        if isinstance(value, dict):
            value = value[part]
        elif isinstance(value, type) and is_dataclass(value):
            value = {field.name: field.default for field in fields(value)}[part]
        else:
            value = getattr(value, part)
    return value


def written(value: int) -> set[str]:
    """How a limit may be written: with its thousands set apart, or as binary multiples of bytes."""
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    return {f"{value:,}", *(f"{value // size:,} {unit}" for unit, size in units.items() if value % size == 0)}


@pytest.mark.parametrize(("what", "limit", "module", "name"), ROWS, ids=[row[3] for row in ROWS])
def test_a_limit_is_that_of_the_code(what: str, limit: str, module: str, name: str) -> None:
    assert limit in written(value_of(module, name)), what


def test_every_row_of_the_table_is_read() -> None:
    lines = [
        line
        for line in TEXT.splitlines()
        if line.startswith("| ") and "`" in line.rpartition("|")[0].rpartition("|")[2]
    ]
    assert len(lines) == len(ROWS) >= 20


def test_what_it_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make (\w+)`", TEXT):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for path in re.findall(r"`(tests/[\w./]+)`", TEXT):
        assert (ROOT / path).exists(), path

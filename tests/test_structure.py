"""The code is read in pieces that a reader can hold: no long file, no long function, and few entries at the top of a package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PACKAGES = ("nas", "supernet", "search_spaces", "tests")

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 350, 60

MOST_ENTRIES = 30
"""Files and folders at the top of `nas`, which has a folder per family of files."""


def files(package: str) -> Iterator[tuple[str, str]]:
    """The path and the text of every file of code of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def functions(text: str) -> Iterator[tuple[str, int]]:
    """The name of every function, method and function within another, and its lines from `def` to its end."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_long(package: str) -> None:
    long = {name for name, text in files(package) if len(text.splitlines()) > MOST_LINES}
    assert long == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_function_is_long(package: str) -> None:
    long = {
        (name, function)
        for name, text in files(package)
        for function, lines in functions(text)
        if lines > MOST_LINES_OF_A_FUNCTION
    }
    assert long == set()


def test_the_top_of_nas_fits_on_a_screen() -> None:
    entries = [path.name for path in (ROOT / "nas").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES, entries

"""Files that anybody may have written: opened only if they are ordinary, read up to a size, and parsed within limits."""

import json
import os
import pickle
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.architecture import Architecture
from search_spaces.errors import LONGEST, InputError, unknown, visible
from search_spaces.files.plain import NETWORK, RUN, Limits, fault_of, parse
from search_spaces.files.toml import MOST_PARTS, parse_toml, read_toml, value_of, value_or_text
from search_spaces.textfiles import expanded, open_ordinary, read_bytes, read_text


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("nothing")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # whose own name may have no more than 107 bytes


NOT_ORDINARY = (pipe, folder, endless, circle, nowhere, listening)


@pytest.mark.parametrize("make", NOT_ORDINARY)
def test_only_ordinary_files_are_opened(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    make(path)
    for read in (open_ordinary, read_bytes, read_text, read_toml):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - any of them, with words
            read(path)
        assert caught.value.strerror


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "/".join(["y" * 200] * 30), "half \ud800"])
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        read_text(tmp_path / name)
    assert caught.value.strerror
    if "\ud800" not in name:
        with pytest.raises(InputError, match="cannot be used"):
            expanded(name)


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    assert read_text(tmp_path / "link") == "text"


def test_sizes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_bytes(path, 100) == b"x" * 100
    for read in (read_bytes, read_text):
        with pytest.raises(OSError, match="it has 100 bytes, and at most 99 are read"):
            read(path, 99)
    with open(path, "wb") as file:
        file.truncate(2**40)
    start = time.process_time()
    with pytest.raises(OSError, match="at most"):
        read_bytes(path)
    with pytest.raises(UnicodeError, match="zero bytes"):  # whatever its size: nothing but its beginning is read
        read_text(path, 2**41)
    assert time.process_time() - start < 0.5


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a file that says that it has no bytes")
def test_a_file_that_has_more_than_it_says() -> None:
    assert read_bytes("/proc/self/status").startswith(b"Name:")
    with pytest.raises(OSError, match="at most 10 are read"):
        read_bytes("/proc/self/status", 10)


# JSON

NESTED = "[" * 5000 + "]" * 5000

NO_JSON = {
    "": "Expecting value", "[1,": "Expecting", "1" * 5000: "4300", NESTED: "lists and tables", "[" * 50 + "]" * 50: "lists and tables",
    '{"a": 1, "a": 1}': "the key 'a' twice", '[{"x": {"b": 1, "b": 2}}]': "the key 'b' twice", "NaN": "no number of JSON",
    "[-Infinity]": "no number of JSON", "1e999": "not finite", '"\\ud800"': "surrogate", "[" + "1," * 30 + "1]": "values",
    '"' + "x" * 50 + '"': "a text of 50", "1001": "above",
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), NO_JSON.items(), ids=map(str, range(len(NO_JSON))))
def test_texts_that_are_no_json(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text, Limits(values=20, characters=40, largest=1000))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=20), st.lists, max_leaves=10
    )
)
@settings(max_examples=50, deadline=None)
def test_what_is_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    text = json.dumps(value)
    for limits in (NETWORK, RUN):
        if fault_of(value, limits) is None:
            assert parse(text, limits) == value


def test_an_architecture_takes_no_worse_json() -> None:
    for text in (NESTED, "1" * 5000, '{"a": 1, "a": 1}', "NaN"):
        with pytest.raises(InputError, match="not JSON"):
            Architecture.from_json(text)


# TOML

NO_TOML = {
    "a = [": "Invalid", "a = " + "[" * 3000: "inside each other", "a = " + "[" * 30 + "]" * 30: "inside each other",
    "a = " + "1" * 5000: "4300", "a = 0x" + "f" * 5000: "above", "a.b" + ".c" * 50 + " = 1": "parts", "x = 1\n[" + "'q' . " * 50 + "r]": "parts",
    "a = 1\na = 2": "Cannot overwrite", "a" * (2**20 + 1): "characters",
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), NO_TOML.items(), ids=map(str, range(len(NO_TOML))))
def test_texts_that_are_no_toml(text: str, words: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=words):
        parse_toml(text)
    assert time.process_time() - start < 2


def test_dots_in_texts_and_numbers_are_no_parts_of_keys() -> None:
    text = f'about = "{". ".join(["two words"] * 100)}"\nlist = [{", ".join(["0.5"] * 100)}]\n{".".join("abc")} = 1\n'
    assert parse_toml(text)["a"] == {"b": {"c": 1}}
    assert MOST_PARTS < 100


def test_values_of_a_command_line() -> None:
    assert [value_of(text) for text in ("1", "1.5", "true", '"a"', "[1, 2]")] == [1, 1.5, True, "a", [1, 2]]
    for text in ("abc", "1\nother = 2", "", "1" * 5000, "[" * 3000):
        assert value_or_text(text) == text
        with pytest.raises(ValueError):  # noqa: PT011
            value_of(text)


# Messages


@given(st.text(), st.text(), st.text(), st.lists(st.text(), max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_message_has_its_own_lines_and_no_others(given: str, allowed: str, instead: str, listed: list[str]) -> None:
    error = InputError(given, allowed, instead, listed)
    lines = str(error).split("\n")
    assert len(lines) == 3 + len(listed)
    assert all(line.isprintable() and len(line) <= LONGEST + 40 for line in lines)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert str(InputError(again.given, again.allowed, again.instead, again.listed)) == str(error)


def test_long_texts_and_characters_that_a_terminal_obeys() -> None:
    assert visible("größe 3×4 “q” é") == "größe 3×4 “q” é"
    assert len(visible("\x00" * 5000)) <= LONGEST
    assert visible("a\x1b[31m\nb\u202e\ud800") == "a\\x1b[31m\\nb\\u202e\\ud800"
    error = InputError("begin " + "x" * 10**6 + " end", "any", "b" * 10**6)
    assert len(str(error)) < 3 * LONGEST
    assert error.given.startswith("begin x")
    assert error.given.endswith("x end")


def test_unknown_names_are_no_format_strings() -> None:
    error = unknown("key", "sede", ["seed", "space"], "{}={x}{0}{}%s{{")
    assert error.instead == "seed={x}{0}{}%s{{"
    long = unknown("key", "x" * 10**5, ["seed"])
    assert len(str(long)) < 400
    assert unknown("key", "\x1b[2J", ["seed"]).given == "unknown key '\\x1b[2J'"

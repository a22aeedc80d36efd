"""What is written and removed below a folder follows no links, and several files are written together or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.runs import inside
from nas.runs.inside import Inside, parts_of
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from tests.command_line import contents


@pytest.fixture(params=["by steps", "by paths"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A run folder beside a folder of the user, on a system that opens files relative to folders and on one that does not."""
    if request.param == "by paths":
        monkeypatch.setattr(inside, "_BY_STEPS", False)
    elif not inside._BY_STEPS:
        pytest.skip("this system opens files by their paths only")
    (tmp_path / "outside" / "folder").mkdir(parents=True)
    (tmp_path / "outside" / "precious").write_text("years of work")
    (tmp_path / "outside" / ".left.99999999.tmp").write_text("half")
    (tmp_path / "run" / "a").mkdir(parents=True)
    return RunStore(tmp_path / "run")


WRITERS: dict[str, Callable[[RunStore, str], object]] = {
    "write": lambda store, name: store.write_text(name, "new"),
    "together": lambda store, name: store.write_together({"first": b"1", name: b"2"}),
    "append": lambda store, name: store.append(name, {"n": 1}),
    "move": lambda store, name: store.move("there", name),
    "move away": lambda store, name: store.move(name, "elsewhere"),
    "make a folder": lambda store, name: store.make_folder(name),
    "hand on": lambda store, name: store.path_to_write(name),
    "descriptor": lambda store, name: os.close(Inside(store.folder).open(name, os.O_RDWR | os.O_CREAT)),
}


LINKS = [
    ("file", "file", "outside/precious"),
    ("file", "file", "outside/nothing"),
    ("file", "file", "outside/folder"),
    ("a/file", "a/file", "outside/precious"),
    ("a/b/file", "a/b", "outside/folder"),
    ("b/file", "b", "outside"),
    ("b/file", "b", "run"),  # to itself
]
"""What is written, where the link stands, and where it points."""


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_links_are_refused(store: RunStore, tmp_path: Path, write: Callable[[RunStore, str], object]) -> None:
    """Wherever they stand below the folder and wherever they point. What they point to stays as it is, and so do they."""
    store.write_text("there", "old")
    for name, link, target in LINKS:
        (store.folder / link).symlink_to(tmp_path / target)
        before = contents(tmp_path)
        with pytest.raises(InputError, match="is a link"):
            write(store, name)
        assert contents(tmp_path) == before, name
        assert (store.folder / link).is_symlink(), name
        (store.folder / link).unlink()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_names_that_lead_out_of_the_folder_are_no_names(
    store: RunStore, tmp_path: Path, write: Callable[[RunStore, str], object]
) -> None:
    store.write_text("there", "old")
    before = contents(tmp_path)
    for name in ("../x", "a/../../x", "/x", "a//x", ".", "..", "", "a/", "a\0b"):
        with pytest.raises(InputError, match="no name of a file"):
            write(store, name)
        assert not store.exists(name)
    assert contents(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("write", ["write", "append", "descriptor"])
def test_pipes_are_refused(store: RunStore, write: str) -> None:
    """Opening one waits for a reader that never comes."""
    os.mkfifo(store.folder / "pipe")
    with pytest.raises(InputError, match="no ordinary file"):
        WRITERS[write](store, "pipe")


def test_the_folder_itself_may_be_reached_through_links(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(store.folder)
    mine = RunStore(tmp_path / "mine")
    mine.lock()
    mine.write_text("a/b/file", "text")
    mine.append("lines.jsonl", {"n": 1})
    assert store.read_text("a/b/file") == "text"
    assert store.records("lines.jsonl") == [{"n": 1}]


def test_hard_links_are_files(store: RunStore, tmp_path: Path) -> None:
    os.link(tmp_path / "outside" / "precious", store.folder / "file")
    store.write_text("file", "new")
    assert (tmp_path / "outside" / "precious").read_text() == "years of work"


def test_removing_takes_the_link_and_not_its_target(store: RunStore, tmp_path: Path) -> None:
    (store.folder / "file").symlink_to(tmp_path / "outside" / "precious")
    (store.folder / "a" / "b").symlink_to(tmp_path / "outside")
    before = contents(tmp_path / "outside")
    store.remove("file")
    store.remove("nothing")
    with pytest.raises(InputError, match="is a link"):
        store.remove("a/b/precious")
    assert not (store.folder / "file").is_symlink()
    assert contents(tmp_path / "outside") == before


def test_leftovers_are_removed_in_the_folder_only(store: RunStore, tmp_path: Path) -> None:
    for folder in (store.folder, store.folder / "a"):
        (folder / ".left.99999999.tmp").write_text("half")
        (folder / ".other.99999998.tmp").symlink_to(tmp_path / "outside" / "precious")
    (store.folder / "elsewhere").symlink_to(tmp_path / "outside")
    before = contents(tmp_path / "outside")
    store.lock()
    assert contents(tmp_path / "outside") == before
    assert not [path for path in store.folder.rglob(".*.tmp") if "elsewhere" not in path.parts]


def test_a_link_with_the_name_of_the_temporary_file(store: RunStore, tmp_path: Path) -> None:
    """It is taken away, and its target stays."""
    (store.folder / f".file.{os.getpid()}.tmp").symlink_to(tmp_path / "outside" / "precious")
    store.write_text("file", "new")
    assert store.read_text("file") == "new"
    assert (tmp_path / "outside" / "precious").read_text() == "years of work"


FILES = {"first": b"new 1", "a/second": b"new 2", "third": b"new 3"}


@pytest.mark.parametrize("linked", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("old", [(), ("first", "third")], ids=["nothing before", "two before"])
def test_files_are_written_together_or_not_at_all(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, failing: int, old: tuple[str, ...], linked: bool
) -> None:
    """Whichever of the renames fails, and whether the file system has hard links."""
    for name in old:
        store.write_text(name, f"old {name}")
    before, replace, calls = contents(store.folder), os.replace, []

    def fail_once(*arguments: object, **keywords: object) -> None:
        calls.append(1)
        if len(calls) == failing + 1:
            raise OSError(5, "Input/output error")
        replace(*arguments, **keywords)  # type: ignore[arg-type]

    def no_links(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "replace", fail_once)
    if not linked:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(InputError, match="cannot be written"):
        store.write_together(FILES)
    assert contents(store.folder) == before
    assert [path.read_bytes() for path in store.write_together(FILES)] == [*FILES.values()]
    assert contents(store.folder).keys() == {"first", "a", "a/second", "third"}


def test_a_folder_in_the_place_of_the_last_file_leaves_the_first_ones(store: RunStore) -> None:
    store.write_text("first", "old")
    (store.folder / "third").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        store.write_together(FILES)
    assert contents(store.folder).keys() == {"first", "a", "third"}
    assert store.read_text("first") == "old"


@pytest.mark.parametrize(("name", "parts"), [("a", ("a",)), ("a/b.c/d", ("a", "b.c", "d")), ("...", ("...",))])
def test_names_are_split(name: str, parts: tuple[str, ...]) -> None:
    assert parts_of(name) == parts

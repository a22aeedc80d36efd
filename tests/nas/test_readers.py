"""Reports, checks and copies of a run only read it: in a folder that cannot be written, and while another process writes it."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import lock_descriptor

from nas import load_network
from nas.runs.store import RunStore
from tests.command_line import SEARCH, Commands, Runs, contents, results
from tests.nas.places import untouched
from tests.nas.reporting.pages import OUTPUTS

After = Callable[[str], Path]
linux = pytest.mark.skipif(sys.platform != "linux", reason="root is bound by permissions by a means of Linux")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Takes the permission to write from a folder and everything below it; root is bound too in commands that are `obedient`."""
    paths = [folder, *folder.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def without_cards(found: dict[str, str]) -> dict[str, str]:
    """The files of networks that are the same in a run and elsewhere: a run keeps more weights, and its cards tell of them."""
    return {
        k: v
        for k, v in found.items()
        if not k.endswith(("card.json", "README.md")) and "/retrained" not in k and "/weights." not in k
    }


def check_readers(nas: Commands, place: Path, run: str) -> None:
    """Every command that reads, with what it writes elsewhere; and what plain commands offer leads there."""
    found = nas("report", f"run={run}", "out=page", cwd=place, obedient=True).ok()
    assert "report: page/report.html" in found.out
    assert sorted(path.name for path in (place / "page").iterdir()) == sorted(OUTPUTS)
    nas("extract", f"run={run}", "out=models", cwd=place, obedient=True).ok()
    extracted = without_cards(contents(place / run / SEARCH / "networks"))
    assert without_cards(contents(place / "models")) == extracted
    nas("extract", f"run={run}", "out=models", "verify=true", cwd=place, obedient=True).ok()
    nas("extract", f"run={run}", "verify=true", cwd=place, obedient=True).ok()
    digest = min((place / run / SEARCH / "networks").iterdir()).name
    nas("extract", f"run={run}", "out=one/deep", f"digest={digest}", cwd=place, obedient=True).ok()
    assert without_cards(contents(place / "one" / "deep")) == {
        k: v for k, v in extracted.items() if k.startswith(digest)
    }
    nas("extract", f"run={run}", "out=merged", "merge=true", cwd=place, obedient=True).ok()
    assert load_network(place / run / SEARCH / "networks" / digest).arch == load_network(place / "models" / digest).arch


@linux
@pytest.mark.parametrize("lock", [True, False])
def test_a_folder_that_cannot_be_written(lock: bool, nas: Commands, after: After) -> None:
    """Also one that came without its `work` folder, as a copy for others may."""
    place = after("report")
    if not lock:
        for path in sorted((place / "run" / "work").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (place / "run" / "work").rmdir()
    with read_only(place / "run"), untouched(place / "run"):
        _, allowed, instead = nas("report", "run=run", cwd=place, obedient=True).refused(
            "run/front.csv cannot be written"
        )
        assert (allowed, instead) == ("a folder that can be written", "nas report run=run out=DIR")
        _, _, instead = nas("extract", "run=run", "digest=ab", cwd=place, obedient=True).refused("cannot be written")
        assert instead == "nas extract run=run digest=ab out=DIR"
        for verb in ("train", "search", "retrain", "demo"):
            nas(verb, "config.toml", cwd=place, obedient=True).refused("run/work", "cannot be written", "run=PATH")
        check_readers(nas, place, "run")
    assert (place / "page" / "report.html").read_bytes() == (place / "run" / "report.html").read_bytes()


@linux
def test_a_folder_that_cannot_be_read(nas: Commands, after: After) -> None:
    place = after("report")
    (place / "run").chmod(0)
    try:
        for verb in ("report", "search"):
            nas(verb, "run=run", cwd=place, obedient=True).refused("run cannot be read (Permission denied)")
        nas("train", "config.toml", cwd=place, obedient=True).refused("run/run.json cannot be read (Permission denied)")
    finally:
        (place / "run").chmod(0o755)


@linux
def test_what_cannot_be_written_either(nas: Commands, after: After) -> None:
    place = after("report")
    (place / "shut").mkdir()
    with read_only(place / "shut"), untouched(place):
        for out in ("shut", "shut/page", "config.toml", "config.toml/page"):
            for verb in ("report", "extract"):
                given, _, instead = nas(verb, "run=run", f"out={out}", cwd=place, obedient=True).refused(
                    "cannot be written"
                )
                assert given.startswith(f"{out}/")
                assert instead == "out=PATH of such a folder"


def test_a_run_that_is_being_written(nas: Commands, after: After) -> None:
    place = after("report")
    with open(place / "run" / "work" / "lock") as held, untouched(place / "run"):
        assert lock_descriptor(held.fileno(), blocking=False)
        with open(place / "run" / SEARCH / "evaluations.jsonl", "ab") as lines:
            lines.write(b'{"n": 99, "origin": {"kind"')  # a line that is not yet whole
        check_readers(nas, place, "run")
        nas("report", "run=run", cwd=place).ok()
        for arguments in (("search",), ("extract",), ("retrain",), ("extract", "extract.out=run/networks")):
            nas(arguments[0], "config.toml", *arguments[1:], cwd=place).refused("run is in use by another process")
        with open(place / "run" / SEARCH / "evaluations.jsonl", "rb+") as lines:
            lines.truncate((place / "run" / SEARCH / "evaluations.jsonl").read_bytes().rfind(b"\n") + 1)


def test_a_report_elsewhere_is_no_setting_of_the_run(nas: Commands, after: After, runs: Runs) -> None:
    place = after("retrain")
    nas("demo", "config.toml", "report.out=page", cwd=place).ok()
    assert sorted(path.name for path in (place / "page").iterdir()) == sorted(OUTPUTS)
    assert not (place / "run" / "report.html").exists()
    assert results(place)["run.json"] == results(runs["retrain"])["run.json"]
    nas("report", "run=run", cwd=place).ok()
    assert results(place) == results(runs["report"])


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run works, and a line says what nobody takes care of."""

    def refuse(*_: object, blocking: bool) -> bool:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    stores = [RunStore(tmp_path / "run"), RunStore(tmp_path / "run")]
    for store in stores:
        store.lock()
    said = capsys.readouterr().err
    assert said.count(f"the file system of {tmp_path / 'run'} has no locks ({os.strerror(number)})") == 1
    stores[0].write_text("note", "kept")
    assert stores[1].read_text("note") == "kept"


def test_the_lock_file_keeps_its_content(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "run")
    (tmp_path / "run" / "work").mkdir(parents=True)
    store.path("work/lock").write_text("a note")
    store.lock()
    assert store.path("work/lock").read_text() == "a note"


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    """Its target, somebody else's file, stays what it is."""
    (tmp_path / "run" / "work").mkdir(parents=True)
    (tmp_path / "precious").write_text("content")
    (tmp_path / "run" / "work" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="is a link"):
        RunStore(tmp_path / "run").lock()
    assert (tmp_path / "precious").read_text() == "content"


def test_a_killed_holder_frees_the_run(tmp_path: Path) -> None:
    holding = "import sys, time; from nas.runs.store import RunStore; s = RunStore(sys.argv[1]); s.lock(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", holding, tmp_path / "run"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="in use by another process"):
            RunStore(tmp_path / "run").lock()
        holder.kill()
    RunStore(tmp_path / "run").lock()


def test_a_lock_that_fails_otherwise_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, blocking: bool) -> bool:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("filelock.lock_descriptor", refuse)
    with pytest.raises(ValueError, match="cannot be written"):
        RunStore(tmp_path / "run").lock()

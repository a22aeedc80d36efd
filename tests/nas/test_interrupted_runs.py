"""Runs that ended early, by ctrl-C, a kill, a full disk or a loss that is no number: what they leave, and how they go on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import SEARCH, Commands, Runs, contents, environment, results, study
from tests.nas.places import untouched

After = Callable[[str], Path]


@pytest.fixture(scope="module")
def interrupted_run(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose training was ended with ctrl-C after a checkpoint."""
    for _ in range(5):  # until a key was pressed in time
        place = tmp_path_factory.mktemp("interrupted") / "place"
        shutil.copytree(runs.before("train"), place)
        process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", "train", "config.toml"],
            cwd=place, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        while process.poll() is None and not (place / "run" / "work" / "train.pt").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        if process.returncode:
            assert process.returncode == 130, err
            assert err.endswith("nas: interrupted; the same command resumes\n")
            assert "Traceback" not in err
            return place
    raise AssertionError("training was always faster")


@pytest.fixture
def interrupted(interrupted_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(interrupted_run, tmp_path / "interrupted"))


def test_interrupted_training_goes_on(nas: Commands, interrupted: Path, runs: Runs) -> None:
    assert "resuming from step" in nas("train", "config.toml", cwd=interrupted).ok().out
    assert results(interrupted) == results(runs["train"])


def test_a_checkpoint_of_other_weights_is_named_and_kept(nas: Commands, interrupted: Path) -> None:
    """As an earlier version of a part would have left it."""
    import torch

    checkpoint = interrupted / "run" / "work" / "train.pt"
    state = torch.load(checkpoint)
    state["module"] = {name: tensor[None] for name, tensor in state["module"].items()}
    torch.save(state, checkpoint)
    with untouched(interrupted):
        nas("train", "config.toml", cwd=interrupted).refused("run/work/train.pt does not fit")


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named_and_kept(keep: float, nas: Commands, interrupted: Path, runs: Runs) -> None:
    checkpoint = interrupted / "run" / "work" / "train.pt"
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(keep * len(content))])
    with untouched(interrupted):
        _, _, instead = nas("train", "config.toml", cwd=interrupted).refused("checkpoint run/work/train.pt is damaged")
    assert instead.startswith("rm run/work/train.pt")
    if keep == 0.5:
        checkpoint.unlink()
        nas("train", "config.toml", cwd=interrupted).ok()
        assert results(interrupted) == results(runs["train"])


def test_the_order_of_the_verbs(nas: Commands, after: After, interrupted: Path) -> None:
    trained, searched = after("train"), after("search")
    with untouched(interrupted):
        for verb in ("search", "extract", "retrain", "report"):
            nas(verb, "run=run", "search.budget=900K", cwd=interrupted).refused()
        _, _, instead = nas("search", "run=run", cwd=interrupted).refused("run holds no trained supernet")
        assert instead == "nas train run=run"
    with untouched(trained):
        for verb in ("extract", "retrain"):
            _, _, instead = nas(verb, "run=run", cwd=trained).refused("run has no search")
            assert instead == "nas search run=run"
        nas("report", "run=run", cwd=trained).refused()
    with untouched(searched):
        _, _, instead = nas("retrain", "run=run", "retrain.epochs=2", cwd=searched).refused("run has not extracted")
        assert instead == "nas extract run=run search=small"


def test_what_killed_processes_left_does_not_matter(nas: Commands, place: Path, runs: Runs) -> None:
    """Temporary files of a process that is gone are removed; a run that was killed while it was made is made again."""
    (place / "run").mkdir()
    gone, alive = 2**22 + 1, os.getpid()  # no process has a number that high
    for process in (gone, alive):
        (place / "run" / f".split.json.{process}.tmp").write_text("{")
    (place / "run" / "space.toml").write_text("name =")
    nas("train", "config.toml", cwd=place).ok()
    assert [path.name for path in (place / "run").glob(".*.tmp")] == [f".split.json.{alive}.tmp"]
    (place / "run" / f".split.json.{alive}.tmp").unlink()
    assert results(place) == results(runs["train"])


# A disk that is full


FULL = [
    # the command, bytes there are for a file, the file that does not fit
    ("train", 3_000, "split.json"),
    ("train", 100_000, "supernet.safetensors"),
    ("search", 3_000, "evaluations.jsonl"),
    ("search", 90_000, "study.db"),
    ("extract", 10_000, "weights.safetensors"),
    ("retrain", 10_000, "/retrained-scratch-0.safetensors"),
    ("report", 30_000, "front.png"),
]


@pytest.mark.parametrize(("verb", "limit", "file"), FULL, ids=[f"{verb} {file}" for verb, _, file in FULL])
def test_a_full_disk(verb: str, limit: int, file: str, nas: Commands, runs: Runs, tmp_path: Path) -> None:
    place = Path(shutil.copytree(runs.before(verb), tmp_path / "place"))
    old = results(place)
    # One checkpoint would be larger than all that.
    settings = ["config.toml", *(["train.checkpoint_steps=999"] if verb == "train" else [])]
    given, _, instead = nas(verb, *settings, cwd=place, limit=limit).refused(file)
    assert "run/" in given
    assert "run the same command again: it resumes where it stopped" in instead
    if verb == "retrain":  # it has begun, with this recipe
        del old[f"{SEARCH}/search.json"]
    assert {name: value for name, value in results(place).items() if name in old} == old
    assert not list(place.rglob(".*.tmp"))
    for lines in (place / "run").rglob("*.jsonl"):
        assert lines.read_bytes().endswith(b"\n") or not lines.read_bytes()
    nas(verb, *settings, cwd=place).ok()
    expected = results(runs[verb])
    if verb == "train":
        expected["run.json"]["config"]["train"]["checkpoint_steps"] = 999  # type: ignore[index]
    assert results(place) == expected
    if verb == "search":
        assert study(place) == study(runs[verb])


def test_a_full_disk_leaves_the_last_checkpoint(nas: Commands, interrupted: Path, runs: Runs) -> None:
    checkpoint = interrupted / "run" / "work" / "train.pt"
    with untouched(interrupted):
        result = nas("train", "config.toml", cwd=interrupted, limit=checkpoint.stat().st_size - 1)
        result.refused("run/work/train.pt", "the previous file, if any, is intact")
    nas("train", "config.toml", cwd=interrupted).ok()
    assert results(interrupted) == results(runs["train"])


def test_a_full_disk_leaves_the_last_report(nas: Commands, after: After, runs: Runs) -> None:
    place = after("report")
    with untouched(place):
        nas("report", "run=run", cwd=place, limit=1_000).refused("run/front.csv", "is intact")
    nas("report", "run=run", cwd=place).ok()
    assert results(place) == results(runs["report"])


# Training that diverges


def test_retraining_that_diverges(nas: Commands, after: After) -> None:
    """Exit code 1, what to change, and no network of numbers that are none; then the change is accepted."""
    place = after("extract")
    settings = ("retrain", "config.toml", "checkpoint_steps=2")
    before = contents(place / "run" / SEARCH / "networks")
    result = nas(*settings, "lr=1e30", "clip=0", cwd=place)
    assert (result.code, "Traceback" in result.err) == (1, False)
    assert result.err.splitlines()[-1].endswith("ended with a loss that is not finite: lower retrain.lr")
    assert contents(place / "run" / SEARCH / "networks") == before
    nas(*settings, "lr=0.001", "clip=1", cwd=place).ok()

"""Whether a supernet has learned anything, by the log of its training."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.config.effective import run_config
from nas.runs.run import Run, open_run
from nas.runs.store import RunStore
from nas.training.losses import at_chance, guessing
from nas.training.supernet import Recorder
from supernet.loop import Report

GUESS = math.log(10)  # the digits of the run, which are spread evenly


@given(st.lists(st.integers(0, 50), min_size=2, max_size=6).filter(any), st.floats(0, 0.9))
@settings(deadline=None)
def test_no_answer_for_all_images_has_less(counts: list[int], smoothing: float) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    shares = (1 - smoothing) * torch.tensor(counts, dtype=torch.float64) / len(labels) + smoothing / len(counts)

    def loss(logits: torch.Tensor) -> float:
        return float(F.cross_entropy(logits.expand(len(labels), -1), labels, label_smoothing=smoothing))

    best = (shares + 1e-300).log()
    assert guessing(counts, smoothing) == pytest.approx(loss(best), abs=1e-9)
    for seed in range(3):
        other = best.clamp(min=-20) + torch.randn(len(counts), generator=torch.Generator().manual_seed(seed))
        assert loss(other) >= guessing(counts, smoothing) - 1e-9


def test_guessing_knows_how_frequent_classes_are() -> None:
    assert guessing([5, 5], 0.1) == pytest.approx(math.log(2))
    assert guessing([90, 10], 0.1) < 0.6 * math.log(2)


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ([{"loss": GUESS}] * 4, True),
        ([{"loss": 0.5}] * 6 + [{"loss": GUESS}] * 4, True),  # it is the end that counts
        ([{"loss": GUESS}] * 6 + [{"loss": 0.9 * GUESS}] * 4, False),
        ([{"loss": GUESS}] * 8 + [{"loss": 0.1}], True),  # one batch is no end
        ([{"loss_largest": GUESS, "loss_smallest": GUESS}] * 4, True),
        ([{"loss_largest": GUESS, "loss_smallest": 0.5}] * 4, False),
        ([{"loss_largest": 0.5, "loss_smallest": GUESS}] * 4, False),
        ([{"loss": 3 * GUESS}] * 4, False),  # a sum over sub-networks
        ([{"loss": None}] * 4, False),
        ([{"loss": "none"}] * 4, False),
        ([], False),
    ],
)
def test_the_end_of_training(
    after: Callable[[str], Path],
    losses: list[dict[str, object]],
    said: bool,
) -> None:
    store = RunStore(after("train") / "run")
    store.path("train.jsonl").unlink()
    for number, line in enumerate(losses, 1):
        store.append(
            "train.jsonl", {"step": 50 * number, "epoch": 0, **line, "lr": 0.1, "grad_norm": None, "skipped": 0}
        )
    assert ("learned next to nothing" in at_chance(store)) == said
    assert (f"in {50 * len(losses)} of 9,000 steps" in at_chance(store, 9000)) == said


@pytest.mark.parametrize("text", ["{", '{"step": "all"}\n', '{"loss": 2.3}\n'])
def test_a_log_that_cannot_be_read_says_nothing(after: Callable[[str], Path], text: str) -> None:
    """No search depends on it."""
    store = RunStore(after("train") / "run")
    store.path("train.jsonl").write_text(text)
    assert at_chance(store) == ""


def untrained(folder: Path, **train: float) -> Run:
    """A run without the log of its training."""
    store = RunStore(folder)
    run = open_run(run_config(store, str(folder)), writes=False)
    store.path("train.jsonl").unlink()
    return replace(run, config=replace(run.config, train=replace(run.config.train, **cast(Any, train))))


@pytest.mark.parametrize(
    ("total", "warm_up", "begun", "said"),
    [
        (1400, 200, 0, [500]),  # a fourth of the way after the warm-up
        (1400, 200, 500, [500]),  # as a run goes on that was killed before it wrote that line
        (1400, 200, 550, [500]),  # as one that was killed after it
        (1130, 110, 0, [400]),  # at the first line from there on
        (1100, 200, 0, []),  # short
        (1400, 2000, 0, []),  # all of it is warm-up
    ],
)
def test_a_supernet_that_still_guesses_is_reported_once_and_early(
    after: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    total: int,
    warm_up: int,
    begun: int,
    said: list[int],
) -> None:
    """Also where training goes on from a checkpoint that is older than the log."""
    run = untrained(after("train") / "run", epochs=10, warmup_epochs=10 * warm_up / total)
    told = []
    for first, last in ((0, begun), (max(0, begun - 100), total)):
        recorder = Recorder(run)
        recorder.begin(cast(Any, SimpleNamespace(step_count=first, parameters={})), total)
        for step in range(first + 1, last if last < total else total + 1):
            recorder.report(Report(step, 0, 0, {"loss": GUESS}, 0.1, 1.0, 0))
            if "learned next to nothing" in (out := capsys.readouterr().out):
                told.append(step)
                assert f"in {step:,} of {total:,} steps" in out
    assert told == said


def test_a_damaged_run_ends_no_training_for_a_hint(after: Callable[[str], Path]) -> None:
    folder = after("train") / "run"
    recorder = Recorder(untrained(folder, warmup_epochs=0))
    recorder.begin(cast(Any, SimpleNamespace(step_count=0, parameters={})), 2000)
    for step in range(1, 501):
        if step == 500:
            (folder / "run.json").write_text("{")
        recorder.report(Report(step, 0, 0, {"loss": GUESS}, 0.1, 1.0, 0))

"""Whether a supernet has learned anything, by the log of its training."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.runs.store import RunStore
from nas.training.losses import at_chance, guessing

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

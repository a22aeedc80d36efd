"""Accuracy and loss against a plain loop."""

import math
from typing import cast

import pytest
import torch

import nas.searching.evaluation
from nas import load_config
from nas.data import Split
from nas.machine.available import Available
from nas.searching.evaluation import ROOM, EvaluatorSetup, evaluate
from search_spaces.named import read_space


def test_equals_a_plain_loop_whatever_the_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(23, 5, generator=generator), torch.randint(0, 5, (23,), generator=generator)
    right = sum(
        int(max(range(5), key=lambda c: row[c].item()) == label) for row, label in zip(logits, labels, strict=True)
    )
    loss = -sum(row.double().log_softmax(0)[label].item() for row, label in zip(logits, labels, strict=True)) / 23
    for size in (1, 4, 23):
        found = evaluate(lambda x: x, zip(logits.split(size), labels.split(size), strict=True))
        assert found.top1 == right / 23
        assert found.images == 23
        assert math.isclose(found.loss, loss, rel_tol=1e-6)


def test_no_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="no images"):
        evaluate(lambda x: x, [])


def test_kept_maps_take_a_quarter_of_the_free_memory_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def room(free: int, evaluation: str = "exact") -> int:
        monkeypatch.setattr(nas.searching.evaluation, "available", lambda _: Available(free, "free"))
        config = load_config(None, [f"search.evaluation={evaluation}", "search.jobs=2"])
        split = cast(Split, None)  # not read
        return EvaluatorSetup(config, read_space("images32"), split, {})._room(torch.device("cpu"))

    assert room(2**30) == 2**27
    assert room(2**50) == ROOM
    assert room(2**50, "plain") == 0

"""Accuracy and loss against a plain loop."""

import math

import pytest
import torch

from nas.evaluation import evaluate


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

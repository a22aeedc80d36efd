"""Accuracy of a network on images."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Batches = Iterable[tuple[Tensor, Tensor]]


class Accuracy(NamedTuple):
    """top1 in [0, 1], mean cross-entropy in nats, and the number of images."""

    top1: float
    loss: float
    images: int


@torch.no_grad()
def evaluate(forward: Callable[[Tensor], Tensor], batches: Batches) -> Accuracy:
    """Top-1 and loss of `forward` over all batches (images (b, c, h, w), labels (b)).

    Raises:
        ValueError: there are no images.
    """
    right, loss, images = 0, 0.0, 0
    for x, y in batches:
        logits = forward(x).float()
        right += int((logits.argmax(dim=1) == y).sum())
        loss += float(F.cross_entropy(logits, y, reduction="sum").double())
        images += len(y)
    if not images:
        raise ValueError("no images to evaluate on")
    return Accuracy(right / images, loss / images, images)

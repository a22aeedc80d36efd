"""Top-1, top-5 and loss of a network on images, and the interval that the number of images leaves."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.errors import InputError

Z = 1.959963984540054
"""Quantile of the normal distribution behind an interval of 95 %."""


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score, which also holds near 0 and 1.

    Raises:
        ValueError: no images, or more right answers than images.
    """
    if not 0 <= right <= images or not images:
        raise ValueError(f"{right} of {images}")
    share, square = right / images, Z * Z / images
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * math.sqrt(share * (1 - share) / images + square / (4 * images))
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Score:
    """
    Args:
        images, right, right_of_five: how many were seen, answered right, and had the right class among the first five; the last is None
            for a network of five classes or fewer.
        loss: mean cross-entropy over all outputs, in nats.
    """

    images: int
    right: int
    right_of_five: int | None
    loss: float

    @property
    def top1(self) -> float:
        return self.right / self.images

    @property
    def top5(self) -> float | None:
        return None if self.right_of_five is None else self.right_of_five / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """Of `top1`, with 95 % confidence."""
        return wilson(self.right, self.images)


@torch.no_grad()
def score(
    name: str,
    forward: Callable[[Tensor], Tensor],
    batches: Iterable[tuple[Tensor, Tensor]],
    outputs: Sequence[int],
    progress: Callable[[int], None] = lambda _: None,
) -> Score:
    """Scores a network on all batches (images (b, c, h, w), labels (b)).

    Args:
        name: of the network, for messages.
        outputs: by label, the output that means it.
        progress: is told how many images have been seen.

    Raises:
        InputError: the network's outputs are not finite, or not one number for each class.
        ValueError: there are no images.
    """
    right = right_of_five = images = 0
    loss, place, few = 0.0, None, False
    for x, labels in batches:
        logits = forward(x)
        if logits.dim() != 2 or logits.shape[1] <= max(outputs):
            raise InputError(
                f"{name} gives {tuple(logits.shape)} for {len(x)} images", "one number for each class", "a classifier"
            )
        logits = logits.float()
        if not torch.isfinite(logits).all():
            raise InputError(
                f"{name} gives numbers that are not finite",
                "weights of a training that ended well",
                "another file of weights",
            )
        place = torch.tensor(outputs, device=labels.device) if place is None else place
        wanted = place[labels]
        first = logits.topk(min(5, logits.shape[1]), dim=1).indices == wanted[:, None]
        right += int((logits.argmax(dim=1) == wanted).sum())
        right_of_five += int(first.any(dim=1).sum())
        loss += float(F.cross_entropy(logits, wanted, reduction="sum").double())
        images += len(labels)
        few = logits.shape[1] <= 5
        progress(images)
    if not images:
        raise ValueError("no images to score on")
    return Score(images, right, None if few else right_of_five, loss / images)

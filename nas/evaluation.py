"""Accuracy of networks on images, and the evaluator of a search: sub-networks with inherited weights, on search-validation."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nas import machine
from nas.config import Config
from nas.data import Part, Split, load_part
from nas.data.part import MEMORY_LIMIT
from nas.plugins import import_plugins
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.calibration import calibrate
from supernet.supernet import Supernet

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


class _Validation:
    """The search-validation images in batches, any number of times; kept as they are when they are few."""

    def __init__(self, part: Part, batch_size: int, device: str) -> None:
        self.part, self.batch_size, self.device = part, batch_size, device
        size = 4 * len(part) * part.in_channels * part.resolution**2
        self.kept = list(self._batches()) if size <= MEMORY_LIMIT else None

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.part.batches(self.batch_size, device=self.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.kept) if self.kept is not None else self._batches()


@dataclass(frozen=True)
class Evaluator:
    """Evaluates sub-networks of a trained supernet on search-validation, each with statistics of its own."""

    supernet: Supernet
    calibration: list[Tensor]
    validation: Batches

    @classmethod
    def of(cls, config: Config, split: Split, supernet: Supernet, device: torch.device) -> "Evaluator":
        """With a run's supernet and images; of the images, only supernet-train and search-validation are opened."""
        settings = config.search
        train = load_part(config.data, split, "train", settings.calibration_images)
        size = min(settings.batch_size, len(train))
        whole = [x for x, _ in train.batches(size, drop_last=True, device=str(device))]
        validation = _Validation(load_part(config.data, split, "validation"), settings.batch_size, str(device))
        return cls(supernet, whole, validation)

    def __call__(self, arch: Architecture) -> Accuracy:
        """
        Raises:
            FloatingPointError: the network's loss is not finite.
        """
        buffers = calibrate(self.supernet, arch, self.calibration)
        accuracy = evaluate(lambda x: self.supernet(x, arch, buffers), self.validation)
        if not math.isfinite(accuracy.loss):
            raise FloatingPointError(
                f"network {arch.digest} has a loss that is not finite: train anew with a lower train.lr"
            )
        return accuracy


@dataclass(frozen=True, eq=False)
class EvaluatorSetup:
    """What a process needs to evaluate sub-networks; it can be sent to another process.

    Args:
        space: bound to the data.
        weights: of the trained supernet. Where an executor passes them through shared memory, all its processes read the same ones.
    """

    config: Config
    space: SearchSpace
    split: Split
    weights: dict[str, Tensor]

    def __call__(self) -> Evaluator:
        import_plugins(self.config)
        device = machine.prepare(self.config.threads, self.config.device)
        with torch.device("meta"):
            supernet = Supernet(self.space)
        supernet.load_state_dict(self.weights, assign=True)
        return Evaluator.of(self.config, self.split, supernet.to(device).eval(), device)


def score(evaluator: Evaluator, arch: Architecture) -> Accuracy:
    """The work that a search gives to an executor."""
    return evaluator(arch)

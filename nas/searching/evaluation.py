"""Accuracy of networks on images, and the evaluator of a search: sub-networks with inherited weights, on search-validation."""

import hashlib
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nas import machine
from nas.config import Config
from nas.data import Part, Split, load_part
from nas.data.part import MEMORY_LIMIT
from nas.machine.available import available
from nas.plugins import import_plugins
from nas.searching.racing import Outcome, Race
from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.calibration import calibrate
from supernet.reuse import PrefixCache
from supernet.supernet import Supernet

Batches = Iterable[tuple[Tensor, Tensor]]

ROOM = 4 * 2**30
"""The most bytes of feature maps that a process keeps for networks that begin alike."""


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


def are_kept(images: int, channels: int, resolution: int) -> bool:
    """Whether so many images stay in memory between evaluations."""
    return 4 * images * channels * resolution**2 <= MEMORY_LIMIT


class _Validation:
    """The search-validation images in batches, any number of times; kept as they are when they are few."""

    def __init__(self, part: Part, batch_size: int, device: str) -> None:
        self.part, self.batch_size, self.device = part, batch_size, device
        few = are_kept(len(part), part.in_channels, part.resolution)
        self.kept = list(self._batches()) if few else None
        self._ordered: tuple[bytes, list[tuple[Tensor, Tensor]]] | None = None

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.part.batches(self.batch_size, device=self.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.kept) if self.kept is not None else self._batches()

    def ordered(self, order: np.ndarray) -> Batches:
        """The batches of the images in another order, which is remembered; in their own where they are not kept."""
        if self.kept is None:
            return self
        name = order.tobytes()
        if self._ordered is None or self._ordered[0] != name:
            self._ordered = None  # there is never room for two
            pixels, labels = (torch.cat(tensors) for tensors in zip(*self.kept, strict=True))
            strides = self.kept[0][0].stride()  # they decide how a convolution rounds
            batches = []
            for chunk in torch.from_numpy(order.astype(np.int64)).to(pixels.device).split(self.batch_size):
                x = torch.empty_strided((len(chunk), *pixels.shape[1:]), strides, device=pixels.device)
                batches.append((x.copy_(pixels[chunk]), labels[chunk]))
            self._ordered = (name, batches)
        return self._ordered[1]


def calibration_of(config: Config, split: Split, device: torch.device) -> list[Tensor]:
    """The images of supernet-train that networks get statistics of their own from, in batches."""
    settings = config.search
    train = load_part(config.data, split, "train", settings.calibration_images)
    size = min(settings.batch_size, len(train))
    return [x for x, _ in train.batches(size, drop_last=True, device=str(device))]


def validation_of(config: Config, split: Split, device: torch.device, limit: int | None = None) -> Batches:
    """The images of search-validation with their labels, in batches; they can be had any number of times.

    Args:
        limit: only the first so many; None for all.
    """
    part = load_part(config.data, split, "validation", limit)
    return _Validation(part, config.search.batch_size, str(device))


@dataclass(frozen=True, eq=False)
class Raced:
    """The result of a candidate that was raced.

    Args:
        accuracy: on all images; an estimate, with the number of images that were seen, where it was dropped.
        against: digest of the network that it was dropped against; empty where it was validated in full.
        outcome: on each image where it was validated in full.
    """

    accuracy: Accuracy
    against: str = ""
    outcome: Outcome | None = None


Forward = Callable[[Hashable, Tensor], Tensor]
"""Logits of a batch of images; the first argument names the batch."""


@dataclass(frozen=True)
class Evaluator:
    """Evaluates sub-networks of a trained supernet on search-validation, each with statistics of its own.

    Args:
        cache: of what networks that begin alike share; None to compute everything for each. Results are the same bit for bit.
    """

    supernet: Supernet
    calibration: list[Tensor]
    validation: Batches
    cache: PrefixCache | None = None

    @classmethod
    def of(cls, config: Config, split: Split, supernet: Supernet, device: torch.device, reuse: int = 0) -> "Evaluator":
        """With a run's supernet and images; of the images, only supernet-train and search-validation are opened.

        Args:
            reuse: bytes for the feature maps that networks share; 0 for none.
        """
        calibration, validation = calibration_of(config, split, device), validation_of(config, split, device)
        cache = PrefixCache(supernet.eval(), calibration, reuse) if reuse else None
        return cls(supernet, calibration, validation, cache)

    def __call__(self, arch: Architecture) -> Accuracy:
        """
        Raises:
            FloatingPointError: the network's loss is not finite.
        """
        forward, numbers = self._calibrated(arch), itertools.count()
        return _finite(arch, evaluate(lambda x: forward(next(numbers), x), self.validation))

    def _calibrated(self, arch: Architecture) -> Forward:
        """A network with statistics of its own."""
        if self.cache is not None:
            return self.cache.calibrated(arch)
        buffers = calibrate(self.supernet, arch, self.calibration)
        return lambda _, x: self.supernet(x, arch, buffers)

    @torch.no_grad()
    def race(self, arch: Architecture, race: Race | None) -> Raced:
        """Validates a candidate until it has lost the race, or in full; in full where there is no race.

        Raises:
            FloatingPointError: the network's loss is not finite.
        """
        forward, batches = self._calibrated(arch), self.validation
        if race is not None and isinstance(batches, _Validation):
            batches = batches.ordered(race.order)
        # What is kept of a batch depends on the images in it, and so on the order.
        order_name = None if race is None else hashlib.blake2b(race.order.tobytes(), digest_size=16).digest()
        hits, losses, seen = [], [], 0
        for number, (x, y) in enumerate(batches):
            logits = forward(number if race is None else (order_name, number), x).float()
            hits.append((logits.argmax(dim=1) == y).cpu())
            losses.append(F.cross_entropy(logits, y, reduction="none").cpu())
            seen += len(y)
            if race is not None and seen in race.looks:
                right, loss = (float(torch.cat(found).double().sum()) for found in (hits, losses))
                verdict = race.verdict(seen, right, loss) if math.isfinite(loss) else None
                if verdict is not None:
                    return Raced(Accuracy(verdict.top1, verdict.loss, seen), verdict.against)
        order = np.arange(seen) if race is None else race.order
        outcome = Outcome(np.zeros(seen, dtype=bool), np.zeros(seen, dtype=np.float32))
        outcome.hits[order], outcome.losses[order] = torch.cat(hits).numpy(), torch.cat(losses).numpy()
        accuracy = Accuracy(int(outcome.hits.sum()) / seen, float(outcome.losses.mean(dtype=np.float64)), seen)
        return Raced(_finite(arch, accuracy), outcome=outcome)


def _finite(arch: Architecture, accuracy: Accuracy) -> Accuracy:
    """
    Raises:
        FloatingPointError: the loss is not finite.
    """
    if not math.isfinite(accuracy.loss):
        raise FloatingPointError(
            f"network {arch.digest} has a loss that is not finite: train again with a lower train.lr"
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
        supernet = Supernet.without_values(self.space)
        supernet.load_state_dict(self.weights, assign=True)
        return Evaluator.of(self.config, self.split, supernet.to(device).eval(), device, self._room(device))

    def _room(self, device: torch.device) -> int:
        """Bytes for feature maps that networks share: a quarter of the memory that is free, shared out among the processes, and at most `ROOM`."""
        settings = self.config.search
        found = None if settings.evaluation == "plain" else available(device)
        processes = settings.jobs or (machine.cores() if device.type == "cpu" else 1)
        return 0 if found is None else min(found.size // (4 * processes), ROOM)


def score(evaluator: Evaluator, arch: Architecture) -> Accuracy:
    """The work that a search gives to an executor."""
    return evaluator(arch)


def raced(evaluator: Evaluator, job: tuple[Architecture, Race | None]) -> Raced:
    """The same for a search that races its candidates."""
    return evaluator.race(*job)

"""Supernet training: the sandwich rule with in-place distillation (BigNAS, arXiv:2003.11142)."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.fitting import Fit
from supernet.optimisation import Optimisation, soft_cross_entropy
from supernet.sampling import sandwich
from supernet.seeding import derive_seed
from supernet.supernet import Supernet

Paths = Callable[[int], list[Architecture]]
"""The sub-networks of a step, the teacher first."""


def sandwich_paths(
    space: SearchSpace, seed: int, random_paths: int, largest_only_steps: int = 0, fit: Fit | None = None
) -> Paths:
    """Paths by `supernet.sampling.sandwich`; for the first `largest_only_steps` steps the largest alone.

    Args:
        fit: of the space, where limits hold.
    """

    def paths(step: int) -> list[Architecture]:
        archs = sandwich(space, random.Random(derive_seed(seed, "paths", step)), random_paths, fit)
        return archs[:1] if step < largest_only_steps else archs

    return paths


@contextmanager
def autocast(device: torch.device, amp: str) -> Iterator[None]:
    """bf16 autocast where `amp` is "bf16"."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp == "bf16"):
        yield


def train_step(
    supernet: Supernet,
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    archs: list[Architecture],
    optimisation: Optimisation,
    *,
    distill: float,
    label_smoothing: float,
    seed: int,
    amp: str = "none",
) -> dict[str, float]:
    """One step: the first path learns from labels, the others from labels and from the first path's outputs, then one update.

    Args:
        archs: the teacher (the largest sizes) first.
        distill: share of the soft loss for all but the first, from 0 to 1.
        seed: of what the networks draw while training (dropout).

    Returns:
        loss of the largest and of the smallest path (the first two), lr and grad_norm.
    """
    torch.manual_seed(seed)
    supernet.train()
    teacher, losses = None, []
    for arch in archs:
        with autocast(images.device, amp):
            logits = supernet(images, arch)
        if teacher is None:
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=label_smoothing)
            teacher = logits.detach()
        else:
            loss = (1 - distill) * F.cross_entropy(logits.float(), labels)
            if distill:
                loss = loss + distill * soft_cross_entropy(logits, teacher)
        (loss / len(archs)).backward()
        losses.append(loss.detach())
    report = optimisation.step()
    return {"loss_largest": float(losses[0]), "loss_smallest": float(losses[min(1, len(losses) - 1)]), **report}

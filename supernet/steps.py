"""One step of training up to its gradients: what `supernet.loop.fit` calls for every batch, and the step of a stand-alone network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from supernet.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Moment:
    """Where training is.

    Args:
        step: counted from 0.
        total: steps of the whole training.
        per_epoch: steps of one pass over the images.
    """

    step: int
    total: int
    per_epoch: int


Step = Callable[[Any, Float[Tensor, "b c h w"], Int[Tensor, " b"], Moment], dict[str, Tensor]]
"""Runs a module in training mode on images and labels, leaves the gradients of a mean over these images in its parameters, and returns
what to log: scalars that are means over these images too, the main one first. It draws from torch's global generator, which is seeded
before, and from nothing else that is not made of its own seed and the moment.
"""


@contextmanager
def autocast(device: torch.device, amp: str) -> Iterator[None]:
    """bf16 autocast where `amp` is "bf16"."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp == "bf16"):
        yield


class LabelStep:
    """The step of a stand-alone network: the cross-entropy of the labels.

    Args:
        recipe: its label smoothing and its number format are used.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def __call__(
        self, network: nn.Module, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], moment: Moment
    ) -> dict[str, Tensor]:
        with autocast(images.device, self.recipe.amp):
            logits = network(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()
        return {"loss": loss.detach()}

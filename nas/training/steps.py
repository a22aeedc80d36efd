"""One step of a stand-alone network by a recipe: mixed images, parts of a batch one after the other, and a teacher beside the labels."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from nas.config.timm_recipe import TimmRecipe
from nas.data.augment import global_seed
from nas.training.teachers import Teacher
from search_spaces.errors import InputError
from search_spaces.network import Network
from search_spaces.timm_recomputing import call_checkpointed
from supernet.seeding import derive_seed
from supernet.steps import Moment, autocast

Forward = Callable[[Tensor], Tensor]


def forward_of(network: nn.Module, recipe: TimmRecipe) -> Forward:
    """The forward pass of a network as the recipe has it: with blocks that are computed again, or compiled. Weights are the network's.

    Raises:
        InputError: a model of timm that cannot compute its blocks again, or as `check_backend`.
    """
    forward: Any = network
    if recipe.grad_checkpointing:
        if isinstance(network, Network) and not hasattr(network, "set_grad_checkpointing"):
            forward = partial(network, run=call_checkpointed)
        else:
            _checkpoint(network)
    check_backend(recipe)
    return torch.compile(forward, backend=recipe.torchcompile) if recipe.torchcompile else forward


def check_backend(recipe: TimmRecipe) -> None:
    """
    Raises:
        InputError: no such backend of torch.compile.
    """
    if not recipe.torchcompile:
        return  # listing them imports the compiler, which takes most of a second
    backends = sorted({*torch.compiler.list_backends(()), "eager", "aot_eager"})
    if recipe.torchcompile not in backends:
        raise InputError(
            f"retrain.torchcompile is {recipe.torchcompile!r}", f"a backend of torch.compile: {', '.join(backends)}",
            "retrain.torchcompile=inductor",
        )  # fmt: skip


def _checkpoint(network: nn.Module) -> None:
    """
    Raises:
        InputError: a model of timm that cannot.
    """
    try:
        network.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AttributeError, AssertionError) as error:
        raise InputError(
            f"retrain.grad_checkpointing=true, and {type(network).__name__} of timm cannot compute its blocks again",
            "models of timm with set_grad_checkpointing", "retrain.grad_checkpointing=false",
        ) from error  # fmt: skip


class RecipeStep:
    """The step of a stand-alone network. Without mixing, parts and a teacher it is `supernet.steps.LabelStep`, bit for bit.

    Args:
        forward: of the network (`forward_of`).
        classes: of the images.
        seed: of what is drawn for whole batches, equal in all processes of a training.
        teacher: whose outputs are learned beside the labels.
    """

    def __init__(
        self, recipe: TimmRecipe, forward: Forward, *, classes: int, seed: int, teacher: Teacher | None = None
    ) -> None:
        self.recipe, self.forward, self.seed, self.teacher = recipe, forward, seed, teacher
        self._mixing: Any = None
        if recipe.mixup or recipe.cutmix:
            import timm.data

            data: Any = timm.data
            self._mixing = data.Mixup(
                recipe.mixup, recipe.cutmix, prob=recipe.mixup_prob, switch_prob=recipe.mixup_switch_prob,
                label_smoothing=recipe.label_smoothing, num_classes=classes,
            )  # fmt: skip

    def __call__(
        self, network: nn.Module, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"], moment: Moment
    ) -> dict[str, Tensor]:
        images, targets = self._mixed(images, labels, moment)
        sums: dict[str, Tensor] = {}
        count = self.recipe.grad_accum_steps
        for some, theirs in zip(images.tensor_split(count), targets.tensor_split(count), strict=True):
            losses = self._losses(some, theirs)
            if count > 1:
                losses = {name: loss * (len(some) / len(images)) for name, loss in losses.items()}
            losses["loss"].backward()
            for name, loss in losses.items():
                sums[name] = sums[name] + loss.detach() if name in sums else loss.detach()
        return sums

    def _mixed(self, images: Tensor, labels: Tensor, moment: Moment) -> tuple[Tensor, Tensor]:
        """The images and what they are: labels, or shares of the classes (b, classes) where images are mixed."""
        if self._mixing is None:
            return images, labels
        off = self.recipe.mixup_off_epoch
        self._mixing.mixup_enabled = not off or moment.step // moment.per_epoch < off
        # Not by the generator of the step, which differs between processes: all of them mix alike.
        with global_seed(derive_seed(self.seed, "mix", moment.step)):
            return self._mixing(images, labels)

    def _losses(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        with autocast(images.device, self.recipe.amp):
            logits = self.forward(images)
        # Shares of mixed images are smoothed already.
        smoothing = self.recipe.label_smoothing if targets.ndim == 1 else 0.0
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        if self.teacher is None:
            return {"loss": loss}
        taught = self.teacher.loss(logits, images, self.recipe.kd_temperature)
        whole = self.recipe.task_loss_weight * loss + self.recipe.distill_loss_weight * taught
        return {"loss": whole, "loss_labels": loss, "loss_teacher": taught}

"""The training of one network alone by a recipe: its images, its step and its parts, made of a job."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas.config.retrain import RetrainConfig
from nas.data import Part, Split, load_part
from nas.data.transforms import Transforms
from nas.runs.store import RunStore
from nas.training.jobs import Job, ReferenceJob
from nas.training.pieces import pieces_of
from nas.training.steps import RecipeStep, forward_of
from nas.training.teachers import teacher_of
from supernet.calibration import recompute
from supernet.loop import Batches, Watcher, fit
from supernet.optimisation import Optimisation, Pieces
from supernet.ranks import ALONE, Ranks
from supernet.seeding import derive_seed
from supernet.steps import Step

RECOMPUTE = 2048
"""Training images behind the running statistics of averaged weights."""


@dataclass(frozen=True)
class Training:
    """What `supernet.loop.fit` trains a network with.

    Args:
        augment: of the images, as `Part.batches` takes it.
        seed: of the images and of what is drawn; the same for every network of a run.
        ranks: the processes that train together.
    """

    recipe: RetrainConfig
    part: Part
    network: nn.Module
    step: Step
    pieces: Pieces | None
    augment: str
    seed: int
    device: torch.device
    ranks: Ranks = ALONE

    @classmethod
    def of(
        cls, job: Job | ReferenceJob, store: RunStore, split: Split, device: torch.device, ranks: Ranks = ALONE
    ) -> "Training":
        """The training of a job, before its first step.

        Raises:
            InputError: the images, the teacher or a piece of the recipe cannot be used.
        """
        config, recipe = job.config, job.config.retrain
        augment = recipe.augment or config.data.augment
        transforms = Transforms.of(recipe) if recipe.augment == "timm" else None
        part = load_part(config.data, split, "train", transforms=transforms)
        seed = derive_seed(config.seed, "retrain", job.seed)  # the same images in the same order for every network
        network = job.initial(store, seed).to(device)
        if recipe.channels_last:
            network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        teacher = teacher_of(config, store, job.search, split, device)
        step = RecipeStep(recipe, forward_of(network, recipe), classes=len(split.classes), seed=seed, teacher=teacher)
        pieces = pieces_of(network, recipe, len(part) // batch_size(recipe, part))
        return cls(recipe, part, network, step, pieces, augment, seed, device, ranks)

    def batches(self) -> Batches:
        """The images of every step; in several processes, this one's shard of them."""
        size = batch_size(self.recipe, self.part)
        return Batches(size, len(self.part) // size, lambda epoch, first: self._pass(size, epoch, first, shared=True))

    def _pass(self, size: int, epoch: int, first: int = 0, *, shared: bool) -> Iterator[tuple[Tensor, Tensor]]:
        recipe = self.recipe
        own = (self.ranks.rank, self.ranks.size) if shared else (0, 1)
        return self.part.batches(
            size, seed=self.seed, epoch=epoch, first=first, augment=self.augment, drop_last=shared, device=str(self.device),
            shard=own, repeats=recipe.aug_repeats, mirrored=shared and is_mixed(recipe) and own[1] > 1,
        )  # fmt: skip

    def fit(self, watcher: Watcher) -> Optimisation:
        """Trains the network. Raises as `supernet.loop.fit`."""
        return fit(
            self.network, self.batches(), self.step, self.recipe, seed=self.seed, watcher=watcher, ranks=self.ranks, pieces=self.pieces
        )  # fmt: skip

    def recompute_statistics(self) -> None:
        """The running statistics of averaged weights, which no step has gathered. timm's average has statistics of its own."""
        if not self.recipe.ema or self.recipe.model_ema:
            return
        size = min(256, len(self.part))
        fresh = itertools.islice(self._pass(size, self.recipe.epochs, shared=False), max(1, RECOMPUTE // size))
        recompute(self.network, (images for images, _ in fresh if len(images) > 1))


def is_mixed(recipe: RetrainConfig) -> bool:
    """Whether images of a batch are mixed with each other."""
    return bool(recipe.mixup or recipe.cutmix)


def batch_size(recipe: RetrainConfig, part: Part) -> int:
    """Images of a step: all of a part that has fewer than the recipe says, and of mixed ones an even number."""
    size = min(recipe.batch_size, len(part))
    return size - size % 2 if is_mixed(recipe) else size

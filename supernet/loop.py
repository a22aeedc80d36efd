"""The only training loop. It trains a supernet by any strategy, or a stand-alone network, in one process or in several.

    class Watcher:                                  # the caller shows, writes and resumes
        def begin(self, optimisation, total): ...   # may load a checkpoint
        def report(self, report): ...
        def save(self, optimisation): ...

    optimisation = fit(supernet, batches, strategy.step, recipe, seed=0, watcher=Watcher())

Random draws of a step depend only on the seed and the number of the step. A training that is resumed from `Optimisation.state_dict`
therefore gives bitwise the weights of one that was never stopped.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from supernet.optimisation import Optimisation, Pieces, Schedule
from supernet.ranks import ALONE, Ranks
from supernet.recipe import Recipe
from supernet.seeding import derive_seed
from supernet.steps import Moment, Step


@dataclass(frozen=True, slots=True)
class Batches:
    """The images of a training.

    Args:
        size: images of a step, over all processes.
        per_epoch: steps of one pass.
        of: takes the number of a pass and the number of a step in it, and gives the images and labels from this step to the end of the
            pass. If several processes train, it gives this process's shard of each batch.
    """

    size: int
    per_epoch: int
    of: Callable[[int, int], Iterable[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, slots=True)
class Report:
    """What is known after a step.

    Args:
        step: how many steps are done.
        epoch: the pass that the step belongs to, from 0.
        images: seen since this process began, over all processes.
        losses: what the step returned, as means over the whole batch; the main one first.
        lr: the learning rate.
        grad_norm: norm of all gradients together before clipping; infinite if they were not finite.
        skipped: steps so far whose gradients were not finite.
    """

    step: int
    epoch: int
    images: int
    losses: dict[str, float]
    lr: float
    grad_norm: float
    skipped: int


@runtime_checkable
class Watcher(Protocol):
    """Shows, writes and resumes a training."""

    def begin(self, optimisation: Optimisation, total: int) -> None:
        """Called once, before the first of `total` steps. Loading a state into `optimisation` resumes a training."""
        ...

    def report(self, report: Report) -> None:
        """Called after every step."""
        ...

    def save(self, optimisation: Optimisation) -> None:
        """Called after every `recipe.checkpoint_steps` steps, but not after the last step."""
        ...


def fit(
    module: nn.Module,
    batches: Batches,
    step: Step,
    recipe: Recipe,
    *,
    seed: int,
    watcher: Watcher,
    ranks: Ranks = ALONE,
    pieces: Pieces | None = None,
) -> Optimisation:
    """Trains a module for `recipe.epochs` passes. At the end it has the averaged weights if the recipe averages weights.

    Args:
        step: makes the gradients of one batch; `supernet.strategy.Strategy.step` for a supernet.
        seed: of what modules draw during training, such as dropout.
        ranks: the processes that train together. Each calls `fit` with the same arguments, except for its own shards and watcher.
        pieces: in place of the schedule, the optimiser and the averaged weights of the recipe.

    Returns:
        The state of the optimisation after the last step.

    Raises:
        FloatingPointError: too many steps in a row had gradients that were not finite.
        LostRankError: another process has ended.
    """
    total = batches.per_epoch * (recipe.epochs + (pieces.more_epochs if pieces else 0))
    warmup = round(recipe.warmup_epochs * batches.per_epoch)
    schedule = Schedule(lr=recipe.lr, warmup_steps=warmup, total_steps=total)
    optimisation = Optimisation(
        module, schedule, weight_decay=recipe.weight_decay, clip=recipe.clip, ema=recipe.ema, pieces=pieces
    )
    watcher.begin(optimisation, total)
    seen = 0
    while optimisation.step_count < total:
        epoch, first = divmod(optimisation.step_count, batches.per_epoch)
        for images, labels in batches.of(epoch, first):
            moment = Moment(optimisation.step_count, total, batches.per_epoch)
            # Each rank draws differently, as different images of one batch do.
            own = (ranks.rank,) if ranks.rank else ()
            torch.manual_seed(derive_seed(seed, "step", moment.step, *own))
            module.train()
            with ranks.together(module, len(labels) / batches.size) as logged:
                logged.update(step(module, images, labels, moment))
            update = optimisation.step()
            seen += batches.size
            losses = {name: float(value) for name, value in logged.items()}
            done = optimisation.step_count
            watcher.report(Report(done, epoch, seen, losses, update["lr"], update["grad_norm"], optimisation.skipped))
            if done % recipe.checkpoint_steps == 0 and done < total:
                watcher.save(optimisation)
    optimisation.use_averaged()
    return optimisation

"""The training of a run's supernet: what is shown and written of it, and the same for every process that takes part."""

import math
from contextlib import suppress
from dataclasses import replace

from nas.config import Config
from nas.goals.limiting import costs_of_training
from nas.log import Progress, say
from nas.runs.checkpoints import load_checkpoint, save_checkpoint
from nas.runs.disk import damaged_file
from nas.runs.inputs import SUPERNET
from nas.runs.run import Run, open_run
from nas.runs.scalars import Scalars
from nas.runs.weights import save_tensors
from nas.training.initial import read_initial, start_from
from nas.training.losses import LINE, numbers_of, say_at_chance
from nas.training.strategies import strategy_of
from search_spaces.counting import worded
from search_spaces.errors import InputError
from supernet.loop import Batches, Report, Watcher, fit
from supernet.optimisation import Optimisation
from supernet.ranks import Ranks
from supernet.seeding import derive_seed
from supernet.supernet import Supernet

CHECKPOINT = "work/train.pt"

LOGGED = 50
"""Steps between two lines of train.jsonl."""

LONG = 1000
"""Steps after the warm-up from which a training that learns nothing is reported before its end."""


def train_supernet(run: Run, ranks: Ranks) -> None:
    """Trains the supernet of a run, resuming from its checkpoint. The process of rank 0 writes it.

    The costs that the budget of training limits must be known: see `nas.goals.limiting.costs_of_training`.

    Raises:
        FloatingPointError: it diverged.
        InputError: unusable images, or a damaged checkpoint.
        LostRankError: another process is gone.
    """
    config, settings = run.config, run.config.train
    part = run.part("train")
    strategy = strategy_of(settings, run.space, config.seed)
    supernet = Supernet(run.space, config.seed)
    if settings.init and not run.store.exists(CHECKPOINT):
        start_from(supernet, read_initial(settings.init, run.space), run.store.identity().get("init"))
    supernet = supernet.to(run.device)
    batches = Batches(
        settings.batch_size,
        len(part) // settings.batch_size,
        lambda epoch, first: part.batches(
            settings.batch_size, seed=derive_seed(config.seed, "batches"), epoch=epoch, first=first,
            augment=config.data.augment, drop_last=True, device=str(run.device), shard=(ranks.rank, ranks.size),
        ),
    )  # fmt: skip
    watcher: Watcher = Recorder(run) if ranks.rank == 0 else Follower(run)
    optimisation = fit(supernet, batches, strategy.step, settings, seed=config.seed, watcher=watcher, ranks=ranks)
    if isinstance(watcher, Recorder):
        watcher.finish(supernet, optimisation)


def follow(config: Config, ranks: Ranks) -> None:
    """What a process does that was started to train a shard of every batch.

    Args:
        config: of the run, which exists.
    """
    if config.device.startswith("cuda"):
        config = replace(config, device=f"cuda:{ranks.rank}")
    run = open_run(config, writes=False)
    with costs_of_training(run.config):
        train_supernet(run, ranks)


class Follower:
    """Watches the training in a process that writes nothing."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def begin(self, optimisation: Optimisation, total: int) -> None:
        load_checkpoint(self.run.store, CHECKPOINT, optimisation)

    def report(self, report: Report) -> None:
        """Says nothing."""

    def save(self, optimisation: Optimisation) -> None:
        """Writes nothing."""


class Recorder:
    """Watches the training in the process that shows and writes: progress, train.jsonl, TensorBoard's scalars, checkpoints."""

    def __init__(self, run: Run) -> None:
        self.run, self.store = run, run.store

    def begin(self, optimisation: Optimisation, total: int) -> None:
        load_checkpoint(self.store, CHECKPOINT, optimisation)
        config, space, first = self.run.config, self.run.space, optimisation.step_count
        self.total, self.progress = total, Progress("train supernet", total, first)
        warm_up = min(round(config.train.warmup_epochs * total / config.train.epochs), total)
        # By then most supernets have begun to learn, and three fourths of the steps after the warm-up can still be spared. A short training is told
        # at its end only: a few lines of its log would decide.
        self.early = warm_up + (total - warm_up) // 4 if total - warm_up >= LONG else total
        self.scalars = Scalars(config.tensorboard, self.store, "train")
        for number, line in enumerate(self.store.each_record("train.jsonl"), 1):
            if wrong := LINE.fault(line, ""):
                raise damaged_file(self.store.path("train.jsonl"), f"line {number}, at {wrong}")
            self.scalars.add(line["step"], numbers_of(line))
        weights = sum(parameter.numel() for parameter in optimisation.parameters.values())
        processes, images = config.train.processes, len(self.run.split.parts["train"])
        left = images % config.train.batch_size
        say(
            f"{config.run}: supernet of space {space.name} ({worded(space.size)} networks, {weights:,} shared weights), "
            f"{total} steps of {config.train.batch_size} images"
            + (f" in {processes} processes" if processes > 1 else "")
            + (f"; each pass leaves out {left} of the {images:,} images, different ones each time" if left else "")
            + (f", resuming from step {first}" if first else "")
        )

    def report(self, report: Report) -> None:
        main, *others = report.losses.items()
        shown = {"loss": main[1], **{name.removeprefix("loss_"): value for name, value in others}}
        self.progress.update(report.step, report.images, **shown, skipped=report.skipped)
        if report.step % LOGGED and report.step < self.total:
            return
        if report.step <= len(self.store.records("train.jsonl")) * LOGGED:  # which a resumed run has already
            return
        numbers = {**report.losses, "lr": report.lr, "grad_norm": report.grad_norm}
        known = {key: round(value, 6) if math.isfinite(value) else None for key, value in numbers.items()}
        line = {"step": report.step, "epoch": report.epoch, **known, "skipped": report.skipped}
        self.store.append("train.jsonl", line)
        self.scalars.add(report.step, numbers_of(line))
        if report.step - LOGGED < self.early <= report.step < self.total:
            with suppress(InputError):  # of a damaged run.json, which ends no training
                say_at_chance(self.store, self.run.config.run, self.total)

    def save(self, optimisation: Optimisation) -> None:
        save_checkpoint(self.store, CHECKPOINT, optimisation.state_dict())

    def finish(self, supernet: Supernet, optimisation: Optimisation) -> None:
        """Writes the trained supernet, and removes the checkpoint."""
        self.scalars.close()
        about = {"space": self.run.space.digest, "steps": str(self.total)}
        save_tensors(self.store, SUPERNET, supernet.state_dict(), about)
        self.store.remove(CHECKPOINT)
        if optimisation.skipped:
            say(f"{optimisation.skipped} of {self.total} steps were skipped: their gradients were not finite")
        say_at_chance(self.store, self.run.config.run)

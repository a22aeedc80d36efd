"""`nas train`: trains the supernet of a run, or resumes its training."""

import math
from collections.abc import Mapping
from typing import Any

from nas.config import Config
from nas.goals.limiting import costs_of_training, fit_of
from nas.images import lines
from nas.log import Progress, say
from nas.machine.memory import explained
from nas.runs.run import Run, start_run
from nas.runs.scalars import Scalars, check_scalars
from nas.runs.weights import load_checkpoint, save_checkpoint, save_tensors
from search_spaces.counting import worded
from supernet.optimisation import Optimisation, Schedule
from supernet.seeding import derive_seed
from supernet.supernet import Supernet
from supernet.training import sandwich_paths, train_step

CHECKPOINT = "work/train.pt"


def say_images(run: Run) -> None:
    """Prints which images the run has, as they were read when it was made; nothing for a run of an older version."""
    identity = run.store.read_json("run.json")
    if "images" in identity:
        root = f" in {run.config.data.root}" if run.config.data.root else ""
        say(f"{run.config.run}: data set {run.split.name}{root}, {len(run.split.classes):,} classes")
        for line in lines(identity["images"], run.split.classes):
            say(line)


def say_narrowing(run: Run) -> None:
    """Prints what the budget of training has left of the space; nothing for a run without one."""
    identity = run.store.read_json("run.json")
    if "whole_space" in identity:
        whole, left = identity["whole_space"]["size"], identity["space_size"]
        say(
            f"{run.config.run}: train.budget={run.config.train.budget} leaves {worded(left)} of the {worded(whole)} networks of space "
            f"{run.space.name}"
        )


def _scalars_of(line: Mapping[str, Any]) -> dict[str, float | None]:
    """What TensorBoard shows of a line of train.jsonl."""
    return {key: value for key, value in line.items() if key != "step"}


@explained
def train(config: Config) -> Run:
    """Trains the supernet of `config.run` on its supernet-train images; resumes from the last checkpoint if there is one.

    Raises:
        InputError: another run in the folder, unusable data or space, or a damaged checkpoint.
    """
    check_scalars(config)
    run = start_run(config)
    say_images(run)
    say_narrowing(run)
    if run.store.exists("supernet.safetensors"):
        say(f"{config.run}: the supernet is trained")
        return run
    with costs_of_training(run.config):
        _train(run)
    return run


def _train(run: Run) -> None:
    config, settings = run.config, run.config.train
    part = run.part("train")
    per_epoch = len(part) // settings.batch_size
    total = per_epoch * settings.epochs
    supernet = Supernet(run.space, config.seed).to(run.device)
    schedule = Schedule(lr=settings.lr, warmup_steps=round(settings.warmup_epochs * per_epoch), total_steps=total)
    optimisation = Optimisation(
        supernet, schedule, weight_decay=settings.weight_decay, clip=settings.clip, ema=settings.ema
    )
    load_checkpoint(run.store, CHECKPOINT, optimisation)
    first = optimisation.step_count
    paths = sandwich_paths(
        run.space, config.seed, settings.random_paths, round(settings.largest_only_epochs * per_epoch),
        fit_of(settings, run.space),
    )  # fmt: skip
    progress = Progress("train supernet", total, first)
    scalars = Scalars(config.tensorboard, run.store, "train")
    for line in run.store.records("train.jsonl"):
        scalars.add(line["step"], _scalars_of(line))
    say(
        f"{config.run}: supernet of space {run.space.name} ({worded(run.space.size)} networks, "
        f"{sum(p.numel() for p in supernet.parameters()):,} shared weights), {total} steps of {settings.batch_size} images"
        + (f", resuming from step {first}" if first else "")
    )
    step, seen = first, 0
    while step < total:
        epoch, batch = divmod(step, per_epoch)
        batches = part.batches(
            settings.batch_size, seed=derive_seed(config.seed, "batches"), epoch=epoch, first=batch,
            augment=config.data.augment, drop_last=True, device=str(run.device),
        )  # fmt: skip
        for images, labels in batches:
            report = train_step(
                supernet, images, labels, paths(step), optimisation,
                distill=settings.distill * min(1.0, 2 * step / total), label_smoothing=settings.label_smoothing,
                seed=derive_seed(config.seed, "step", step), amp=settings.amp,
            )  # fmt: skip
            step += 1
            seen += len(labels)
            shown = {
                "loss": report["loss_largest"],
                "smallest": report["loss_smallest"],
                "skipped": optimisation.skipped,
            }
            progress.update(step, seen, **shown)
            if step % 50 == 0 or step == total:
                numbers = {key: round(value, 6) if math.isfinite(value) else None for key, value in report.items()}
                if step > len(run.store.records("train.jsonl")) * 50:  # a resumed run has some of these lines already
                    line = {"step": step, "epoch": epoch, **numbers, "skipped": optimisation.skipped}
                    run.store.append("train.jsonl", line)
                    scalars.add(step, _scalars_of(line))
            if step % settings.checkpoint_steps == 0 and step < total:
                save_checkpoint(run.store, CHECKPOINT, optimisation.state_dict())
    scalars.close()
    optimisation.use_averaged()
    save_tensors(
        run.store, "supernet.safetensors", supernet.state_dict(), {"space": run.space.digest, "steps": str(total)}
    )
    run.store.path(CHECKPOINT).unlink(missing_ok=True)
    if optimisation.skipped:
        say(f"{optimisation.skipped} of {total} steps were skipped: their gradients were not finite")

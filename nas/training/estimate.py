"""How long retraining takes and what memory it needs, from a few steps of each network on this device with the run's images.

The steps are those of training: images through the real loader, transformed and mixed, forward, backward, the optimiser, the averages. Of a
batch that `grad_accum_steps` or several processes cut up, one part is measured; the update that follows it counts with every part.
"""

import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nas.config.retrain import RetrainConfig
from nas.data import Split
from nas.log import Progress, say
from nas.runs.store import RunStore
from nas.training.jobs import Job, ReferenceJob
from nas.training.network import Training, is_mixed
from supernet.optimisation import Optimisation, Schedule
from supernet.steps import Moment

WARM, LEAST = 2, 3
"""Steps before those that are measured, in which kernels and memory are chosen; and the fewest that are."""

SECONDS = 15.0
"""How long a network is measured, unless the fewest steps take longer."""


@dataclass(frozen=True)
class Estimate:
    """What was measured of the training of a network.

    Args:
        images: of one step.
        seconds: of one step, with the wait for its images.
        waiting: share of that time that was spent waiting for images.
        memory: most bytes: allocated on a GPU, resident of the whole process on a CPU; 0 where the system does not say.
        in_all: images of the whole training, over all epochs.
    """

    name: str
    images: int
    seconds: float
    waiting: float
    memory: int
    in_all: int

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds

    @property
    def hours(self) -> float:
        """Of the whole training on one such device."""
        return self.in_all / self.rate / 3600

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        memory = f"{self.memory / 2**30:.2f}" if self.memory else "unknown"
        per_million = 1e6 / self.rate / 3600
        return (
            self.name, str(self.images), f"{self.seconds * 1e3:.0f}", f"{self.rate:.1f}", f"{self.waiting * 100:.0f}", memory,
            f"{per_million:.2f}", f"{self.hours:.3g}",
        )  # fmt: skip


HEADINGS = ("network", "images", "ms/step", "images/s", "waiting %", "GiB", "h/1M images", "hours")


def part_of(recipe: RetrainConfig) -> RetrainConfig:
    """A recipe whose batch is one of the parts that run at once."""
    size = max(2, recipe.batch_size // recipe.processes // recipe.grad_accum_steps)
    size += size % 2 if is_mixed(recipe) else 0
    return replace(recipe, batch_size=size, grad_accum_steps=1, processes=1, aug_repeats=min(recipe.aug_repeats, size))


def measured(training: Training, name: str, seconds: float = SECONDS) -> Estimate:
    """Measures steps of a training. The network is trained by them.

    Args:
        training: whose recipe is a `part_of` one.
        seconds: how long, unless the fewest steps take longer.
    """
    recipe, batches = training.recipe, training.batches()
    schedule = Schedule(lr=recipe.lr, warmup_steps=0, total_steps=10**6)
    optimisation = Optimisation(
        training.network, schedule, weight_decay=recipe.weight_decay, clip=recipe.clip, ema=recipe.ema, pieces=training.pieces
    )  # fmt: skip
    cuda = training.device.type == "cuda"
    _forget_peak(training.device)
    times: list[tuple[float, float]] = []
    progress = Progress(f"measure {name}", WARM + LEAST, every=30)
    epoch, begun = 0, time.perf_counter()
    while len(times) < WARM + LEAST or time.perf_counter() - begun < seconds:
        clock = time.perf_counter()
        for images, labels in batches.of(epoch, 0):
            loaded = time.perf_counter()
            training.network.train()
            training.step(training.network, images, labels, Moment(len(times), 10**6, batches.per_epoch))
            optimisation.step()
            if cuda:
                torch.cuda.synchronize(training.device)
            now = time.perf_counter()
            times.append((loaded - clock, now - clock))
            progress.update(min(len(times), WARM + LEAST), len(times) * batches.size)
            clock = now
            if len(times) >= WARM + LEAST and now - begun >= seconds:
                break
        epoch += 1
    waited, whole = (sum(column) for column in zip(*times[WARM:], strict=True))
    return Estimate(
        name, batches.size, whole / (len(times) - WARM), waited / whole, _peak(training.device), _images(training)
    )


def _images(training: Training) -> int:
    """Of the whole training, over all epochs."""
    recipe, more = training.recipe, training.pieces.more_epochs if training.pieces else 0
    return len(training.part) * (recipe.epochs + more)


def estimates(
    jobs: list[Job | ReferenceJob], store: RunStore, split: Split, device: torch.device, seconds: float = SECONDS
) -> list[Estimate]:
    """Measures each network once, whatever initialisations and seeds it is to be trained from.

    Raises:
        InputError: see `Training.of`.
    """
    found = []
    for job in {job.digest: job for job in jobs}.values():
        config = replace(job.config, retrain=part_of(job.config.retrain))
        fresh = replace(job, config=config, init="scratch")
        found.append(measured(Training.of(fresh, store, split, device), job.digest, seconds))
    return found


def say_estimates(found: list[Estimate], recipe: RetrainConfig, device: torch.device) -> None:
    """Prints a table."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread"
    rows = [HEADINGS, *(estimate.cells() for estimate in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    parts = recipe.processes * recipe.grad_accum_steps
    say(
        f"measured on {name}: steps of retraining with {recipe.epochs} epochs, batches of {recipe.batch_size}"
        + (f" in {parts} parts" if parts > 1 else "")
        + (f", recipe {recipe.recipe}" if recipe.recipe else "")
    )
    for row in rows:
        say(
            "  ".join(
                cell.ljust(width) if not n else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
    say(
        "images: of a step that runs at once. GiB: "
        + ("allocated on the GPU" if device.type == "cuda" else "resident, of the whole process")
        + ". hours: of one network on one such device with the images of the run; h/1M images: of one epoch over a million."
    )


def _forget_peak(device: torch.device) -> None:
    """Begins to measure the most memory that is used."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # of Linux only
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> int:
    """The most bytes that were used since; 0 where nobody knows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    return 0

"""The parts of `gpu.py` that train: how fast, in a process group, and with interruptions. `gpu_parts.py` runs them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from nas import machine
from nas.log import say
from nas.training.ranks import Launched, launched_group
from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from supernet.optimisation import Optimisation, Schedule
from supernet.ranks import ALONE, Ranks
from supernet.recipe import Recipe
from supernet.steps import Moment
from supernet.strategies.sandwich import Sandwich
from supernet.supernet import Supernet


@dataclass(frozen=True)
class Asked:
    """What a part is told.

    Args:
        work: a folder for files.
        quick: little of everything.
    """

    device: torch.device
    work: Path
    quick: bool

    def synchronise(self) -> None:
        """Waits until the device has done its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def bound(name: str) -> SearchSpace:
    """A named space for colour images of its own size."""
    space = load_space(name)
    return space.bind(3, space.num_classes, space.resolution)


def largest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of two states."""
    pairs = ((tensor.float(), other[name].float()) for name, tensor in one.items())
    return max(float((a - b).abs().max()) for a, b in pairs if a.numel())


class Trained:
    """A supernet that trains on random images on a device.

    Args:
        amp: number format, as of `Recipe`.
    """

    def __init__(self, device: torch.device, space: str, batch: int, amp: str) -> None:
        self.device, self.batch, self.space = device, batch, bound(space)
        self.supernet = Supernet(self.space, 0).to(device).train()
        schedule = Schedule(lr=1e-3, warmup_steps=1, total_steps=1000)
        self.optimisation = Optimisation(self.supernet, schedule, weight_decay=0.05, clip=1.0, ema=0.99)
        self.strategy = Sandwich(self.space, Sandwich.Options(), recipe=Recipe(amp=amp), seed=0)
        shape, generator = (
            (batch, self.space.resolution, self.space.resolution, self.space.in_channels),
            torch.Generator(),
        )
        self.images = torch.randn(shape, generator=generator.manual_seed(0)).permute(0, 3, 1, 2).to(device)
        self.labels = (torch.arange(batch) % self.space.num_classes).to(device)

    def run(self, steps: int, ranks: Ranks, first: int = 0) -> dict[str, Tensor]:
        """Trains some steps as `supernet.loop.fit` does. Returns all shared tensors, on the CPU."""
        for number in range(first, first + steps):
            torch.manual_seed(number)
            with ranks.together(self.supernet, 1.0) as logged:
                logged.update(self.strategy.step(self.supernet, self.images, self.labels, Moment(number, 1000, 100)))
            self.optimisation.step()
        return {name: tensor.detach().cpu().clone() for name, tensor in self.supernet.state_dict().items()}


def rate(asked: Asked, device: torch.device, space: str, batch: int, amp: str, steps: int) -> None:
    """Prints images per second, the share of the time in which this process worked, and the memory that was taken."""
    try:
        trained = Trained(device, space, batch, amp)
        trained.run(2, ALONE)  # the first steps make skeletons and choose kernels
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        asked.synchronise()
        wall, cpu = time.perf_counter(), time.process_time()
        trained.run(steps, ALONE, 2)
        asked.synchronise()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    except RuntimeError as error:
        say(f"FAILED {space} batch {batch} {amp} on {device}: {str(error)[:200]}")
        return
    peak = f", {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB" if device.type == "cuda" else ""
    say(
        f"{space} batch {batch} amp={amp} on {device} ({torch.get_num_threads()} threads): {batch * steps / wall:.0f} images/s, "
        f"{1e3 * wall / steps:.0f} ms a step, {1e3 * cpu / steps:.0f} ms of CPU time{peak}"
    )


def training(asked: Asked) -> None:
    """Images per second of training with the sandwich rule, four sub-networks a step."""
    for batch in (8,) if asked.quick else (64, 256, 1024):
        for amp in ("none", "bf16"):
            rate(asked, asked.device, "images32", batch, amp, 2 if asked.quick else 12)
    if asked.quick:
        return
    for threads in (1, machine.cores()):
        torch.set_num_threads(threads)
        rate(asked, torch.device("cpu"), "images32", 64, "none", 3)
    for amp in ("none", "bf16"):
        rate(asked, asked.device, "transxnet", 32, amp, 6)


def nccl(asked: Asked) -> None:
    """Steps in a group of one process beside steps without a group."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29571"}
    steps = 2 if asked.quick else 6
    alone, clock = Trained(asked.device, "images32", 64, "none").run(steps, ALONE), time.perf_counter()
    with launched_group(Launched(0, 1, 0), asked.device) as ranks:
        ranks.wait()
        together = Trained(asked.device, "images32", 64, "none").run(steps, ranks)
        ranks.wait()
        backend = torch.distributed.get_backend()
    say(
        f"{backend}: {steps} steps in {time.perf_counter() - clock:.1f} s; largest difference of a weight {largest(alone, together):.1e}"
    )


@dataclass(frozen=True)
class Command:
    """One that has been started, and the file of what it says."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


def resume(asked: Asked) -> None:
    """Runs of the command line on the digits, side by side, and what their weights differ by."""
    folder = asked.work / "runs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    calm = [nas(asked, "train", "a"), nas(asked, "train", "b"), nas(asked, "train", "bf16", "train.amp=bf16")]
    killed, checkpoint = nas(asked, "train", "c").process, folder / "c" / "work" / "train.pt"
    while not checkpoint.exists() and killed.poll() is None:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    say(f"killed at its first checkpoint: {checkpoint.exists()}")
    wait_for(nas(asked, "train", "c"), *calm)
    files = {path.parent.name: load_file(path) for path in folder.glob("*/supernet.safetensors")}
    for name, what in (("b", "a second undisturbed run"), ("c", "killed and resumed"), ("bf16", "the same in bf16")):
        if name in files and "a" in files:
            say(f"{what}: largest difference of a weight from the first run {largest(files['a'], files[name]):.1e}")
    for verb in ("search", "extract", "retrain", "report"):
        wait_for(nas(asked, verb, "a"))


def nas(asked: Asked, verb: str, name: str, *more: str) -> Command:
    """Starts a command on a run; its output goes to a file beside the run."""
    folder = asked.work / "runs"
    settings = (
        f"run={folder / name}", f"device={asked.device}", "space=digits", "data=digits", "data.resolution=16", "train.epochs=3",
        "train.checkpoint_steps=20", "train.processes=1", "search.evaluations=16", "search.population=8", "search.budget=1.5M",
        "retrain.points=1", "retrain.epochs=2", "executor=here",
    )  # fmt: skip
    log = folder / f"{name}-{verb}.txt"
    with open(log, "w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "nas.cli", verb, *settings, *more], stdout=file, stderr=subprocess.STDOUT
        )
    return Command(f"nas {verb} run={name}", process, log)


def wait_for(*commands: Command) -> None:
    """Waits for commands, and prints the end of what each has said."""
    clock = time.perf_counter()
    for command in commands:
        code = command.process.wait()
        say(f"{command.name}: exit code {code}, {time.perf_counter() - clock:.0f} s")
        for line in command.log.read_text("utf-8", "replace").splitlines()[-3 if not code else -12 :]:
            say(f"    {line[:300]}")

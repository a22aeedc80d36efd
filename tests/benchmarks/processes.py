"""Supernet training by several processes beside one, in alternation, on the same sub-networks and the same global batches.

    python tests/benchmarks/processes.py [--space images32] [--batch 64] [--processes 2] [--blocks 6] [--steps 4]

All processes are started once. In turn, one trains alone on whole batches while the others wait, all train together on shards, and all
train on the same shards apart, without exchanging gradients, which is the most that sharing a batch can gain. Each of the three has a
supernet of its own and the same steps. Images are random, and lie in memory. Printed are images per second of wall time (the
median over blocks), their ratio, and seconds of CPU time per step of one process: on a busy machine the ratio of CPU times says
what wall times would be on a quiet one, up to the time that processes wait for each other. Each process has one thread.
"""

import argparse
import statistics
import time
from dataclasses import dataclass

import torch

from nas import machine
from nas.training.ranks import started_group
from search_spaces.named import load_space
from supernet.optimisation import Optimisation, Schedule
from supernet.ranks import ALONE, Ranks
from supernet.recipe import Recipe
from supernet.steps import Moment
from supernet.strategies.sandwich import Sandwich
from supernet.supernet import Supernet

NAMES = ("alone", "together", "apart")


@dataclass(frozen=True)
class Job:
    """What is measured."""

    space: str
    batch: int
    blocks: int
    steps: int


class Trained:
    """A supernet that trains on the global batches of a job, or on shards of them.

    Args:
        ranks: whose shard of a batch it has.
        exchange: the processes that it shares gradients with.
    """

    def __init__(self, job: Job, ranks: Ranks, exchange: Ranks) -> None:
        self.job, self.ranks, self.exchange = job, ranks, exchange
        self.space = load_space(job.space)
        self.supernet = Supernet(self.space, 0).train()
        schedule = Schedule(lr=1e-3, warmup_steps=1, total_steps=1000)
        self.optimisation = Optimisation(self.supernet, schedule, weight_decay=0.05, clip=1.0, ema=0.99)
        self.strategy = Sandwich(self.space, Sandwich.Options(), recipe=Recipe(), seed=0)

    def block(self, first: int) -> tuple[float, float]:
        """Trains some steps. Returns seconds of wall time and of this process's CPU time per step."""
        job, ranks = self.job, self.ranks
        shard = slice(job.batch * ranks.rank // ranks.size, job.batch * (ranks.rank + 1) // ranks.size)
        labels = (torch.arange(job.batch) % self.space.num_classes)[shard]
        shape = (job.batch, self.space.resolution, self.space.resolution, self.space.in_channels)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0)).permute(0, 3, 1, 2)[shard]
        wall, cpu = time.perf_counter(), time.process_time()
        for step in range(first, first + job.steps):
            torch.manual_seed(step)
            with self.exchange.together(self.supernet, len(labels) / job.batch) as logged:
                logged.update(self.strategy.step(self.supernet, images, labels, Moment(step, 1000, 100)))
            self.optimisation.step()
        return (time.perf_counter() - wall) / job.steps, (time.process_time() - cpu) / job.steps


def train(job: Job, ranks: Ranks) -> dict[str, list[tuple[float, float]]]:
    """The blocks of one process: alone, which is that of rank 0, together, and apart."""
    machine.prepare(1, "cpu")
    trained = {"together": Trained(job, ranks, ranks), "apart": Trained(job, ranks, ALONE)}
    if ranks.rank == 0:
        trained["alone"] = Trained(job, ALONE, ALONE)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
    for block in range(job.blocks + 1):
        for name in NAMES if block % 2 else reversed(NAMES):
            ranks.wait()
            if name in trained:
                found[name].append(trained[name].block(block * job.steps))
    ranks.wait()
    return {name: blocks[1:] for name, blocks in found.items()}  # the first makes skeletons and warms up


def follow(job: Job, ranks: Ranks) -> None:
    """What the other processes do."""
    train(job, ranks)


def rows(job: Job, processes: int = 2) -> list[str]:
    """Rows for what several processes gain."""
    with started_group(processes, torch.device("cpu"), follow, job) as ranks:
        found = train(job, ranks)
    rates = {name: [job.batch / wall for wall, _ in blocks] for name, blocks in found.items()}
    cpu = {name: statistics.median(seconds for _, seconds in blocks) for name, blocks in found.items()}
    return [
        f"  {job.space}, batch {job.batch}, {processes} processes, {machine.cores()} cores",
        *(
            f"  {name:9} {statistics.median(values):8.1f} images/s ({min(values):.1f} to {max(values):.1f})   {cpu[name]:.3f} s of CPU per step"
            for name, values in rates.items()
        ),
        *(_ratio(name, rates, cpu) for name in NAMES[1:]),
    ]


def _ratio(name: str, rates: dict[str, list[float]], cpu: dict[str, float]) -> str:
    """What a way to train gains over one process, as a line."""
    ratios = [b / a for a, b in zip(rates["alone"], rates[name], strict=True)]
    target = "target >= 1.7" if name == "together" else "without exchange: the most there is to gain"
    return (
        f"  ratio {name:9} {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), of CPU time "
        f"{cpu['alone'] / cpu[name]:.2f}   ({target})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--space", default="images32")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    job = Job(options.space, options.batch, options.blocks, options.steps)
    print("\n".join(rows(job, options.processes)))  # noqa: T201


if __name__ == "__main__":
    main()

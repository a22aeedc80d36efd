"""Networks that several processes train together: all of them do the same jobs in the same order, and that of rank 0 writes.

A launcher such as torchrun has started them. On one machine or several, they need the run's folder and the images under the same path.
"""

from collections.abc import Sequence
from typing import TypeVar

import torch

from nas.config import Config
from nas.records import Reference, Retraining
from nas.runs.store import RunStore
from nas.training.jobs import Job, ReferenceJob
from nas.training.retraining import finished, follow_job, train_and_test
from search_spaces.errors import InputError
from supernet.ranks import Ranks

Item = TypeVar("Item")


def check_number(config: Config, size: int) -> None:
    """
    Args:
        size: processes that were started.

    Raises:
        InputError: retraining was begun with another number, or batches are too small for so many.
    """
    asked = config.retrain.processes
    if asked not in (1, size):
        raise InputError(
            f"retrain.processes is {asked}, and {size} processes were started from outside (WORLD_SIZE={size})",
            "the same number: sums and batch norms depend on it", f"torchrun --nproc-per-node={asked} -m nas.cli retrain run={config.run}",
        )  # fmt: skip


def agreed(items: Sequence[Item], left: Sequence[Item], device: torch.device) -> list[Item]:
    """Those of the items that the process of rank 0 has left to do, in every process.

    Args:
        items: the same in all processes.
        left: those of them that count; read in the process of rank 0.
        device: of this process.
    """
    wanted = torch.tensor([float(item in left) for item in items], device=device)
    if len(wanted):
        torch.distributed.broadcast(wanted, 0)
    return [item for item, one in zip(items, wanted.tolist(), strict=True) if one]


def run_job_together(
    job: Job | ReferenceJob, store: RunStore, device: torch.device, ranks: Ranks
) -> Retraining | Reference | None:
    """Trains one network in all processes, resuming from its checkpoint.

    Returns:
        The result in the process of rank 0; None in the others.

    Raises:
        FloatingPointError: it diverged; nothing of it is kept.
        LostRankError: another process is gone.
    """
    known = [name for name in ("json", "trained.json") if store.exists(job.work(name))]
    ranks.wait()  # before any process changes that
    record = None
    if ranks.rank == 0:
        done = "json" in known
        record = finished(job, store) if done else train_and_test(job, store, device, ranks)
    elif not known:
        follow_job(job, store, device, ranks)
    ranks.wait()  # an error ends this process, and with it the others
    return record

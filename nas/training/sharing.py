"""How many processes train the supernet of a new run."""

from dataclasses import replace

import torch
from torch import distributed

from nas import machine
from nas.config import Config
from nas.goals.limiting import budget_of
from nas.training.ranks import launched
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.space import SearchSpace

MANY_MACS = 250e6
"""Multiply-accumulates of a wide and deep network on its shard from which a process pays. Below, a step takes as long with half the
images: with 150e6 (space digits, shards of 32 images) two processes took 0.94 times the CPU time of one each, with 400e6 (images32) 0.73
times. Under a budget the widest networks are never trained: of networks of 3.4 to 4 million (shards of 32 images, 128e6) two processes trained as
many images in a second as one did."""


def settled(config: Config, space: SearchSpace, device: torch.device) -> Config:
    """A configuration with the number of processes that a new run has: a launcher's, the one asked for, or as many as pay.

    Args:
        space: bound to the data.
        device: of this process.

    Raises:
        InputError: a launcher has started another number, or the machine has fewer GPUs.
    """
    asked, one = config.train.processes, launched()
    if one is not None and asked not in (0, one.size):
        raise InputError(
            f"train.processes is {asked}, and {one.size} processes were started from outside (WORLD_SIZE={one.size})",
            "the same number, or 0", "train.processes=0",
        )  # fmt: skip
    if one is not None:
        number = one.size
    elif device.type == "cuda" and asked > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise InputError(
            f"train.processes is {asked}, and this machine has {gpus} GPUs: each process has one", f"0 to {gpus}",
            f"train.processes={gpus}",
        )  # fmt: skip
    else:
        number = asked or _that_pay(config, space, device)
    return replace(config, train=replace(config.train, processes=number))


def _that_pay(config: Config, space: SearchSpace, device: torch.device) -> int:
    """As many processes as the machine has cores, unless the shards become so small that most of a step is spent beside their images.

    A budget of MACs bounds the networks that a step runs; other costs say little of its time.
    """
    if device.type != "cpu" or not distributed.is_available():
        return 1
    wide = macs(space.decode(tuple(len(gene.choices) - 1 for gene in space.genes)))
    limit = budget_of(config.train).limit("macs")
    work = config.train.batch_size * (wide if limit is None else min(wide, limit * config.train.largest))
    most = min(machine.cores(), config.train.batch_size // 2, int(work / MANY_MACS))
    return max(1, most)

"""The processes that train one module together: each has a copy of it and a shard of every batch.

After each step all ranks have the same weights, the same running statistics and the same state of the optimiser. No process is told
by another what to draw, because all of them draw the same from the seed of the run.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class LostRankError(RuntimeError):
    """Another process of the training is gone, so that no step can be finished."""


class Ranks:
    """This process among those that train; here it is the only one.

    rank: its number, from 0. The process of number 0 writes what is written.
    size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @contextmanager
    def together(self, module: nn.Module, share: float) -> Iterator[dict[str, Tensor]]:
        """Around one step: on leaving, gradients, running statistics and what the step logs are those of the whole batch.

        Args:
            share: of the batch that this process has, from 0 to 1.

        Yields:
            A dictionary to be filled with what the step logs.

        Raises:
            LostRankError: another process is gone.
        """
        yield {}

    def wait(self) -> None:
        """Returns when all processes have come here.

        Raises:
            LostRankError: another process is gone.
        """


ALONE = Ranks()
"""Training by one process."""


class DistributedRanks(Ranks):
    """The processes of torch.distributed's default group, which the caller has made.

    Gradients are summed over the sub-networks of a step before anything is exchanged, and each step exchanges once for each type of
    numbers. Only parameters with gradients take part: they are the same in all processes, which run the same sub-networks.

    Batch norms normalise by the images of their own shard. Their running statistics become the mean over the shards after every step.

    Args:
        device: of this process.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.size = torch.distributed.get_rank(), torch.distributed.get_world_size()

    @contextmanager
    def together(self, module: nn.Module, share: float) -> Iterator[dict[str, Tensor]]:
        statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
        before = [buffer.clone() for buffer in statistics]
        logged: dict[str, Tensor] = {}
        yield logged
        with torch.no_grad():
            # Changes are averaged, not values: a buffer that no step changes stays bitwise what it is.
            changes = [new - old for new, old in zip(statistics, before, strict=True)]
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            values = [value.detach().clone() for value in logged.values()]
            weighted_mean([*gradients, *changes, *values], share)
            for buffer, old, change in zip(statistics, before, changes, strict=True):
                torch.add(old, change, out=buffer)
        logged.update(zip(logged, values, strict=True))

    def wait(self) -> None:
        sign = torch.zeros(1, device=self.device)
        weighted_mean([sign], 1 / self.size)
        sign.item()  # NCCL only begins the exchange: whoever reads a value waits for the others


def weighted_mean(tensors: Sequence[Tensor], share: float) -> None:
    """Replaces tensors by their means over all processes, weighted by shares that add up to 1.

    Args:
        tensors: of the same number, shapes and types in all processes.
        share: the weight of this process.

    Raises:
        LostRankError: another process is gone.
    """
    alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        alike.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for group in alike.values():
        flat = torch.cat([tensor.reshape(-1) for tensor in group]).mul_(share)
        try:
            torch.distributed.all_reduce(flat)
        except RuntimeError as error:
            raise LostRankError(str(error).splitlines()[0]) from error
        parts = flat.split([tensor.numel() for tensor in group])
        for tensor, part in zip(group, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

"""Normalisation statistics of one candidate, recomputed without touching the supernet's.

Running statistics in a supernet mix all sub-networks and fit none of them. Here each candidate gets its own buffers, computed from zero
as the plain average over batches of the real forward pass. Results therefore do not depend on which candidates were evaluated before.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from supernet.supernet import Supernet, network_skeleton


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms use and average batch statistics, with equal weight for each batch; everything else stays in evaluation mode."""
    norms = {m: m.momentum for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    try:
        for norm in norms:
            norm.training, norm.momentum = True, None
        yield
    finally:
        for norm, momentum in norms.items():
            norm.training, norm.momentum = False, momentum


@torch.no_grad()
def recompute(network: nn.Module, batches: Iterable[Float[Tensor, "_ c h w"]]) -> None:
    """Recomputes the batch-norm statistics of a stand-alone network for its current weights.

    After weight averaging no recorded statistics match the weights.

    Args:
        batches: training images, on the network's device; two or more in each batch. Nothing is drawn where there is no batch norm.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
    network.eval()
    with batch_statistics(network):
        for images in batches:
            network(images)


def empty_statistics(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Initial statistics, before any image, of the same shapes."""
    return {
        name: torch.ones_like(tensor) if name.endswith("running_var") else torch.zeros_like(tensor)
        for name, tensor in buffers.items()
    }


@torch.no_grad()
def calibrate(supernet: Supernet, arch: Architecture, batches: Iterable[Float[Tensor, "_ c h w"]]) -> dict[str, Tensor]:
    """The buffers of `arch` for these images, named as in its network; empty when it has none.

    Args:
        batches: training images, on the supernet's device; two or more in each batch.
    """
    buffers = empty_statistics(supernet.weights(arch, buffers=True))
    if not buffers:
        return {}
    supernet.eval()
    with batch_statistics(network_skeleton(arch, False)):
        for images in batches:
            supernet(images, arch, buffers)
    return buffers

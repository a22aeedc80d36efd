"""Random weights and inputs for laws, and how outputs are compared.

Weights and norm statistics are random before every comparison, for ones and zeros would hide missing copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
import torch
from torch import Tensor, nn


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers that depend on nothing but their shape and seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Gives every parameter and every norm statistic a random value of ordinary size; returns the module."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict(keep_vars=True).items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(5)
            continue
        z = torch.randn(tensor.shape, generator=generator).to(tensor)
        if name.endswith("running_var"):
            value = 0.5 + z.abs()
        elif tensor.dim() <= 1 and name.endswith("weight"):
            value = 1 + 0.3 * z
        else:
            value = 0.3 * z
        tensor.copy_(value)
    return module


@torch.no_grad()
def tame(module: nn.Module) -> nn.Module:
    """Random weights of the size that keeps the outputs of a deep and wide network finite; returns the module."""
    randomise(module)
    for parameter in module.parameters():
        if parameter.dim() > 1:
            parameter.mul_(3 * parameter[0].numel() ** -0.5)
    return module


def assert_same(one: Tensor, other: Tensor, what: str = "the outputs") -> None:
    """Bitwise equality."""
    assert one.shape == other.shape
    assert torch.equal(one, other), f"{what} differ by {(one - other).abs().max():.3g} at most"


@contextmanager
def no_shape_checks() -> Iterator[None]:
    """Without the checks of annotations: what torch.jit and torch.fx trace with is not what annotations say."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)

"""Pieces of a network that are run again in the backward pass, so that their feature maps need not be kept."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def discarded_statistics(module: nn.Module) -> Iterator[None]:
    """What running statistics gather in here is thrown away: a block that is computed again sees the same images again."""
    kept = [(child, dict(child._buffers)) for child in module.modules()]
    for child, buffers in kept:
        child._buffers.update({name: None if buffer is None else buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for child, buffers in kept:
            child._buffers.update(buffers)


def call_checkpointed(name: str, module: nn.Module, *inputs: Tensor) -> Tensor:
    """Runs a piece, and a block so that it is computed again for its gradients instead of kept in memory."""
    if ".blocks." not in name:
        return module(*inputs)
    if torch.compiler.is_compiling():  # which gathers statistics once by itself, and takes no contexts
        return cast(Tensor, checkpoint(module, *inputs, use_reentrant=False))
    contexts = partial(_contexts, module)
    return cast(Tensor, checkpoint(module, *inputs, use_reentrant=False, context_fn=contexts))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), discarded_statistics(module)

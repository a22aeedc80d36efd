"""The cost `memory`: bytes that one forward pass of one image needs at its peak in float32.

It is the sum of weights and buffers, which are there throughout the pass, and the feature maps that are held at once, which
activations.py finds. Memory outside the network is not counted: Python, the libraries, and workspaces inside operators.
"""

from functools import lru_cache

import torch
from torch import nn

from search_spaces.architecture import Architecture, Part
from search_spaces.costs import register_cost
from search_spaces.costs.activations import activations
from search_spaces.costs.remembered import recall
from search_spaces.network import PieceSpec, pieces
from search_spaces.registry import SkipInit, make


def state_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers: 4 per floating-point element, and other buffers, such as counters, as they are."""
    tensors = (*module.parameters(), *module.buffers())
    return sum((4 if t.is_floating_point() else t.element_size()) * t.numel() for t in tensors)


@lru_cache(maxsize=100_000)
def part_bytes(kind: str, part: Part, dims: tuple[int, ...]) -> int:
    """Bytes of a part's parameters and buffers, remembered, also on disk (`search_spaces.costs.remembered`).

    Args:
        dims: as for `registry.make`.
    """

    def count() -> tuple[int]:
        with torch.device("meta"), SkipInit():
            return (state_bytes(make(kind, part, *dims)),)

    return recall(kind, part, dims, "bytes", lengths=(1,), count=count)[0]


@lru_cache(maxsize=100_000)
def piece_bytes(spec: PieceSpec) -> int:
    """The same of a piece: the sum over its parts."""
    return sum(len(children) * part_bytes(kind, part, dims) for kind, part, dims, children in spec.parts())


@register_cost("memory", unit="bytes", about="weights, and feature maps held at once, at most, for one image")
def memory(arch: Architecture) -> int:
    """Bytes that a forward pass of one image needs at its peak, at the architecture's resolution.

    Raises:
        InputError: an unknown part or option, or sizes that do not fit.
    """
    return sum(piece_bytes(spec) for _, spec in pieces(arch)) + activations(arch)


def forget() -> None:
    """Forgets what is remembered; for tests that register parts."""
    part_bytes.cache_clear()
    piece_bytes.cache_clear()

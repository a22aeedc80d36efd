"""Parameters and MACs of a network: the sum over its pieces, and of a piece the sum over its parts, each counted once on the meta device
and remembered.
"""

import copy
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from search_spaces.architecture import Architecture, Part
from search_spaces.costs.operators import Counter, meta, operators_of
from search_spaces.costs.remembered import recall
from search_spaces.network import Network, PieceSpec, pieces
from search_spaces.registry import SkipInit, TokenMixer, make

if TYPE_CHECKING:  # it imports this module
    from search_spaces.units import Unit


class ParamsAndMacs(NamedTuple):
    """Parameters and MACs of a network for one image."""

    params: int
    macs: int


class PieceCost(NamedTuple):
    """Cost of one piece and the size of its output map (0, 0 behind the head)."""

    params: int
    macs: int
    height: int
    width: int


@lru_cache(maxsize=100_000)
def piece_cost(spec: PieceSpec, height: int, width: int) -> PieceCost:
    """Cost of one piece on a map of `height` x `width`: the sum over its parts, remembered.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
    """
    params = macs = 0
    after = height, width
    for kind, part, dims, children in spec.parts():
        found = part_cost(kind, part, dims, height, width)
        params += len(children) * found.params
        macs += len(children) * found.macs
        if kind in ("embedding", "head"):
            after = found.height, found.width
    return PieceCost(params, macs, *after)


@lru_cache(maxsize=100_000)
def part_cost(kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> PieceCost:
    """Cost of one part, counted on the meta device the first time it is asked for; from then on it is remembered, also on disk
    (`search_spaces.costs.remembered`).

    Args:
        dims: as for `registry.make`; the first, if any, is the number of input channels.

    Raises:
        NotImplementedError: the part has an operator whose cost is not known.
    """

    def count() -> PieceCost:
        with torch.device("meta"), SkipInit():
            module = make(kind, part, *dims).eval()
        inputs = 2 if isinstance(module, TokenMixer) and module.needs_residual else 1
        return _count(module, inputs, dims[0] if dims else 1, height, width)

    return PieceCost(*recall(kind, part, dims, height, width, lengths=(len(PieceCost._fields),), count=count))


_BRANCHES = {"mixer": ("norm", "mixer", "scale"), "ffn": ("norm", "ffn", "scale")}


@lru_cache(maxsize=100_000)
def unit_cost(unit: "Unit") -> ParamsAndMacs:
    """Parameters and MACs of a unit of `search_spaces.units`.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
    """
    slots = _BRANCHES.get(unit.kind, (unit.kind,))
    dims = () if unit.kind == "position_bias" else unit.dims
    found = [part_cost(slot, part, dims, unit.height, unit.width) for slot, part in zip(slots, unit.parts, strict=True)]
    return ParamsAndMacs(sum(cost.params for cost in found), sum(cost.macs for cost in found))


def _count(module: nn.Module, inputs: int, channels: int, height: int, width: int) -> PieceCost:
    with torch.no_grad(), Counter(operators_of(module)) as counter:
        y = module(*(meta(1, channels, height, width) for _ in range(inputs)))
    shape = tuple(y.shape)
    params = sum(p.numel() for p in module.parameters())
    return PieceCost(params, counter.macs, *(shape[2:] if len(shape) == 4 else (0, 0)))


def cost(arch: Architecture) -> ParamsAndMacs:
    """Parameters and MACs of an architecture at its resolution, for one image.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
        InputError: an unknown part or option, or sizes that do not fit.
    """
    params = macs = 0
    height = width = arch.resolution
    for _, spec in pieces(arch):
        piece = piece_cost(spec, height, width)
        params += piece.params
        macs += piece.macs
        height, width = piece.height, piece.width
    return ParamsAndMacs(params, macs)


def count(network: Network, resolution: int) -> ParamsAndMacs:
    """The same, counted again on a network that exists, in one forward pass of the whole; slow, for checks."""
    meta = copy.deepcopy(network).to("meta").eval()
    result = _count(meta, 1, network.arch.in_channels, resolution, resolution)
    return ParamsAndMacs(result.params, result.macs)

"""The inverse of extraction: the bank of a supernet takes the weights of a network or of another supernet.

    take(supernet, of_network(network, supernet.space))
    supernet(x, network.arch)        is network(x), bit for bit, if the space has the network

A network that is smaller than the bank fills the slices that it would be extracted from. What lies outside of them keeps its values, with
one exception: the weights from new inputs to the outputs of a layer that are taken become zero, as do those around a smaller kernel. A wider
sub-network then begins with features that were trained, to which the new channels add nothing until they are trained too.

Of a network that is no member, the bank takes what has a place in it: the same part in the same block, as far as both reach along each axis.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from search_spaces.architecture import SLOTS
from search_spaces.space import SearchSpace
from supernet.bank import Group, bank_groups
from supernet.offering import Given, Offer
from supernet.slicing import slice_like
from supernet.supernet import Supernet

HEAD = "head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How much of the parameters of one stage, or of the head, comes from the given weights.

    Args:
        place: "stages.0", or "head".
        tensors: parameters of the bank there, of which `whole` are taken wholly and `partly` in part.
        weights: elements of these parameters, of which `taken` are taken.
        fresh: what gets nothing: a part in all blocks, such as "mixer global_attention", or a block in all parts, such as "block 2";
            "all of it" alone if nothing of the stage is taken.
    """

    place: str
    tensors: int
    whole: int
    partly: int
    weights: int
    taken: int
    fresh: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a bank takes, counted in parameters; statistics go with them.

    Args:
        shares: by stage, then the head.
        left: given parameters of which nothing is taken, by their names in the bank that they would have.
        left_weights: elements that are given and not taken, those of tensors that are larger than the bank's included.
    """

    shares: tuple[Share, ...]
    left: tuple[str, ...]
    left_weights: int

    @property
    def taken(self) -> int:
        """Weights of the bank that are taken."""
        return sum(share.taken for share in self.shares)

    @property
    def weights(self) -> int:
        """Weights of the bank."""
        return sum(share.weights for share in self.shares)


@torch.no_grad()
def take(supernet: Supernet, offer: Offer) -> None:
    """Copies what is offered into a supernet's bank; the module's docstring says what becomes of the rest. `account` counts it.

    Args:
        offer: for the supernet's space: `supernet.offering.of_network` or `of_bank`.
    """
    bank = supernet.bank()
    for given in offer.tensors:
        shared = bank.get(given.name)
        shape = None if shared is None else common(given, tuple(shared.shape))
        if shared is not None and shape is not None:
            cut = given.centred, given.trailing
            if _is_of_a_layer(given):
                slice_like(shared, (shape[0], *shared.shape[1:]), *cut).zero_()
            slice_like(shared, shape, *cut).copy_(slice_like(given.tensor, shape, *cut))


def _is_of_a_layer(given: Given) -> bool:
    """Whether it is the weight of a linear layer or convolution, whose first axis are its outputs and whose others feed them."""
    return given.tensor.dim() > 1 and given.name.rpartition(".")[2] == "weight" and not given.is_buffer


def common(given: Given, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape that a given tensor and one of the bank share; None for tensors of another meaning, which have other axes.

    Args:
        shape: of the bank's tensor.
    """
    if given.tensor.dim() != len(shape):
        return None
    return tuple(map(min, given.tensor.shape, shape))


class _Counted(NamedTuple):
    """A parameter of the bank: its part, its block where it is in one, its elements, and how many of them are taken."""

    name: str
    part: str
    block: str
    size: int
    taken: int


def account(space: SearchSpace, offer: Offer) -> Account:
    """What `take` does for the supernet of a space, from shapes alone: nothing of the supernet's size is allocated."""
    given = {one.name: one for one in offer.tensors if not one.is_buffer}
    stages: dict[str, list[_Counted]] = {}
    for group in bank_groups(space):
        place = group.place if group.place == HEAD else ".".join(group.place.split(".")[:2])
        stages.setdefault(place, []).extend(_counted(group, given))
    taken = {one.name: one.taken for counted in stages.values() for one in counted if one.taken}
    rest = sum(one.tensor.numel() - taken.get(name, 0) for name, one in given.items())
    return Account(
        shares=tuple(_share(place, counted) for place, counted in stages.items()),
        left=(*(name for name in given if name not in taken), *offer.unfit),
        left_weights=rest + sum(offer.unfit.values()),
    )


def _counted(group: Group, given: Mapping[str, Given]) -> Iterator[_Counted]:
    """The parameters of a group, in each of its places."""
    in_blocks = group.kind in SLOTS and group.place.endswith(".blocks")
    for place in group.places():
        block = f"block {place.split('.')[3]}" if in_blocks else ""
        for key, shape in group.shapes.items():
            if key not in group.buffers:
                name = f"{place}.{group.name}.{key}"
                shared = common(given[name], shape) if name in given else None
                taken = 0 if shared is None else math.prod(shared)
                yield _Counted(name, f"{group.kind} {group.name}", block, math.prod(shape), taken)


def _share(place: str, counted: Sequence[_Counted]) -> Share:
    known = {what for one in counted if one.taken for what in (one.part, one.block)}
    parts, blocks = (one.part for one in counted), (one.block for one in counted if one.block)
    fresh = tuple(what for what in dict.fromkeys((*parts, *blocks)) if what not in known)
    return Share(
        place=place,
        tensors=len(counted),
        whole=sum(one.taken == one.size for one in counted),
        partly=sum(0 < one.taken < one.size for one in counted),
        weights=sum(one.size for one in counted),
        taken=sum(one.taken for one in counted),
        fresh=fresh if known else ("all of it",),
    )

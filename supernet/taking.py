"""The inverse of extraction: the bank of a supernet takes the weights of a network or of another supernet.

    take(supernet, of_network(network, supernet.space))
    supernet(x, network.arch)        is network(x), bit for bit, if the space has the network

A network that is smaller than the bank fills the slices that it would be extracted from. What lies outside of them keeps its values, with
one exception: the weights from new inputs to the outputs of a layer that are taken become zero, as do those around a smaller kernel. A wider
sub-network then begins with features that were trained, to which the new channels add nothing until they are trained too.

Of a network that is no member, the bank takes what has a place in it: the same part in the same block, as far as both reach along each axis.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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


def account(space: SearchSpace, offer: Offer) -> Account:
    """What `take` does for the supernet of a space, from shapes alone: nothing of the supernet's size is allocated."""
    given = {one.name: one for one in offer.tensors if not one.is_buffer}
    taken: dict[str, int] = {}
    sums: dict[str, list[int]] = {}
    groups: dict[str, list[tuple[Group, list[str]]]] = {}
    for group in bank_groups(space):
        stage = _stage(group.place)
        total = sums.setdefault(stage, [0, 0, 0, 0, 0])
        names = []
        for place in group.places():
            for key, shape in group.shapes.items():
                if key in group.buffers:
                    continue
                name, size = f"{place}.{group.name}.{key}", math.prod(shape)
                found = common(given[name], shape) if name in given else None
                count = 0 if found is None else math.prod(found)
                taken |= {name: count} if count else {}
                names.append(name)
                for i, more in enumerate((1, count == size, 0 < count < size, size, count)):
                    total[i] += more
        groups.setdefault(stage, []).append((group, names))
    shares = (_share(stage, total, tuple(_fresh(groups[stage], taken))) for stage, total in sums.items())
    left = [name for name in given if name not in taken]
    rest = sum(one.tensor.numel() - taken.get(name, 0) for name, one in given.items())
    return Account(shares=tuple(shares), left=(*left, *offer.unfit), left_weights=rest + sum(offer.unfit.values()))


def _share(stage: str, total: list[int], fresh: tuple[str, ...]) -> Share:
    tensors, whole, partly, weights, taken = total
    return Share(place=stage, tensors=tensors, whole=whole, partly=partly, weights=weights, taken=taken, fresh=fresh)


def _stage(place: str) -> str:
    return HEAD if place == HEAD else ".".join(place.split(".")[:2])


def _fresh(groups: Iterable[tuple[Group, list[str]]], taken: Mapping[str, int]) -> Iterator[str]:
    """The parts and the blocks of a stage of which nothing is taken."""
    groups = list(groups)
    if not any(name in taken for _, names in groups for name in names):
        yield "all of it"
        return
    blocks: dict[int, bool] = {}
    for group, names in groups:
        if names and not any(name in taken for name in names):
            yield f"{group.kind} {group.name}"
        if group.kind in SLOTS and group.place.endswith(".blocks"):
            for name in names:
                number = int(name.split(".")[3])
                blocks[number] = blocks.get(number, False) or name in taken
    yield from (f"block {number}" for number, known in blocks.items() if not known)

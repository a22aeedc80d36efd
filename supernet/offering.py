"""What a network or another supernet offers to a supernet's bank: its tensors, by the names that the bank has for them.

The bank may be of a space with other classes, image channels or resolution: `supernet.adapting` says what happens then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from search_spaces import registry
from search_spaces.architecture import Architecture
from search_spaces.canonical import RESIZED, canonical, for_resolution
from search_spaces.network import Network, pieces
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.walking import map_sides, maps_of
from supernet.adapting import Owned, Sides, adapted
from supernet.bank import bank_groups, tensors_of


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor for the bank.

    Args:
        name: of the tensor of the bank that it is for.
        tensor: its values.
        centred, trailing: the axes whose smaller sizes lie in the middle or at the end; those of all others lie at the start.
        is_buffer: whether it is a statistic rather than a parameter.
    """

    name: str
    tensor: Tensor
    centred: tuple[int, ...]
    trailing: tuple[int, ...]
    is_buffer: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered to the bank of a space.

    Args:
        tensors: in the order of the network.
        unfit: the weights of each parameter that only fits other classes or channels, such as a classifier's, by name.
        arch: the offered network for the classes, channels and resolution of the space; None for a supernet.
        member: whether the space has that network. Its sub-network then does what the network does.
    """

    tensors: tuple[Given, ...]
    unfit: Mapping[str, int]
    arch: Architecture | None = None
    member: bool = False


def of_network(network: Network, space: SearchSpace) -> Offer:
    """What a network offers to the supernet of a space, whether it is a member or not."""
    arch = complete(network.arch)
    moved = replace(
        for_resolution(arch, space.resolution), in_channels=space.in_channels, num_classes=space.num_classes
    )
    offer = _offer(_owned_by_network(network, moved), len(arch.stages), space)
    moved = canonical(moved)
    return replace(offer, arch=moved, member=space.contains(moved))


def of_bank(tensors: Mapping[str, Tensor], owner: SearchSpace, space: SearchSpace) -> Offer:
    """What the supernet of one space offers to that of another.

    Args:
        tensors: the bank of the supernet, by name.
        owner: its space.
        space: that of the supernet which takes them.
    """
    return _offer(_owned_by_bank(tensors, owner, space), len(owner.stages), space)


def _owned_by_network(network: Network, moved: Architecture) -> Iterator[Owned]:
    """
    Args:
        moved: the network's architecture at the resolution of the space.
    """
    sides = list(zip(map_sides(complete(network.arch)), map_sides(moved), strict=True))
    for name, piece in pieces(complete(network.arch)):
        module = network.get_submodule(name)
        for spec in piece.parts():
            maps = (sides[int(name.split(".")[1])],) if spec.kind in RESIZED else ()
            for child in spec.children:
                found = list(tensors_of(module.get_submodule(child)))
                yield Owned(
                    place=".".join(filter(None, (name, child))), kind=spec.kind, name=spec.part.name, built=((spec.part, spec.dims),),
                    tensors={key: tensor for key, tensor, _ in found}, buffers=frozenset(key for key, _, is_buffer in found if is_buffer),
                    maps=maps,
                )  # fmt: skip


def _owned_by_bank(tensors: Mapping[str, Tensor], owner: SearchSpace, space: SearchSpace) -> Iterator[Owned]:
    moved = owner.bind(owner.in_channels, owner.num_classes, space.resolution)
    sides: list[Sides] = [
        tuple((before[0], after[0]) for before, after in zip(*maps, strict=False))
        for maps in zip(maps_of(owner), maps_of(moved), strict=True)
    ]
    for group in bank_groups(owner):
        built, maps = group.builders, ()
        if group.kind in RESIZED:  # the builders need not have every table
            found = [
                b for b in owner.buildable() if (b.place, b.kind, b.part.name) == (group.place, group.kind, group.name)
            ]
            built, maps = tuple((b.part, b.dims) for b in found), sides[found[0].maps]
        for place in group.places():
            yield Owned(
                place=place, kind=group.kind, name=group.name, built=built,
                tensors={key: tensors[f"{place}.{group.name}.{key}"] for key in group.shapes}, buffers=group.buffers, maps=maps,
            )  # fmt: skip


def _offer(owned: Iterable[Owned], stages: int, space: SearchSpace) -> Offer:
    """
    Args:
        stages: of what is offered. Behind another number of stages, a head gets features of another kind.
    """
    fits_head = stages == len(space.stages)
    given: list[Given] = []
    unfit: dict[str, int] = {}
    for one in owned:
        module, place = registry.lookup(one.kind, one.name), f"{one.place}.{one.name}"
        kept, left = adapted(one, space) if one.kind != "head" or fits_head else ({}, list(one.tensors))
        unfit |= {f"{place}.{key}": one.tensors[key].numel() for key in left if key not in one.buffers}
        for key, tensor in kept.items():
            cut = registry.axes(module.centred, key), registry.axes(module.trailing, key)
            given.append(Given(f"{place}.{key}", tensor.detach(), *cut, key in one.buffers))
    return Offer(tuple(given), unfit)

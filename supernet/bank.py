"""What the bank of shared weights holds of a space: one tensor per name for every place and every part that may stand there, as shapes."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from search_spaces import registry
from search_spaces.architecture import SLOTS, Part
from search_spaces.network import CHILDREN
from search_spaces.space import SearchSpace


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor, bool]]:
    """The parameters and then the buffers of a module: name, tensor, and whether it is a buffer."""
    for name, parameter in module.named_parameters():
        yield name, parameter, False
    for name, buffer in module.named_buffers():
        yield name, buffer, True


@dataclasses.dataclass(frozen=True, slots=True)
class Group:
    """What the bank holds of one part in one place, as shapes; nothing is allocated.

    Args:
        place, copies: a piece, or "stages.S.blocks" and the number of those blocks.
        kind, name: of the part.
        shapes: of the bank tensors by name, each as large as the largest option value and width needs.
        buffers: the names of those that are no parameters.
        builders: the options and sizes that are really built for the initial values, in this order.
    """

    place: str
    copies: int
    kind: str
    name: str
    shapes: Mapping[str, tuple[int, ...]]
    buffers: frozenset[str]
    builders: tuple[tuple[Part, tuple[int, ...]], ...]

    def places(self) -> Iterator[str]:
        """Where in the bank the tensors stand: once for each piece, and in blocks for each child that the part makes."""
        is_block = self.kind in SLOTS and self.place.endswith(".blocks")
        for copy in range(self.copies):
            for child in CHILDREN[self.kind] if is_block else ("",):
                yield ".".join(filter(None, (self.place, str(copy) if is_block else "", child)))


@lru_cache(maxsize=8)
def bank_groups(space: SearchSpace) -> tuple[Group, ...]:
    """The groups of a space's bank, in the order in which they are filled.

    For each place and part, all option values and widths are built on the meta device for their shapes. The result is
    remembered, because the estimate of the memory needs it before the supernet does.
    """
    members_of: dict[tuple[str, int, str, str], list[tuple[Part, tuple[int, ...]]]] = {}
    for place, copies, kind, part, dims in space.part_specs():
        members_of.setdefault((place, copies, kind, part.name), []).append((part, dims))
    groups = []
    for (place, copies, kind, name), members in members_of.items():
        shapes: dict[str, list[tuple[int, ...]]] = {}
        users: dict[str, list[int]] = {}
        buffers: set[str] = set()
        with torch.device("meta"), registry.SkipInit():
            for index, (part, dims) in enumerate(members):
                for key, tensor, is_buffer in tensors_of(registry.make(kind, part, *dims)):
                    shapes.setdefault(key, []).append(tuple(tensor.shape))
                    users.setdefault(key, []).append(index)
                    if is_buffer:
                        buffers.add(key)
        full = {key: tuple(map(max, zip(*found, strict=True))) for key, found in shapes.items()}
        needed: set[int] = set()
        for key, found in shapes.items():
            # Slices nest, so the shapes that no other shape contains cover all of them; mostly it is one, the whole tensor.
            for shape in _maximal(set(found)):
                whole = [index for index, other in zip(users[key], found, strict=True) if other == shape]
                if not needed.intersection(whole):
                    needed.add(whole[0])
        builders = tuple(members[index] for index in sorted(needed, key=lambda i: sum(members[i][1])))
        groups.append(Group(place, copies, kind, name, full, frozenset(buffers), builders))
    return tuple(groups)


def _maximal(shapes: set[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The shapes that fit into no other, sorted."""
    return sorted(
        shape for shape in shapes if not any(other != shape and all(map(int.__le__, shape, other)) for other in shapes)
    )

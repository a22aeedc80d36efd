"""Weights for other classes, image channels or another resolution than those that they were trained with.

classes      tensors whose size is the number of classes are left: rows of other classes mean nothing here
channels     the first layer's inputs are spread over the new channels, so that a grey image gives the same features
resolution   position tables are resized, once, as their part resizes them in every pass
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import torch
from torch import Tensor

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.canonical import resized
from search_spaces.space import SearchSpace
from supernet.bank import tensors_of

FIRST = "stages.0.embedding"
"""The piece that sees the image."""

Dims: TypeAlias = tuple[int, ...]
Sides: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """The tensors of one part in one place of a network or a bank.

    Args:
        place: where the bank has them, such as "stages.0.blocks.1.mixer".
        kind, name: of the part.
        built: the options and sizes that have these tensors: one in a network, several in a bank.
        tensors: by their names in the part.
        buffers: the names of those that are no parameters.
        maps: sides of the part's map in pixels, before and after; empty for a part that is not made for maps of one size.
    """

    place: str
    kind: str
    name: str
    built: tuple[tuple[Part, Dims], ...]
    tensors: Mapping[str, Tensor]
    buffers: frozenset[str]
    maps: Sides = ()


def adapted(owned: Owned, space: SearchSpace) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors as they are for a space, and the names of those that only fit the classes or channels that they were made for."""
    tensors = _resized(owned)
    if owned.kind == "head":
        other = _axes_that_change(owned.kind, owned.built, (None, space.num_classes))
    elif owned.place == FIRST:
        other = _axes_that_change(owned.kind, owned.built, (space.in_channels, None))
    else:
        other = {}
    left = []
    for key, axes in other.items():
        if owned.kind != "head" and axes == (1,):  # the inputs of a convolution or a linear layer
            tensors[key] = spread(tensors[key], space.in_channels)
        else:
            left.append(key)
    return {key: tensor for key, tensor in tensors.items() if key not in left}, left


def spread(weight: Tensor, channels: int) -> Tensor:
    """Weights of shape (outputs, inputs, ...) for another number of inputs. Where all inputs are equal, outputs stay what they were.

    More channels than before share the weights of the old ones in turn; fewer have equal shares of their sum.
    """
    old = weight.shape[1]
    if channels >= old:
        turns = torch.arange(channels) % old
        shares = torch.bincount(turns, minlength=old)[turns].reshape(1, -1, *(1,) * (weight.dim() - 2))
        return weight[:, turns] / shares.to(weight)
    return weight.sum(1, keepdim=True).expand(-1, channels, *weight.shape[2:]) / channels


@cache
def _shapes(kind: str, part: Part, dims: Dims) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"), registry.SkipInit():
        return {key: tuple(tensor.shape) for key, tensor, _ in tensors_of(registry.make(kind, part, *dims))}


def _axes_that_change(
    kind: str, built: Iterable[tuple[Part, Dims]], sizes: tuple[int | None, int | None]
) -> dict[str, tuple[int, ...]]:
    """The axes of each tensor that have another size when the part is made with these sizes; None stands for its own."""
    found: dict[str, tuple[int, ...]] = {}
    for part, dims in built:
        new = tuple(own if size is None else size for own, size in zip(dims, sizes, strict=True))
        after = _shapes(kind, part, new)
        for key, shape in _shapes(kind, part, dims).items():
            axes = tuple(i for i, (size, other) in enumerate(zip(shape, after[key], strict=True)) if size != other)
            if axes:
                found[key] = axes
    return found


def _resized(owned: Owned) -> dict[str, Tensor]:
    """The tensors with each table of the old map's size as one of the new map's."""
    tensors = dict(owned.tensors)
    for side, new_side in dict.fromkeys(owned.maps):
        for part, dims in owned.built:
            new = resized(owned.kind, part, side, new_side)
            keys = [key for key in _shapes(owned.kind, part, dims) if key in tensors]
            if new == part or not keys:  # another part with the same table has been resized already
                continue
            options = registry.options(owned.kind, part), registry.options(owned.kind, new)
            module = registry.lookup(owned.kind, part.name)
            tensors |= module.resized_tensors({key: tensors.pop(key) for key in keys}, *options)
    return tensors

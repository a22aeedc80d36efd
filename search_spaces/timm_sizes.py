"""The papers' networks for images of other sizes, as timm's `img_size`, `window_size` and such ask for them."""

import operator
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, cast

from search_spaces.architecture import Architecture, Part
from search_spaces.canonical import for_resolution
from search_spaces.errors import InputError
from search_spaces.registry import complete, lookup, options


def stride(embedding: Part) -> int:
    """By its option, or of its class."""
    own = options("embedding", embedding)
    return own.stride if hasattr(own, "stride") else cast(Any, lookup("embedding", embedding.name)).stride


def reductions(arch: Architecture) -> list[int]:
    """Pixels of the image to a side of one position of the map, by stage."""
    return list(accumulate((stride(stage.embedding) for stage in arch.stages), operator.mul))


def for_image_size(arch: Architecture, img_size: int | Sequence[int]) -> Architecture:
    """The same network, its position tables made for square images of this side.

    Raises:
        InputError: not a square, or no size.
    """
    sides = {img_size} if isinstance(img_size, int) else set(img_size)
    if len(sides) != 1 or min(sides) < 1:
        raise InputError(
            f"img_size is {img_size}",
            "the side of a square; a network takes images of every size and shape, whatever it is made for",
            "img_size=224",
        )
    return for_resolution(complete(arch), sides.pop())


def adapted(
    arch: Architecture,
    *,
    num_classes: int | None = None,
    in_chans: int | None = None,
    img_size: int | Sequence[int] | None = None,
    window_sizes: Sequence[int] | None = None,
    pool_sizes: Sequence[int] | None = None,
) -> Architecture:
    """The same network as timm's arguments of these names change it, with every option written out. None changes nothing.

    Args:
        num_classes: 0 for no classifier, whose architecture has one class.

    Raises:
        InputError: see `for_image_size` and `with_grids`.
    """
    if img_size is not None:
        arch = for_image_size(arch, img_size)
    arch = with_grids(with_grids(arch, "window_size", window_sizes), "pool_size", pool_sizes)
    channels = arch.in_channels if in_chans is None else in_chans
    classes = arch.num_classes if num_classes is None else num_classes or 1
    return complete(replace(arch, in_channels=channels, num_classes=classes))


def with_grids(arch: Architecture, option: str, sizes: Sequence[int] | None) -> Architecture:
    """The same network, H-MHSA with other windows ("window_size") or pooled cells ("pool_size"), which own no weights: HAT-Net takes
    windows 8, 8, 8 and cells 16, 8, 4 for dense prediction.

    Args:
        sizes: one for each stage whose H-MHSA has windows, first to last; None for those that it has.

    Raises:
        InputError: the network has no H-MHSA, or another number of such stages; or a size is not allowed.
    """
    if sizes is None:
        return arch
    found = [s for s, stage in enumerate(arch.stages) if any(_has_windows(block.mixer) for block in stage.blocks)]
    if len(sizes) != len(found) or not all(type(size) is int and size > (option == "window_size") for size in sizes):
        raise InputError(
            f"{option}s are {tuple(sizes)}",
            f"a whole number from {1 + (option == 'window_size')} up for each of {len(found)} stages whose H-MHSA has windows",
            f"{option}s=({', '.join(['8'] * len(found))})" if found else "a HAT-Net",
        )
    stages = list(arch.stages)
    for s, size in zip(found, sizes, strict=True):
        blocks = tuple(
            replace(block, mixer=Part.of(block.mixer.name, **(block.mixer.values() | {option: size})))
            if _has_windows(block.mixer)
            else block
            for block in stages[s].blocks
        )
        stages[s] = replace(stages[s], blocks=blocks)
    return replace(arch, stages=tuple(stages))


def _has_windows(mixer: Part) -> bool:
    return mixer.name == "h_mhsa" and mixer.values().get("window_size") != 1

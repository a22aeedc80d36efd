"""Networks whose last maps are larger than usual, as segmentation decoders such as DeepLabV3+ ask for: timm's `output_stride`."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from search_spaces.architecture import Architecture, Part, Stage
from search_spaces.canonical import RESIZED, resized
from search_spaces.errors import InputError
from search_spaces.registry import complete, complete_part
from search_spaces.timm_sizes import reductions
from search_spaces.walking import map_sides


def with_output_stride(arch: Architecture, output_stride: int) -> Architecture:
    """The same network with no map smaller than the image over this stride: later stages keep the size of their map.

    Weights stay what they are. Position tables that were made for a stage's map are made for its new one. Token mixers see larger
    maps, and convolutions are not dilated: unlike a ResNet's, most blocks here have other ways to see far.

    Raises:
        InputError: no such stride, or a stage halves its map in a way that cannot be left out.
    """
    have = reductions(arch)
    if output_stride == have[-1]:
        return arch
    if output_stride not in have:
        raise InputError(
            f"output_stride is {output_stride}",
            f"one of {', '.join(map(str, have))}, the strides of the stages",
            f"output_stride={have[-1]}",
        )
    arch = complete(arch)
    factors = [after // before for before, after in pairwise([1, *have])]
    stages = [
        stage if reduction <= output_stride else replace(stage, embedding=_unstrided(stage.embedding, factor, s))
        for s, (stage, reduction, factor) in enumerate(zip(arch.stages, have, factors, strict=True))
    ]
    moved = replace(arch, stages=tuple(stages))
    sides = zip(map_sides(arch), map_sides(moved), strict=True)
    return replace(moved, stages=tuple(_moved(stage, own) for stage, own in zip(moved.stages, sides, strict=True)))


def _moved(stage: Stage, sides: Sequence[int]) -> Stage:
    """With position tables that were made for its map made for its new one."""
    return stage.mapped(lambda kind, part: resized(kind, part, *sides) if kind in RESIZED else part)


def _unstrided(embedding: Part, factor: int, stage: int) -> Part:
    """The embedding of a stage without its stride."""
    if factor == 1:
        return embedding
    values = embedding.values()
    kernel_size = values.get("kernel_size", 0)
    if "stride" not in values or not isinstance(kernel_size, int) or kernel_size % 2 == 0:
        raise InputError(
            f"stage {stage} has a {embedding.name}, which always makes the map smaller",
            "output_stride for networks that downsample by convolutions with overlap between their stages",
            "a decoder that takes maps at stride 32, such as FPN or UPerNet",
        )
    return complete_part("embedding", Part.of(embedding.name, **(values | {"stride": 1})))

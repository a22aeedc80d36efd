"""The papers' families scaled to a budget at small images, each by its own rule.

    scaled("transxnet", 4e6, 3, 8, 32)      the TransXNet of at most 4 M MACs for eight classes of colour images of 32 x 32 pixels

A family's own rule is the line, in logarithms, from its smallest to its largest published variant: widths grow by exp(a t) and depths by
exp(b t) while t goes from 0 to 1, where exp(a) is the geometric mean over stages of the ratio of their widths, and exp(b) the ratio of the
numbers of blocks. The smallest variant is moved along this line, most often back beyond t = 0, until it meets the budget. Widths are
rounded to multiples of 4, and depths to whole blocks, at least one for each stage. What the rounding leaves of the budget widens the
stages one after another, each by one multiple, as often as it fits. Heads keep their size, so that there are fewer of them.

For small images three rules hold for all families alike. The stem, which divides the side by 4, becomes a convolutional stem that gives
a map of 16 x 16. Windows are no larger than the map. Tables of positions are made for the new maps.
"""

import importlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.canonical import for_resolution
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError, unknown
from search_spaces.layers import split_heads
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.walking import map_sides

FAMILIES = {
    "emsnet": "table 3.1",
    "mat": "table 4.3",
    "partialformer": "table 5.1",
    "hat_net": "table 1",
    "linglo": "section 4",
    "transxnet": "table I",
}
"""The families, and where their papers print the variants that the rule goes through."""

FIXED_RATIO = "transxnet_fixed_ratio"
"""TransXNet without its last stage, whose maps would have 2 x 2 pixels: half of the channels for attention and half for convolution in
every block, in as many stages as small images have maps for."""

FIRST_MAP = 16
"""Side of the map behind the stem."""

STEP, LEAST, MOST = 0.005, -8.0, 1.5
"""Of t along the line of the variants."""

MULTIPLE = 4
"""Widths are multiples of it: splits into quarters stay whole."""

NARROWEST = {"emsnet": 16}
"""Of families whose mixer needs more channels than one multiple: EMS has five branches."""

PASSES, FULL = 4, 0.98
"""How often stages are widened to use what is left of a budget, and the share of it that is enough."""


def scaled(
    family: str,
    limit: float,
    in_channels: int,
    classes: int,
    resolution: int,
    cost: Callable[[Architecture], float] = macs,
) -> Architecture:
    """The largest network of a family's line within a budget.

    Args:
        family: a key of `FAMILIES`, or `FIXED_RATIO`.
        limit: the most that it may cost.
        cost: what the budget limits; it grows along the line, and is asked about ten to thirty times.

    Raises:
        InputError: no such family, or its smallest network costs more.
    """
    line = candidates(family, in_channels, classes, resolution)
    found = bisect_right(line, limit, key=cost) - 1
    if found < 0:
        raise InputError(
            f"no network of family {family} costs at most {limit:,g}",
            f"at least {cost(line[0]):,g}, as its smallest network costs",
            "a larger budget, or a smaller resolution",
        )
    return _filled(line[found], limit, cost)


def _filled(arch: Architecture, limit: float, cost: Callable[[Architecture], float]) -> Architecture:
    """The network with its stages widened by what is left of the budget."""
    spent = cost(arch)
    for _ in range(PASSES):
        before = spent
        for number in range(len(arch.stages)):
            if spent >= FULL * limit:
                return arch
            sizes = [(s.width + MULTIPLE * (n == number), len(s.blocks)) for n, s in enumerate(arch.stages)]
            wider = _sized(arch, sizes)
            price = cost(wider)
            if spent < price <= limit:
                arch, spent = wider, price
        if spent == before:
            break
    return arch


def candidates(family: str, in_channels: int, classes: int, resolution: int) -> list[Architecture]:
    """The different networks of a family's line, by rising t.

    Raises:
        InputError: no such family, or images that the stem cannot bring to the first map.
    """
    names = [*FAMILIES, FIXED_RATIO]
    if family not in names:
        raise unknown("family", family, names, "{}")
    if resolution not in (FIRST_MAP, 2 * FIRST_MAP, 4 * FIRST_MAP):
        raise InputError(
            f"resolution is {resolution}",
            f"{FIRST_MAP}, {2 * FIRST_MAP} or {4 * FIRST_MAP} pixels",
            "data.resolution=32",
        )
    own = "transxnet" if family == FIXED_RATIO else family
    variants = list(importlib.import_module(f"search_spaces.papers.{own}").VARIANTS)
    small, large = (paper_network(variants[end]).arch for end in (0, -1))
    widths = [math.log(s.width / f.width) for f, s in zip(small.stages, large.stages, strict=True)]
    growth = sum(widths) / len(widths), math.log(_blocks(large) / _blocks(small))
    if family == FIXED_RATIO:
        small = replace(small, stages=small.stages[:-1])
    small = _small_images(replace(small, in_channels=in_channels, num_classes=classes), resolution)
    found: dict[tuple[tuple[int, int], ...], Architecture] = {}
    for number in range(round((MOST - LEAST) / STEP) + 1):
        t = LEAST + number * STEP
        sizes = _sizes(small, math.exp(growth[0] * t), math.exp(growth[1] * t), NARROWEST.get(family, MULTIPLE))
        found.setdefault(tuple(sizes), small)
    return [_sized(small, sizes) for sizes in found]


def _blocks(arch: Architecture) -> int:
    return sum(len(stage.blocks) for stage in arch.stages)


def _sizes(arch: Architecture, wider: float, deeper: float, least: int) -> list[tuple[int, int]]:
    """Width and depth of every stage."""
    return [
        (max(least, MULTIPLE * round(stage.width * wider / MULTIPLE)), max(1, round(len(stage.blocks) * deeper)))
        for stage in arch.stages
    ]


def _sized(arch: Architecture, sizes: Sequence[tuple[int, int]]) -> Architecture:
    stages = []
    for stage, (width, depth) in zip(arch.stages, sizes, strict=True):
        sized = replace(stage, width=width, blocks=(stage.blocks[0],) * depth)
        stages.append(replace(sized, position_bias=_bias(sized)))
    return complete(replace(arch, stages=tuple(stages)))


def _bias(stage: Stage) -> Part | None:
    """The stage's bias with a table for each head that its attention has."""
    if stage.position_bias is None:
        return None
    options = stage.blocks[0].mixer.values()
    ratio, head_dim = options["attention_ratio"], options["head_dim"]
    assert isinstance(ratio, float)
    assert isinstance(head_dim, int)
    heads = split_heads(round(stage.width * ratio), head_dim)[0]
    return Part.of(stage.position_bias.name, **(stage.position_bias.values() | {"num_heads": heads}))


def _small_images(arch: Architecture, resolution: int) -> Architecture:
    """The network with a stem, windows and tables for images of this side."""
    stem = Part.of("conv_stem", stride=resolution // FIRST_MAP, norm="batch_norm")
    arch = replace(arch, stages=(replace(arch.stages[0], embedding=stem), *arch.stages[1:]))
    # Published networks leave options out, and tables are resized by what they say.
    arch = for_resolution(complete(arch), resolution)
    stages = []
    for stage, side in zip(arch.stages, map_sides(arch), strict=True):
        stages.append(replace(stage, blocks=tuple(_windowed(block, side) for block in stage.blocks)))
    return replace(arch, stages=tuple(stages))


def _windowed(block: Block, side: int) -> Block:
    """A block whose windows are no larger than its map."""
    size = block.mixer.values().get("window_size")
    if not isinstance(size, int) or size <= side:
        return block
    return replace(block, mixer=Part.of(block.mixer.name, **(block.mixer.values() | {"window_size": side})))

"""MACs of detectors and segmenters on a backbone, as papers print them: the backbone's by module hooks, and those of the usual heads.

The heads are those of the toolboxes that the papers used, with their default settings: RetinaNet and Mask R-CNN with 80 classes of
objects at 800 x 1280, Semantic FPN and UperNet with 150 classes at 512 x 2048. Their layers are standard, so they are counted from
their sizes: a convolution's products, one per output element for a bias and two for a batch norm, as module hooks count. Activations
and resizing, less than a thousandth of the whole, are left out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from search_spaces.architecture import Architecture
from search_spaces.costs.published import macs_of_backbone
from search_spaces.errors import unknown
from search_spaces.layers import ceil_div

Sizes = Sequence[tuple[int, int]]
"""Height and width of the maps at strides 4, 8, 16, 32, 64 and 128."""


class Output(NamedTuple):
    """What one output element of a convolution costs beside its products."""

    bias: int
    norm: int


BIASED = Output(bias=1, norm=0)
NORMED = Output(bias=0, norm=2)


def _conv(size: tuple[int, int], in_dim: int, dim: int, kernel_size: int, output: Output = BIASED) -> int:
    """MACs of a convolution with this output map."""
    return math.prod(size) * dim * (in_dim * kernel_size**2 + output.bias + output.norm)


def _pyramid(sizes: Sizes, widths: Sequence[int], first: int) -> int:
    """A feature pyramid of 256 channels from this stage on: a 1x1 convolution for each stage, and a 3x3 behind it."""
    stages = range(first, len(widths))
    return sum(_conv(sizes[s], widths[s], 256, 1) + _conv(sizes[s], 256, 256, 3) for s in stages)


def _retinanet(sizes: Sizes, widths: Sequence[int]) -> int:
    """Strides 8 to 128; four convolutions each for classes and for boxes, nine anchors, 80 classes."""
    total = _pyramid(sizes, widths, 1) + _conv(sizes[4], widths[3], 256, 3) + _conv(sizes[5], 256, 256, 3)
    for size in sizes[1:6]:
        total += 8 * _conv(size, 256, 256, 3) + _conv(size, 256, 9 * 80, 3) + _conv(size, 256, 9 * 4, 3)
    return total


def _mask_rcnn(sizes: Sizes, widths: Sequence[int]) -> int:
    """Strides 4 to 64 for the proposals, three anchors; 1,000 boxes of 7 x 7, and 100 masks of 28 x 28."""
    total = _pyramid(sizes, widths, 0)
    for size in sizes[:5]:
        total += _conv(size, 256, 256, 3) + _conv(size, 256, 3, 1) + _conv(size, 256, 12, 1)
    box = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (81 + 4 * 80)
    upsampled = 14 * 14 * 256 * 256 * 4 + 28 * 28 * 256  # a transposed convolution, kernel and stride 2
    mask = 4 * _conv((14, 14), 256, 256, 3) + upsampled + _conv((28, 28), 256, 80, 1)
    return total + 1000 * box + 100 * mask


def _semantic_fpn(sizes: Sizes, widths: Sequence[int]) -> int:
    """Each map of the pyramid doubles by convolutions of 128 channels up to stride 4, where all are added up."""
    total = _pyramid(sizes, widths, 0) + _conv(sizes[0], 128, 150, 1)
    for s in range(4):
        steps = (
            range(s, 0, -1) if s else range(1)
        )  # the map that a convolution runs on; at stride 4 one runs all the same
        total += sum(_conv(sizes[at], 256 if at == s else 128, 128, 3, NORMED) for at in steps)
    return total


def _upernet(sizes: Sizes, widths: Sequence[int]) -> int:
    """Pyramid pooling over 1, 2, 3 and 6 cells and a pyramid of 512 channels; the auxiliary head is on stride 16, with 256."""
    pooled = sum(_conv((cells, cells), widths[3], 512, 1, NORMED) for cells in (1, 2, 3, 6))
    total = pooled + _conv(sizes[3], widths[3] + 4 * 512, 512, 3, NORMED)
    for s in range(3):
        total += _conv(sizes[s], widths[s], 512, 1, NORMED) + _conv(sizes[s], 512, 512, 3, NORMED)
    total += _conv(sizes[0], 4 * 512, 512, 3, NORMED) + _conv(sizes[0], 512, 150, 1)
    return total + _conv(sizes[2], widths[2], 256, 3, NORMED) + _conv(sizes[2], 256, 150, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseTask:
    """A head on a backbone's maps at strides 4 to 32.

    Args:
        title: as papers write it.
        size: height and width of the image that its MACs are printed for.
        head: (sizes of the maps, widths of the stages) -> MACs of all that is not the backbone.
    """

    title: str
    size: tuple[int, int]
    head: Callable[[Sizes, Sequence[int]], int]


TASKS = {
    "retinanet": DenseTask(title="RetinaNet", size=(800, 1280), head=_retinanet),
    "mask_rcnn": DenseTask(title="Mask R-CNN", size=(800, 1280), head=_mask_rcnn),
    "semantic_fpn": DenseTask(title="Semantic FPN", size=(512, 2048), head=_semantic_fpn),
    "upernet": DenseTask(title="UperNet", size=(512, 2048), head=_upernet),
}


def head_macs(task: str, widths: Sequence[int]) -> int:
    """MACs of a task's head on a backbone of four stages with these widths.

    Raises:
        InputError: no such task.
    """
    if task not in TASKS:
        raise unknown("task", task, list(TASKS), "{}")
    height, width = TASKS[task].size
    strides = [4 << level for level in range(6)]
    return TASKS[task].head([(ceil_div(height, stride), ceil_div(width, stride)) for stride in strides], widths)


def dense_macs(arch: Architecture, task: str) -> int:
    """MACs of a task's network on this backbone, as module hooks count them.

    Args:
        arch: a network with maps at strides 4, 8, 16 and 32.
        task: a name in `TASKS`.

    Raises:
        InputError: no such task.
    """
    head = head_macs(task, [stage.width for stage in arch.stages])
    return head + macs_of_backbone(arch, "module_hooks", *TASKS[task].size)

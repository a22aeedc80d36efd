"""Parameters and MACs of a task's network on a backbone, as papers print them.

MACs are counted as module hooks count them (`search_spaces.costs.published`): the backbone by that rule, the head by hooks on its modules.
Attention's products and whatever else is no module of its own are left out on both sides.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from nas.downstream.heads import HEADS
from search_spaces.architecture import Architecture
from search_spaces.costs.operators import meta
from search_spaces.costs.published import macs_of_backbone
from search_spaces.errors import InputError, unknown
from search_spaces.layers import ceil_div
from search_spaces.network import Network
from search_spaces.registry import SkipInit, complete


@dataclass(frozen=True)
class Task:
    """A head, and the image that its MACs are printed for.

    Args:
        title: as papers write it.
        size: height and width in pixels.
    """

    title: str
    size: tuple[int, int]


TASKS = {
    "retinanet": Task("RetinaNet", (800, 1280)),
    "mask_rcnn": Task("Mask R-CNN", (800, 1280)),
    "ssdlite": Task("SSDLite", (320, 320)),
    "semantic_fpn": Task("Semantic FPN", (512, 2048)),
    "upernet": Task("UperNet", (512, 2048)),
    "simple_baseline": Task("SimpleBaseline", (256, 192)),
}
"""By name, with the size that most papers print MACs for."""

STRIDES = (4, 8, 16, 32)

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, nn.AdaptiveAvgPool2d)
"""What hooks on modules see of a head."""


def check_task(name: str) -> Task:
    """
    Raises:
        InputError: no such task.
    """
    if name not in TASKS:
        raise unknown("task", name, list(TASKS), "{}")
    return TASKS[name]


@lru_cache(maxsize=256)
def _head(task: str, widths: tuple[int, ...]) -> nn.Module:
    check_task(task)
    with torch.device("meta"):
        return HEADS[task](widths).eval()


def head_params(task: str, widths: Sequence[int]) -> int:
    """Parameters of a head on maps of these widths.

    Raises:
        InputError: no such task.
    """
    return sum(parameter.numel() for parameter in _head(task, tuple(widths)).parameters())


@lru_cache(maxsize=256)
def _head_macs(task: str, widths: tuple[int, ...], size: tuple[int, int]) -> int:
    head, total = _head(task, widths), 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        total += _macs(module, inputs[0], output)

    hooks = [module.register_forward_hook(count) for module in head.modules() if isinstance(module, LAYERS)]
    try:
        with torch.no_grad():
            head(
                [
                    meta(1, width, *(ceil_div(side, stride) for side in size))
                    for width, stride in zip(widths, STRIDES, strict=True)
                ]
            )
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _macs(module: nn.Module, x: Tensor, output: Tensor) -> int:
    """Of one layer: products, one for each biased output of a convolution, two for each output of a norm, one for each pooled value."""
    if isinstance(module, nn.BatchNorm2d):
        return 2 * output.numel()
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return x.numel()
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        raise TypeError(f"{type(module).__name__} has no count")
    # A transposed convolution multiplies each input by its kernel, another one makes each output from a window of inputs.
    places = x if isinstance(module, nn.ConvTranspose2d) else output
    products = places[:, 0].numel() * math.prod(module.weight.shape)
    return products + (output.numel() if module.bias is not None else 0)


def head_macs(task: str, widths: Sequence[int], size: tuple[int, int] | None = None) -> int:
    """MACs of a head on maps of these widths.

    Args:
        size: height and width of the image; None takes that of the task.

    Raises:
        InputError: no such task.
    """
    return _head_macs(task, tuple(widths), size or check_task(task).size)


def _widths(arch: Architecture) -> tuple[int, ...]:
    """
    Raises:
        InputError: it has no four stages.
    """
    if len(arch.stages) != len(STRIDES):
        raise InputError(
            f"the backbone has {len(arch.stages)} stages",
            "four, with maps at strides 4, 8, 16 and 32",
            "transxnet_tiny",
        )
    return tuple(stage.width for stage in arch.stages)


@lru_cache(maxsize=64)
def backbone_params(arch: Architecture) -> int:
    """Parameters of a network without its head."""
    with torch.device("meta"), SkipInit():
        network = Network(complete(arch))
    return sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in network.head.parameters())


def dense_params(arch: Architecture, task: str) -> int:
    """Parameters of a task's network on this backbone.

    Raises:
        InputError: no such task, or the backbone does not have four stages.
    """
    return backbone_params(arch) + head_params(task, _widths(arch))


def dense_macs(arch: Architecture, task: str, size: tuple[int, int] | None = None) -> int:
    """MACs of a task's network on this backbone, as module hooks count them.

    Args:
        arch: a network with maps at strides 4, 8, 16 and 32.
        size: height and width of the image; None takes that of the task.

    Raises:
        InputError: no such task, or the backbone does not have four stages.
    """
    size = size or check_task(task).size
    return head_macs(task, _widths(arch), size) + macs_of_backbone(arch, "module_hooks", *size)

"""MACs as published: by the rules of the counters that papers used, so that their figures can be compared with ours."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.costs.operators import Counter, meta
from search_spaces.network import Network
from search_spaces.registry import SkipInit, complete

# What counters by module hooks see (mmcv's and its relatives'): convolutions and linear layers with weights of their own, with one
# for each biased output of a convolution; affine norms 2 and pooling 1 per element; nothing of attention's products, of
# convolutions with computed kernels, or of anything else that is no module. Published FLOPs of HAT-Net and TransXNet are such, and
# those of detectors and segmenters (`nas dense`).


def _hooked_conv2d(
    result: Tensor, macs: int, input: Tensor, weight: Tensor, bias: Any = None, *args: Any, **kw: Any
) -> int:
    return 0 if _is_computed(weight) else macs + (0 if bias is None else result.numel())


def _hooked_linear(result: Tensor, macs: int, input: Tensor, weight: Tensor, *args: Any, **kw: Any) -> int:
    return 0 if _is_computed(weight) else macs


def _hooked_product(result: Tensor, macs: int, input: Tensor, other: Tensor) -> int:
    """A product with a weight is a linear layer, written in another way (HeadMLP of partial attention)."""
    return 0 if _is_computed(input) and _is_computed(other) else macs


def _hooked_norm(result: Tensor, macs: int, *args: Any, **kwargs: Any) -> int:
    return 2 * result.numel()


def _hooked_pool(result: Tensor, macs: int, input: Tensor, *args: Any, **kwargs: Any) -> int:
    return input.numel()


RULES: dict[str, dict[Any, Callable[..., int]] | None] = {
    "ours": None,
    "module_hooks": {
        F.conv2d: _hooked_conv2d,
        F.linear: _hooked_linear,
        **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _hooked_product),
        F.batch_norm: _hooked_norm,
        F.layer_norm: _hooked_norm,
        F.group_norm: _hooked_norm,
        F.adaptive_avg_pool2d: _hooked_pool,
        F.avg_pool2d: _hooked_pool,
    },
}
"""Ways of counting MACs, each a table of (result, our MACs, arguments) -> MACs, other operators nothing; ours needs no table."""


def _is_computed(tensor: Any) -> bool:
    return getattr(tensor, "_is_computed", False)


class RuleCounter(Counter):
    """Counts as another counter does. It follows what is computed from the input, for weights that are."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.table = RULES[rule]

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        before = self.macs
        result = self.answer(func, args, kwargs)
        found, self.macs = self.macs - before, before
        if self.table is None:
            self.macs += found
        elif func in self.table:
            self.macs += self.table[func](result, found, *args, **kwargs)
        inputs = [item for a in args for item in (a if isinstance(a, list | tuple) else (a,))]
        if any(map(_is_computed, inputs)):
            for item in result if isinstance(result, list | tuple) else (result,):
                if isinstance(item, Tensor):
                    item._is_computed = True  # type: ignore[attr-defined]
        return result


def macs_by_rule(arch: Architecture, rule: str) -> int:
    """MACs of an architecture at its resolution as one of `RULES` counts them, in one forward pass of the whole.

    Raises:
        InputError: an unknown part or option, or sizes that do not fit.
    """
    return _count(_network(arch), rule, arch.in_channels, arch.resolution, arch.resolution)


@lru_cache(maxsize=64)
def macs_of_backbone(arch: Architecture, rule: str, height: int, width: int) -> int:
    """The same without the head, for an image of any size. Remembered, as tasks share sizes.

    Raises:
        InputError: an unknown part or option, or sizes that do not fit.
    """
    network = _network(arch)
    network.head = _MeanOfMap()
    return _count(network, rule, arch.in_channels, height, width)


class _MeanOfMap(torch.nn.Module):
    """Stands where a head was: nothing in it is counted."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c"]:
        return x.mean(dim=(2, 3))


def _network(arch: Architecture) -> Network:
    with torch.device("meta"), SkipInit():
        return Network(complete(arch)).eval()


def _count(network: Network, rule: str, channels: int, height: int, width: int) -> int:
    x = meta(1, channels, height, width)
    x._is_computed = True  # type: ignore[attr-defined]
    with torch.no_grad(), RuleCounter(rule) as counter:
        network(x)
    return counter.macs

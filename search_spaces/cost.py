"""What a network costs: parameters and MACs, counted on the real network on the meta device, remembered per piece.

One MAC is one fused multiply-add, which the papers call a FLOP. The conventions are fvcore's: convolutions, linear layers and
matrix products count their multiply-adds without biases; batch norm 2 per element (evaluation), layer and group norm 5, each one
less without weights; adaptive average pooling 1 per input element, bilinear sampling 4 per output element (nearest 1, bicubic nothing); activations, softmax, additions, elementwise products and data movement nothing. Unlike
fvcore, fused attention counts its two products, and an operator that nobody has classified is an error, not zero.

The counter is a torch function mode: it sees each call as the part's code writes it, adds its MACs, and answers operators
that it knows with an empty meta tensor of the right shape, which is many times faster than tracing.
"""

import copy
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from search_spaces.architecture import SLOTS, Architecture, Block, Part
from search_spaces.network import Network, PieceSpec, children, pieces
from search_spaces.registry import SkipInit, TokenMixer, complete, make


class UnknownOperatorError(NotImplementedError):
    """An operator that is neither in `COUNTED` nor in `FREE`.

    Args:
        operator: as torch names it.
        name: as `FREE` would.
    """

    def __init__(self, operator: str, name: str) -> None:
        self.operator, self.name = operator, name
        super().__init__(
            f"the cost of the operator {operator} is not known: add it to COUNTED or FREE in search_spaces/cost.py"
        )


class Cost(NamedTuple):
    """Parameters and MACs of a network for one image."""

    params: int
    macs: int


class PieceCost(NamedTuple):
    """Cost of one piece and the size of its output map (0, 0 behind the head)."""

    params: int
    macs: int
    height: int
    width: int


def _meta(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


# Counted operators: each returns (result, MACs). The signatures are torch's own.


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Tensor, int]:
    b, _, h, w = input.shape
    out, per_group, kh, kw = weight.shape
    (sh, sw), (ph, pw), (dh, dw) = _pair(stride), _pair(padding), _pair(dilation)
    oh, ow = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    if per_group * groups != input.shape[1] or out % groups or min(oh, ow) < 1:
        return F.conv2d(input, weight, bias, stride, padding, dilation, groups), 0  # torch's own error message
    return _meta(b, out, oh, ow), b * out * oh * ow * per_group * kh * kw


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> tuple[Tensor, int]:
    result = F.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return result, input.shape[0] * weight.numel() * input.shape[2] * input.shape[3]


def _grid_sample(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    result = F.grid_sample(input, *args, **kwargs)
    return result, 4 * result.numel()


def _interpolate(input: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    result = F.interpolate(input, *args, **kwargs)
    return result, {"nearest": 1, "bilinear": 4}.get(kwargs.get("mode", "nearest"), 0) * result.numel()


def _linear(input: Tensor, weight: Tensor, bias: Any = None) -> tuple[Tensor, int]:
    return _meta(*input.shape[:-1], weight.shape[0]), input.numel() * weight.shape[0]


def _matmul(input: Tensor, other: Tensor) -> tuple[Tensor, int]:
    result = torch.matmul(input, other)
    return result, result.numel() * input.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    products = query.shape[-2] * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    return _meta(*query.shape[:-1], value.shape[-1]), math.prod(query.shape[:-2]) * products


def _batch_norm(
    input: Tensor, mean: Any, var: Any, weight: Any = None, *args: Any, **kwargs: Any
) -> tuple[Tensor, int]:
    return input, (1 if weight is None else 2) * input.numel()


def _norm(input: Tensor, shape_or_groups: Any, weight: Any = None, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    return input, (4 if weight is None else 5) * input.numel()


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> tuple[Tensor, int]:
    return _meta(*input.shape[:-2], *_pair(output_size)), input.numel()


COUNTED: dict[Any, Callable[..., tuple[Any, int]]] = {
    F.conv2d: _conv2d,
    F.conv_transpose2d: _conv_transpose2d,
    F.grid_sample: _grid_sample,
    F.interpolate: _interpolate,
    F.linear: _linear,
    torch.matmul: _matmul, torch.bmm: _matmul, Tensor.matmul: _matmul, Tensor.__matmul__: _matmul, Tensor.bmm: _matmul,
    F.scaled_dot_product_attention: _attention,
    F.batch_norm: _batch_norm,
    F.layer_norm: _norm,
    F.group_norm: _norm,
    F.adaptive_avg_pool2d: _adaptive_avg_pool2d,
}  # fmt: skip
"""Operators with MACs. A part with an operator of its own adds it here, and an fvcore handler in the tests."""

# What counters by module hooks see (mmcv's and its relatives'): convolutions and linear layers with weights of their own, with one
# for each biased output of a convolution; affine norms 2 and pooling 1 per element; nothing of attention's products, of
# convolutions with computed kernels, or of anything else that is no module. Published FLOPs of HAT-Net and TransXNet are such.


def _hooked_conv2d(
    result: Tensor, macs: int, input: Tensor, weight: Tensor, bias: Any = None, *args: Any, **kw: Any
) -> int:
    return 0 if _is_computed(weight) else macs + (0 if bias is None else result.numel())


def _hooked_linear(result: Tensor, macs: int, input: Tensor, weight: Tensor, *args: Any, **kw: Any) -> int:
    return 0 if _is_computed(weight) else macs


def _hooked_norm(result: Tensor, macs: int, *args: Any, **kwargs: Any) -> int:
    return 2 * result.numel()


def _hooked_pool(result: Tensor, macs: int, input: Tensor, *args: Any, **kwargs: Any) -> int:
    return input.numel()


RULES: dict[str, dict[Any, Callable[..., int]] | None] = {
    "ours": None,
    "module_hooks": {
        F.conv2d: _hooked_conv2d,
        F.linear: _hooked_linear,
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


_SAME = {F.gelu, F.relu, F.silu, F.softmax, F.dropout, Tensor.softmax, torch.softmax, Tensor.contiguous, Tensor.float}
"""Operators without MACs whose result has the shape of their first argument."""

FREE = {
    "add", "sub", "mul", "div", "rdiv", "rsub", "neg", "pow", "sqrt", "exp", "sigmoid", "tanh", "clamp", "cat", "stack", "split",
    "chunk", "narrow", "reshape", "view", "flatten", "unflatten", "permute", "transpose", "expand", "contiguous", "to", "type_as",
    "getitem", "squeeze", "unsqueeze", "movedim", "mean", "sum", "amax", "amin", "argsort", "sort", "topk", "gather", "scatter",
    "index_select", "empty_like", "zeros_like", "ones_like", "new_empty", "new_zeros", "new_ones", "masked_fill", "where", "pad",
    "size", "dim", "numel", "is_contiguous", "roll", "repeat", "flip", "max_pool2d", "avg_pool2d", "unfold", "fold", "empty",
    "zeros", "ones", "arange", "log_softmax", "one_hot", "float", "half", "bfloat16", "double", "detach", "clone", "stride",
    "softmax", "gelu", "relu", "silu", "dropout", "ne", "eq", "lt", "gt", "le", "ge", "normalize", "T", "get",
    "is_floating_point", "is_complex", "max", "min", "device", "dtype", "shape", "ndim", "requires_grad", "is_cuda", "len",
    "promote_types", "index_put", "setitem", "unbind", "broadcast_to", "swapaxes", "masked_select", "zero", "fill", "tile",
    "sym_min", "sym_max",
}  # fmt: skip
"""Operators without MACs, by name; they run on the meta device for their shapes."""


class Counter(TorchFunctionMode):
    """Adds up the MACs of what runs inside it, on meta tensors, in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.answer(func, args, kwargs or {})

    def answer(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Runs an operator, or makes up its result, and counts it."""
        counted = COUNTED.get(func)
        if counted is not None:
            result, macs = counted(*args, **kwargs)
            self.macs += macs
            return result
        if func in _SAME:
            return args[0] if args else kwargs["input"]
        name = (
            getattr(func, "__name__", "").strip("_").removeprefix("i" if "__i" in getattr(func, "__name__", "") else "")
        )
        if name not in FREE:
            raise UnknownOperatorError(resolve_name(func) or name, name)
        return func(*args, **kwargs)


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
    with torch.device("meta"), SkipInit():
        network = Network(complete(arch)).eval()
    x = _meta(1, arch.in_channels, arch.resolution, arch.resolution)
    x._is_computed = True  # type: ignore[attr-defined]
    with torch.no_grad(), RuleCounter(rule) as counter:
        network(x)
    return counter.macs


@lru_cache(maxsize=100_000)
def piece_cost(spec: PieceSpec, height: int, width: int) -> PieceCost:
    """Cost of one piece on a map of `height` x `width`: the sum over its parts, remembered.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
    """
    kind, what, dim, dim2 = spec
    if kind == "position_bias":
        found = part_cost(kind, cast(Part, what), (), height, width)
        return PieceCost(found.params, found.macs, height, width)
    if not isinstance(what, Block):
        return part_cost(kind, what, (dim, dim2), height, width)
    params = macs = 0
    for slot, part in zip(SLOTS, what.parts(), strict=True):
        times = len(children(what)[slot])
        if not times:
            continue
        found = part_cost(slot, part, (dim,), height, width)
        params += times * found.params
        macs += times * found.macs
    return PieceCost(params, macs, height, width)


@lru_cache(maxsize=100_000)
def part_cost(kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> PieceCost:
    """Cost of one part, counted on the meta device the first time it is asked for.

    Args:
        dims: as for `registry.make`; the first, if any, is the number of input channels.

    Raises:
        NotImplementedError: the part has an operator whose cost is not known.
    """
    with torch.device("meta"), SkipInit():
        module = make(kind, part, *dims).eval()
    inputs = 2 if isinstance(module, TokenMixer) and module.needs_residual else 1
    return _count(module, inputs, dims[0] if dims else 1, height, width)


def _count(module: nn.Module, inputs: int, channels: int, height: int, width: int) -> PieceCost:
    with torch.no_grad(), Counter() as counter:
        y = module(*(_meta(1, channels, height, width) for _ in range(inputs)))
    shape = tuple(y.shape)
    params = sum(p.numel() for p in module.parameters())
    return PieceCost(params, counter.macs, *(shape[2:] if len(shape) == 4 else (0, 0)))


def cost(arch: Architecture) -> Cost:
    """Parameters and MACs of an architecture at its resolution, for one image.

    Raises:
        NotImplementedError: a part has an operator whose cost is not known.
        InputError: an unknown part or option, or sizes that do not fit.
    """
    params = macs = 0
    height = width = arch.resolution
    for _, spec in pieces(arch):
        piece = piece_cost(spec, height, width)
        params += piece[0]
        macs += piece[1]
        height, width = piece[2], piece[3]
    return Cost(params, macs)


def macs(arch: Architecture) -> int:
    """MACs of an architecture at its resolution, for one image; what a budget bounds."""
    return cost(arch).macs


def count(network: Network, resolution: int) -> Cost:
    """The same, counted anew on a network that exists, in one forward pass of the whole; slow, for checks."""
    meta = copy.deepcopy(network).to("meta").eval()
    result = _count(meta, 1, network.arch.in_channels, resolution, resolution)
    return Cost(result.params, result.macs)

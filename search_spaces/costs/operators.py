"""Which operators of torch have multiply-adds, which have none, and the counter that adds them up.

One MAC is one fused multiply-add, which the papers call a FLOP. The conventions are fvcore's: convolutions, linear layers and
matrix products count their multiply-adds without biases; batch norm 2 per element (evaluation), layer and group norm 5, each one
less without weights; adaptive average pooling 1 per input element, bilinear sampling 4 per output element (nearest 1, bicubic nothing); activations, softmax, additions, elementwise products and data movement nothing. Unlike
fvcore, fused attention counts its two products.

An operator that is classified nowhere here is looked for in three places: a part says what its own operators cost
(`PartModule.operators`); else torch's FLOP counter counts the operators that it consists of (two FLOPs are one MAC); and what neither
knows is an error, not zero.

The counter is a torch function mode: it sees each call as the part's code writes it, adds its MACs, and answers operators
that it knows with an empty meta tensor of the right shape, which is many times faster than tracing.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from search_spaces.registry import PartModule


class UnknownOperatorError(NotImplementedError):
    """An operator whose cost neither this module, nor the part that uses it, nor torch's FLOP counter knows.

    Args:
        operator: as torch names it.
        name: as a part's `operators` calls it.
        within: the operator of torch's dispatcher that is not known, where `operator` consists of several.
    """

    def __init__(self, operator: str, name: str, within: str = "") -> None:
        self.operator, self.name, self.within = operator, name, within
        inside = f" (for {within} in it)" if within else ""
        super().__init__(
            f"the cost of the operator {operator} is not known{inside}: the part says it by operators = {{{name!r}: ...}}"
        )

    def __reduce__(self) -> tuple[type["UnknownOperatorError"], tuple[str, str, str]]:
        return type(self), (self.operator, self.name, self.within)


def meta(*shape: int) -> Tensor:
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
    return meta(b, out, oh, ow), b * out * oh * ow * per_group * kh * kw


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
    return meta(*input.shape[:-1], weight.shape[0]), input.numel() * weight.shape[0]


def _matmul(input: Tensor, other: Tensor) -> tuple[Tensor, int]:
    result = torch.matmul(input, other)
    return result, result.numel() * input.shape[-1]


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    products = query.shape[-2] * key.shape[-2] * (query.shape[-1] + value.shape[-1])
    return meta(*query.shape[:-1], value.shape[-1]), math.prod(query.shape[:-2]) * products


def _batch_norm(
    input: Tensor, mean: Any, var: Any, weight: Any = None, *args: Any, **kwargs: Any
) -> tuple[Tensor, int]:
    return input, (1 if weight is None else 2) * input.numel()


def _norm(input: Tensor, shape_or_groups: Any, weight: Any = None, *args: Any, **kwargs: Any) -> tuple[Tensor, int]:
    return input, (4 if weight is None else 5) * input.numel()


def _adaptive_avg_pool2d(input: Tensor, output_size: Any) -> tuple[Tensor, int]:
    return meta(*input.shape[:-2], *_pair(output_size)), input.numel()


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
"""Operators with MACs."""

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
    "sym_min", "sym_max", "assert", "expand_as", "abs", "celu", "elu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log",
    "logsigmoid", "mish", "prelu", "relu6", "rsqrt", "selu", "softplus", "square",
}  # fmt: skip
"""Operators without MACs, by name; they run on the meta device for their shapes."""


def short_name(func: Any) -> str:
    """The name of an operator as `FREE` has it: without underscores, and of an in-place operator that of the other."""
    name = getattr(func, "__name__", "")
    return name.strip("_").removeprefix("i" if "__i" in name else "")


def is_free(func: Any) -> bool:
    """Whether an operator is known to have no MACs."""
    return func in _SAME or short_name(func) in FREE


_INNER_FREE = {
    "all", "any", "alias", "as_strided", "bitwise_and", "bitwise_not", "bitwise_or", "constant_pad_nd", "copy", "diagonal",
    "embedding", "erf", "full", "full_like", "index", "lift_fresh", "log2", "logical_and", "logical_not", "max_pool2d_with_indices",
    "maximum", "minimum", "native_dropout", "pixel_shuffle", "pixel_unshuffle", "reciprocal", "reflection_pad2d", "replication_pad2d",
    "reshape_alias", "round", "prelu_kernel", "safe_softmax", "scalar_tensor", "scatter_add", "select", "sign", "slice", "std", "t", "to_copy",
    "tril", "triu", "unsafe_index", "unsafe_view", "var", "var_mean",
}  # fmt: skip
"""Operators without MACs that stand inside others, by the names of torch's dispatcher."""


class _Classified(TorchDispatchMode):
    """Lets through the operators of torch's dispatcher that its FLOP counter counts, and those that are known to have no MACs.

    Args:
        operators: what a part says of its own operators.
    """

    def __init__(self, operators: "Operators") -> None:
        super().__init__()
        self.operators, self.macs = operators, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        packet = getattr(func, "overloadpacket", func)
        name = short_name(packet)
        result = func(*args, **(kwargs or {}))
        if packet in flop_registry:
            return result  # which its counter has counted
        if name in self.operators:
            self.macs += self.operators[name](result, *args, **(kwargs or {}))
        elif name not in FREE and name not in _INNER_FREE:
            raise UnknownOperatorError(str(packet), name)
        return result


Operators = Mapping[str, Callable[..., int]]
"""MACs of operators by their short names: of the result of a call and its arguments."""


def operators_of(module: nn.Module) -> Operators:
    """What the parts in a module say of their own operators.

    Raises:
        TypeError: two parts say different things of one operator.
    """
    found: dict[str, Callable[..., int]] = {}
    for part in module.modules():
        for name, macs in part.operators.items() if isinstance(part, PartModule) else ():
            if found.setdefault(name, macs) is not macs:
                raise TypeError(f"two parts say what the operator {name} costs: let one function say it for both")
    return found


class Counter(TorchFunctionMode):
    """Adds up the MACs of what runs inside it, on meta tensors, in evaluation mode.

    Args:
        operators: what the parts that run say of their own operators (`operators_of`); it goes before all else.
    """

    def __init__(self, operators: Operators | None = None) -> None:
        super().__init__()
        self.macs, self.operators = 0, operators or {}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return self.answer(func, args, kwargs or {})

    def answer(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Runs an operator, or makes up its result, and counts it."""
        if self.operators and (own := self.operators.get(short_name(func))) is not None:
            result = func(*args, **kwargs)
            self.macs += own(result, *args, **kwargs)
            return result
        counted = COUNTED.get(func)
        if counted is not None:
            try:
                result, macs = counted(*args, **kwargs)
            except (TypeError, ValueError):  # a form of the operator that no part of ours uses, such as padding="same"
                return self._by_torch(func, args, kwargs)
            self.macs += macs
            return result
        if func in _SAME:
            return args[0] if args else kwargs["input"]
        if is_free(func):
            return func(*args, **kwargs)
        return self._by_torch(func, args, kwargs)

    def _by_torch(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Runs an operator, and counts those of torch's dispatcher that it consists of.

        Raises:
            UnknownOperatorError: torch's counter does not count one of them, and it is not known to be free.
        """
        name = short_name(func)
        classified = _Classified(self.operators)
        try:
            # The inner mode sees an operator first, and takes apart what consists of others.
            with classified, FlopCounterMode(display=False) as flops:
                result = func(*args, **kwargs)
        except UnknownOperatorError as error:
            within = error.operator if error.name != name else ""
            raise UnknownOperatorError(resolve_name(func) or name, name, within) from None
        self.macs += flops.get_total_flops() // 2 + classified.macs
        return result

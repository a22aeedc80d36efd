"""Operators that the ONNX exporter lacks, or gets wrong without a word, in terms of ONNX.

Each translation gets the arguments of an operator, values of the graph in place of tensors and open sizes, and gives its result. They are
for whatever a part of this project or of a plugin may do with open sizes, and change nothing where all sizes are fixed but a stable sort.
"""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch


def translations(open_sides: bool) -> dict[Callable[..., object], Callable[..., object]]:
    """What torch.onnx.export is given.

    Args:
        open_sides: whether the program leaves height and width open.
    """
    pooling = {torch.ops.aten.adaptive_avg_pool2d.default: _adaptive_pooling} if open_sides else {}
    return pooling | {
        torch.ops.aten.sort.stable: _sort,
        torch.ops.aten.conv2d.default: _convolution,
        operator.mul: _product,
        round: _rounded,
    }


def _operators() -> Any:
    """ONNX's operators, whose stubs do not know the values that the exporter hands on."""
    import onnxscript

    return onnxscript.opset20


def _sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    # TopK puts the lower index first where values are equal, as a stable sort does.
    op = _operators()
    length = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, length, axis=dim, largest=int(descending), sorted=1)


def _adaptive_pooling(images: Any, output_size: Sequence[int]) -> Any:
    """Means of a grid of cells of any map. The exporter would take the cells of the example for those of every map.

    A cell reaches from the rounded-down to the rounded-up share of a side, so cells overlap; a matrix for each side has their weights.
    """
    op = _operators()
    high, wide = (
        _cells(op.Gather(op.Shape(images), op.Constant(value_int=axis)), cells)
        for axis, cells in zip((2, 3), output_size, strict=True)
    )
    return op.MatMul(high, op.MatMul(images, op.Transpose(wide, perm=[1, 0])))


def _cells(side: Any, cells: int) -> Any:
    """The weight of each of `side` pixels in the mean of each cell, (cells, side)."""
    import onnx

    op = _operators()

    def whole(value: int) -> Any:
        return op.Constant(value_int=value)

    number = op.Constant(value=onnx.helper.make_tensor("cells", onnx.TensorProto.INT64, [cells, 1], range(cells)))
    begin = op.Div(op.Mul(number, side), whole(cells))
    end = op.Div(op.Add(op.Mul(op.Add(number, whole(1)), side), whole(cells - 1)), whole(cells))
    pixel = op.Range(whole(0), side, whole(1))
    inside = op.And(op.GreaterOrEqual(pixel, begin), op.Less(pixel, end))
    return op.Div(op.Cast(inside, to=onnx.TensorProto.FLOAT), op.Cast(op.Sub(end, begin), to=onnx.TensorProto.FLOAT))


def _product(self: Any, other: Any) -> Any:
    """A product of sizes. The exporter would round a factor such as 0.3 to a whole number, as the size is one, and say nothing."""
    import onnx

    op = _operators()
    factor = self if isinstance(self, float) else other
    if not isinstance(factor, float):
        return op.Mul(self, other)
    size = other if factor is self else self
    number = onnx.helper.make_tensor("factor", onnx.TensorProto.DOUBLE, [], [factor])
    exact = op.Mul(op.Cast(size, to=onnx.TensorProto.DOUBLE), op.Constant(value=number))
    return op.Cast(exact, to=onnx.TensorProto.FLOAT)  # which the exporter takes every number with a fraction for


def _rounded(number: Any, ndigits: None = None) -> Any:
    """The whole number next to a size with a fraction, of two equally near ones the even one, as Python has it. It is rounded as Python
    computes it, in float64.
    """
    import onnx

    op, cast = _operators(), number.producer()
    exact = cast.inputs[0] if cast is not None and cast.op_type == "Cast" else number
    return op.Cast(op.Round(exact), to=onnx.TensorProto.INT64)


def _convolution(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    groups: Any = 1,
) -> Any:
    """A convolution. The number of groups may be open, as that of IDConv is, which has a group per channel and image.

    ONNX wants that number fixed. So the groups are cut into pieces of a fixed number of them, one per image, and a loop over the pieces
    has one ordinary convolution in its body.
    """
    from onnxscript.function_libs.torch_lib.ops.core import aten_conv2d

    if isinstance(groups, int):
        return aten_conv2d(input, weight, bias, stride, padding, dilation, groups)
    op, each = _operators(), _known_factor(weight.shape[0])
    kernel = [int(side) for side in weight.shape[2:]]
    attributes = {"strides": [*stride], "pads": [*padding] * 2, "dilations": [*dilation], "kernel_shape": kernel}
    given = [
        op.Reshape(input, op.Constant(value_ints=[-1, each, 0, 0])),
        op.Reshape(weight, op.Constant(value_ints=[-1, each, 1, *kernel])),
    ]
    if bias is not None:
        given.append(op.Reshape(bias, op.Constant(value_ints=[-1, each])))
    body = _convolution_of_a_piece(each, kernel, bias is not None, input.dtype, attributes)
    pieces = op.Scan(*given, body=body, num_scan_inputs=len(given))
    pieces = pieces[0] if isinstance(pieces, Sequence) else pieces
    return op.Reshape(pieces, op.Constant(value_ints=[1, -1, 0, 0]))


def _known_factor(size: Any) -> int:
    """A number that divides an open size whatever its symbols are, such as 24 of 24*s77.

    Raises:
        ValueError: the size is no product, such as s77 + 1.
    """
    text = str(getattr(size, "value", size))
    found = re.fullmatch(r"(\d+)\*\w+|\w+\*(\d+)|[a-z]\w*", text)
    if found is None:
        raise ValueError(f"a convolution with {text} groups")
    return int(found[1] or found[2] or 1)


def _convolution_of_a_piece(
    channels: int, kernel: Sequence[int], has_bias: bool, dtype: Any, attributes: dict[str, Any]
) -> Any:
    """The graph of a depthwise convolution of one map (c, h, w) with one kernel per channel."""
    from onnx import TensorProto, helper

    number = int(dtype) if dtype is not None else TensorProto.FLOAT
    shapes: dict[str, list[int | None]] = {"map": [channels, None, None], "kernels": [channels, 1, *kernel]}
    if has_bias:
        shapes["biases"] = [channels]
    inputs = [helper.make_tensor_value_info(name, number, shape) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Unsqueeze", ["map", "first"], ["image"]),
        helper.make_node("Conv", ["image", *list(shapes)[1:]], ["mixed"], group=channels, **attributes),
        helper.make_node("Squeeze", ["mixed", "first"], ["result"]),
    ]
    output = helper.make_tensor_value_info("result", number, [channels, None, None])
    first = helper.make_tensor("first", TensorProto.INT64, [1], [0])
    return helper.make_graph(nodes, "convolution_of_one_image", inputs, [output], [first])

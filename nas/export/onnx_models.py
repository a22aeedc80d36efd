"""The ONNX model of a module or a program, by torch.onnx.export (the exporter of torch.export).

    model = onnx_model(program, opset=20, input_names=["images"])
    model.SerializeToString()

The runtime onnx times what is made here, and the format onnx writes it. The exporter lacks two operators of the project's parts; their
translations are below.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas.export.programs import quiet
from search_spaces.errors import InputError

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
"""What making and running an ONNX model needs: the extra onnx."""

INSTALL = 'pip install "hybrid-mixer-nas[onnx]"'


def onnx_model(
    what: nn.Module | ExportedProgram, inputs: tuple[Tensor, ...] | None = None, opset: int = 20, **names: Any
) -> Any:
    """The ONNX model, with its weights inside, as a protocol buffer.

    Args:
        what: a program, or a module for the very sizes of its inputs.
        inputs: of a module.
        names: other arguments of torch.onnx.export: `input_names`, `output_names`, `dynamic_shapes`.

    Raises:
        Exception: whatever the exporter finds.
    """
    if isinstance(what, nn.Module):
        what = what.to(memory_format=torch.contiguous_format)
    with quiet():
        made = torch.onnx.export(
            what, inputs or (), dynamo=True, external_data=False, opset_version=opset, verbose=False,
            custom_translation_table=_translations(), **names,
        )  # fmt: skip
    assert made is not None
    return made.model_proto


def _translations() -> dict[Callable[..., object], Callable[..., object]]:
    """Operators of the project's parts that the exporter lacks."""
    return {torch.ops.aten.sort.stable: _sort, torch.ops.aten.conv2d.default: _convolution}


def _operators() -> Any:
    """ONNX's operators, whose stubs do not know the values that the exporter hands on."""
    import onnxscript

    return onnxscript.opset20


def _sort(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
    # TopK puts the lower index first where values are equal, as a stable sort does.
    op = _operators()
    length = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
    return op.TopK(values, length, axis=dim, largest=int(descending), sorted=1)


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


def check_libraries(names: Sequence[str], needs: str, install: str, instead: str) -> None:
    """
    Args:
        needs: what needs them, for the message. install: how they are installed. instead: another choice.

    Raises:
        InputError: a library is missing.
    """
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{needs} needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            "the optional libraries, or another choice",
            f"{install}, or {instead}",
        )

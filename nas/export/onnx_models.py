"""The ONNX model of a module or a program, by torch.onnx.export (the exporter of torch.export).

    model = onnx_model(program, opset=20, input_names=["images"])
    model.SerializeToString()

The runtime onnx times what is made here, and the format onnx writes it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas.export.programs import quiet
from nas.export.translations import translations
from search_spaces.errors import InputError

LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
"""What making and running an ONNX model needs: the extra onnx."""

INSTALL = 'pip install "hybrid-mixer-nas[onnx]"'


def onnx_model(
    what: nn.Module | ExportedProgram,
    inputs: tuple[Tensor, ...] | None = None,
    opset: int = 20,
    open_sides: bool = False,
    **names: Any,
) -> Any:
    """The ONNX model, with its weights inside, as a protocol buffer.

    Args:
        what: a program, or a module for the very sizes of its inputs.
        inputs: of a module.
        open_sides: whether the program leaves height and width open.
        names: other arguments of torch.onnx.export: `input_names`, `output_names`, `dynamic_shapes`.

    Raises:
        Exception: whatever the exporter finds.
    """
    if isinstance(what, nn.Module):
        what = what.to(memory_format=torch.contiguous_format)
    with quiet():
        made = torch.onnx.export(
            what, inputs or (), dynamo=True, external_data=False, opset_version=opset, verbose=False,
            custom_translation_table=translations(open_sides), **names,
        )  # fmt: skip
    assert made is not None
    return made.model_proto


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

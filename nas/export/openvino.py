"""OpenVINO's intermediate representation: NAME.xml with NAME.bin beside it, made of the ONNX model."""

import importlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas.export import Plan
from nas.export.onnx import Onnx
from nas.export.onnx_models import LIBRARIES, check_libraries
from nas.export.programs import quiet, said
from search_spaces.errors import InputError

INSTALL = 'pip install "hybrid-mixer-nas[onnx,openvino]"'


def _library() -> Any:
    """The library, which has no type stubs and may be missing."""
    return importlib.import_module("openvino")


class Openvino:
    """By way of ONNX, because OpenVINO's own reader of programs takes no convolution whose number of groups is open. Weights stay in
    float32: OpenVINO would round them to float16 unless told otherwise.
    """

    name, suffix = "openvino", ".xml"

    def check(self, plan: Plan) -> None:
        """
        Raises:
            InputError: a library is missing.
        """
        check_libraries(("openvino", *LIBRARIES), "format openvino", INSTALL, "format=onnx")

    def write(self, program: ExportedProgram, plan: Plan, path: Path) -> None:
        """See `Format.write`.

        Raises:
            InputError: ONNX or OpenVINO lacks something that the program needs.
        """
        openvino = _library()
        between = path.with_suffix(".onnx")
        Onnx().write(program, plan, between)
        try:
            with quiet():
                openvino.save_model(openvino.convert_model(between), path, compress_to_fp16=False)
        except Exception as error:  # whatever the converter finds
            raise InputError(
                f"OpenVINO cannot convert this network ({said(error)})",
                "networks of operators that OpenVINO has",
                "format=onnx, which OpenVINO may read as it is",
            ) from error
        finally:
            between.unlink(missing_ok=True)

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`. Runs the file on the CPU in float32, whatever shorter numbers the processor has."""
        threads = torch.get_num_threads()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        compiled: Any = _library().Core().compile_model(path, "CPU", settings)

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(compiled(images.numpy())[0].copy())

        return run

    def versions(self) -> dict[str, str]:
        """Of OpenVINO, and of what makes the ONNX model."""
        return {"openvino": version("openvino")} | Onnx().versions()

"""ONNX, opset 20 unless another is asked for: one file, run by ONNX Runtime and by much else."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from nas.export import Plan
from nas.export.onnx_models import INSTALL, LIBRARIES, check_libraries, onnx_model
from nas.export.programs import said
from search_spaces.errors import InputError

IMAGES, LOGITS = "images", "logits"
"""What files call their input and their output."""

AXES = {0: "batch", 2: "height", 3: "width"}
"""What files call sizes that are left open."""


class Onnx:
    """The model of the dynamo exporter, after its optimisations, with its weights inside."""

    name, suffix = "onnx", ".onnx"

    def check(self, plan: Plan) -> None:
        """
        Raises:
            InputError: a library is missing.
        """
        check_libraries(LIBRARIES, "format onnx", INSTALL, "format=pt2")

    def write(self, program: ExportedProgram, plan: Plan, path: Path) -> None:
        """See `Format.write`.

        Raises:
            InputError: the program has operators that ONNX has not, or more weights than one file holds.
        """
        axes = {axis: name for axis, name in AXES.items() if plan.open_sides or axis == 0}
        if plan.batch:
            del axes[0]
        try:
            model = onnx_model(
                program, opset=plan.opset, open_sides=plan.open_sides, input_names=[IMAGES], output_names=[LOGITS],
                dynamic_shapes=(axes,) if axes else None,
            )  # fmt: skip
            path.write_bytes(model.SerializeToString())
        except OSError:
            raise
        except Exception as error:  # whatever the exporter finds
            raise InputError(
                f"the ONNX exporter cannot take this network ({said(error)})",
                "networks of operators that ONNX has",
                "format=pt2" if plan.batch else "batch=1, or format=pt2",
            ) from error

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        """See `Format.load`. Runs the file with ONNX Runtime on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {IMAGES: images.numpy()})[0])

        return run

    def versions(self) -> dict[str, str]:
        """Of ONNX Runtime, and of what makes the file."""
        return {"torch": torch.__version__} | {name: version(name) for name in LIBRARIES}

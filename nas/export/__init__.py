"""Files that other programs run: ONNX, torch.export's pt2, OpenVINO, or a format of yours. One file each; names are file names.

    plan = Plan(batch=0)
    made = make_format("onnx")
    made.check(plan)
    made.write(program_of(network, images, plan), plan, path)
    logits = made.load(path)(images)

A format gets a program, the graph that torch.export makes of a network, and writes it as a file. `nas.export.checking` reads each file
back, runs it on random images and compares it with the network, and moves it to its place only if both agree. A format of your own is
a class with the methods of `Format`, made without arguments and named by its dotted path, such as `my_package.MyFormat`.

    programs.py      torch.export of a network, for fixed or open sizes
    onnx_models.py   the ONNX model of a program or a module, which the runtime onnx times too
    translations.py  operators that the ONNX exporter lacks or gets wrong
    checking.py      a file, what was compared, and the JSON beside it that says so

Standard library only; a format's own module, and with it torch, is imported when it is made.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nas.dotted import check_name, found_at, made_of, path_of
from nas.runtimes import LARGEST_BATCH
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor
    from torch.export import ExportedProgram

NAMES = ("onnx", "pt2", "openvino")
"""The formats that come with nas."""

ABOUT = {
    "onnx": "one file for ONNX Runtime and everything else that reads ONNX",
    "pt2": "a program of torch.export, for torch.export.load, torch.compile and AOTInductor",
    "openvino": "OpenVINO's xml and bin, made of the ONNX model",
}
"""What each of `NAMES` is."""

_CONTRACT = "a class with name, suffix, check(plan), write(program, plan, path), load(path) and versions(), made without arguments"

OPSETS = (18, 23)
"""The oldest and the newest version of the ONNX operators that files are made for. The exporter writes version 18 and converts it."""

OPSET = 20
"""The version unless another is asked for: the first with GELU as one operator."""


@dataclass(frozen=True)
class Plan:
    """What a file has to take.

    Args:
        batch: images at once; 0 for any number from 1.
        open_sides: whether height and width are left open, within the range that the program allows.
        opset: version of the ONNX operators, for the formats that are made of them.

    Raises:
        InputError: a value out of range.
    """

    batch: int = 0
    open_sides: bool = False
    opset: int = OPSET

    def __post_init__(self) -> None:
        if not 0 <= self.batch <= LARGEST_BATCH:
            raise InputError(f"batch is {self.batch}", f"dynamic, or 1 to {LARGEST_BATCH:,}", "batch=dynamic")
        if not OPSETS[0] <= self.opset <= OPSETS[1]:
            raise InputError(f"opset is {self.opset}", f"{OPSETS[0]} to {OPSETS[1]}", f"opset={OPSET}")

    def to_dict(self) -> dict[str, Any]:
        """Its fields, for JSON."""
        return asdict(self)


@runtime_checkable
class Format(Protocol):
    """What writes programs as files. `name` is what commands call it, and `suffix` ends its files, with the dot."""

    name: str
    suffix: str

    def check(self, plan: Plan) -> None:
        """
        Raises:
            InputError: a library is missing, or the format cannot do what the plan asks for.
        """
        ...

    def write(self, program: "ExportedProgram", plan: Plan, path: "Path") -> None:
        """Writes a program that takes one tensor of images, float32 (b, c, h, w), and gives one tensor.

        Args:
            path: of the file, in a folder of its own; more files may be written beside it.

        Raises:
            InputError: the format lacks something that the program needs.
        """
        ...

    def load(self, path: "Path") -> "Callable[[Tensor], Tensor]":
        """What runs a file that `write` wrote, on the CPU, on images (b, c, h, w)."""
        ...

    def versions(self) -> dict[str, str]:
        """Versions of the libraries that make and run the file, by name."""
        ...


def make_format(name: str) -> Format:
    """A format by its name.

    Args:
        name: one of `NAMES`, or the dotted path of a class.

    Raises:
        InputError: there is no such format, or the class is none.
    """
    check_format(name)
    found: Any = found_at(path_of(name, NAMES, "nas.export"), NAMES, "format", "format", "write", ours=name in NAMES)
    made = made_of(found, f"format={name}", _CONTRACT)
    if not isinstance(made, Format):
        lacks = [key for key in ("name", "suffix", "check", "write", "load", "versions") if not hasattr(made, key)]
        what = f"{name.rpartition('.')[2]} has no {' and no '.join(lacks)}"
        raise InputError(f"format={name}: {what}", _CONTRACT, f"format=onnx, or fix {name}")
    return made


def check_format(name: str) -> None:
    """Whether `name` is one of `NAMES`, or has the form of a dotted path; imports nothing.

    Raises:
        InputError: neither.
    """
    check_name(name, NAMES, "format", "MyFormat")

"""A file that is written only if it computes what the network computes, and the JSON beside it that says what was compared.

    made = export_to(make_format("onnx"), program, plan, reference, shapes, folder, "transxnet_tiny", about)

The reference is the network as it is trained, in evaluation mode, in PyTorch on the CPU: what a file is compared with has none of its
folding. Images are standard normal numbers.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas.export import Format, Plan
from nas.export.programs import accepts, example_of, said
from nas.records.shapes import Items, Number, Plain, Table, Text, Whole
from nas.runs.disk import offering, writing
from nas.runs.store import RunStore
from search_spaces.errors import InputError

TOLERANCE = 1e-4
"""The largest difference of any output, in float32; of larger outputs than 1, as a share of the largest."""

ELSEWHERE = "out=FOLDER of a folder that you may write"

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class Compared:
    """A file and the network on the same images.

    Args:
        shape: of the images, (b, c, h, w).
        difference: the largest of any output.
        largest: absolute output of the network.
    """

    shape: Shape
    difference: float
    largest: float

    @property
    def agrees(self) -> bool:
        return self.difference <= TOLERANCE * max(1.0, self.largest)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": list(self.shape),
            "largest_difference": self.difference,
            "largest_output": self.largest,
        }


def tried(plan: Plan, channels: int, program: ExportedProgram, resolution: int) -> list[Shape]:
    """Sizes of images that a file is tried on: other numbers of images than the example's, and other sides, where they are left open.

    Args:
        resolution: that the network was made for; open sides are tried from it on, or from the example's if the program refuses it.
    """
    batches = [plan.batch] if plan.batch else [2, 1, 5]
    if not plan.open_sides:
        return [(batch, channels, resolution, resolution) for batch in batches]
    high = wide = resolution
    if not accepts(program, (batches[0], channels, high, wide)):
        high, wide = example_of(program)[2:]
    sides = [(high, wide), (high + 1, wide + 47), (high + 64, wide + 32)]
    return [(batches[place % len(batches)], channels, *side) for place, side in enumerate(sides)]


@torch.no_grad()
def compare(
    reference: nn.Module, run: Callable[[Tensor], Tensor], shapes: Sequence[Shape], seed: int
) -> list[Compared]:
    """Runs both on the same random images of each shape.

    Args:
        reference: in evaluation mode, on the CPU.
        seed: of the images.
    """
    generator = torch.Generator().manual_seed(seed)
    found = []
    for shape in shapes:
        images = torch.randn(shape, generator=generator)
        expected, outputs = reference(images), run(images)
        same = expected.shape == outputs.shape
        difference = float((outputs - expected).abs().max()) if same else float("inf")
        found.append(Compared(shape, difference, float(expected.abs().max())))
    return found


_KEPT = Table({
    "bytes": Whole(), "takes": Items(Plain(), 1), "weights": Text(),
    "checked": Items(Table({"images": Items(Whole()), "largest_difference": Number(), "largest_output": Number()}), 1),
})  # fmt: skip
"""What the JSON beside a file has that is printed again."""


@dataclass(frozen=True)
class Written:
    """A file that agrees with its network.

    Args:
        about: what the JSON beside it says.
        kept: whether it was there already, made of the same by the same.
    """

    file: Path
    about: Mapping[str, Any]
    kept: bool = False

    @property
    def difference(self) -> float:
        """The largest over all images that were tried."""
        return max(one["largest_difference"] for one in self.about["checked"])


def export_to(
    made: Format,
    program: ExportedProgram,
    plan: Plan,
    reference: nn.Module,
    shapes: Sequence[Shape],
    place: Path,
    about: Mapping[str, Any],
    seed: int = 0,
) -> Written:
    """Writes a program, reads the file back, compares it, and moves it to its place with its JSON.

    Args:
        reference: what it is compared with. shapes: of the images for that.
        place: of the file; PLACE.json gets what was compared.
        about: what else the JSON says.

    Raises:
        InputError: the format cannot write it, or the file computes something else. Nothing is left then.
    """
    store = RunStore(place.parent)
    with _beside(place) as folder:
        draft = folder / place.name
        made.write(program, plan, draft)
        try:
            checked = compare(reference, made.load(draft), shapes, seed)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # whatever reads or runs the file
            raise InputError(
                f"the {made.name} file of {about['network']} does not run ({said(error)})",
                f"files that take images of {', '.join(map(worded, shapes))}",
                "batch=1, or another format",
            ) from error
        _check(made, checked, str(about["network"]))
        said_of_it = {
            "file": place.name, "sha256": sha256(draft), "bytes": draft.stat().st_size, "format": made.name, **about,
            "takes": _takes(plan, shapes),
            "checked": [one.to_dict() for one in checked],
            "checked_against": "the network as it is trained, in evaluation mode, PyTorch on the CPU, float32; images: standard normal",
            "seed": seed, "tolerance": TOLERANCE,
        }  # fmt: skip
        with offering(ELSEWHERE):
            for file in sorted(folder.iterdir()):
                store.move(f"{folder.name}/{file.name}", file.name)
    store.write_json(f"{place.name}.json", said_of_it)
    return Written(place, said_of_it)


def kept(place: Path, about: Mapping[str, Any]) -> Written | None:
    """The file of an earlier command, if it was made of the same by the same versions and has not changed since; otherwise None. What
    the network was asked for as may differ.
    """
    store = RunStore(place.parent)
    if not place.is_file() or not store.exists(f"{place.name}.json"):
        return None
    try:
        known = store.read_json(f"{place.name}.json", shape=_KEPT)
    except InputError:
        return None
    same = isinstance(known, dict) and all(known.get(key) == value for key, value in about.items() if key != "network")
    return Written(place, known, kept=True) if same and known.get("sha256") == sha256(place) else None


def _takes(plan: Plan, shapes: Sequence[Shape]) -> list[int | str]:
    """Each size of the images that a file takes: a number, or words where it is left open. Smaller sides than those that were tried may
    work or not: an ONNX file does not refuse them.
    """
    _, channels, *sides = (min(sizes) for sizes in zip(*shapes, strict=True))
    takes = [f"{side} or more" if plan.open_sides else side for side in sides]
    return [plan.batch or "1 or more", channels, *takes]


def _check(made: Format, checked: Sequence[Compared], name: str) -> None:
    wrong = [one for one in checked if not one.agrees]
    if wrong:
        worst = max(wrong, key=lambda one: one.difference)
        raise InputError(
            f"the {made.name} file of {name} computes something else: on images {worded(worst.shape)} its outputs differ by up to "
            f"{worst.difference:.1e}, and the largest is {worst.largest:.1e}",
            f"outputs that agree to {TOLERANCE:g}, or to {TOLERANCE:g} of the largest where that is above 1",
            "batch=1, or another format; nothing was written",
        )


def worded(shape: Shape) -> str:
    """2 x 3 x 64 x 64."""
    return " x ".join(map(str, shape))


def sha256(file: Path) -> str:
    """Of the bytes of a file, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """An empty folder on the disk of `place`, which is gone afterwards."""
    with offering(ELSEWHERE), writing(place):
        RunStore(place.parent).path_to_write(place.name, f"{place.name}.json")  # before work that takes minutes
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

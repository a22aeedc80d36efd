"""Exports every example of every registered part in every format: the largest difference from the part, or why it cannot be exported.

    python tests/benchmarks/exported_parts.py --out results/export/parts.csv [--formats onnx,pt2] [--only d_mixer]

A row per example, with its options, and a column per format and way: `fixed` (all sizes as in the example), `batch` (any number of images)
and `sides` (any number of images, height and width). A number is the largest difference of any output as a share of the largest output
of the part as it is trained; the exported form is that for inference, with random weights and norm statistics. Each file is read back and
run on other sizes than the example's. Words are the reason of a refusal. The same command resumes where it was stopped.

All 116 examples take about two seconds each per format and way on a quiet core.
"""

import argparse
import csv
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import torch
from torch import Tensor, nn

from nas.export import Format, Plan, make_format
from nas.export.checking import compare
from nas.export.programs import program_of, said
from nas.log import Progress, say
from search_spaces.errors import InputError
from search_spaces.testing import Case, cases, no_shape_checks

SIDE, WIDE, HIGH = 14, 13, 11

PLANS = {"fixed": Plan(batch=2), "batch": Plan(), "sides": Plan(open_sides=True)}
"""What is left open, by way."""

SIZES = {
    "fixed": [(2, SIDE, SIDE)],
    "batch": [(2, SIDE, SIDE), (1, SIDE, SIDE), (5, SIDE, SIDE)],
    "sides": [(2, WIDE, HIGH), (1, 16, 28), (2, 9, 9), (5, 21, 14)],
}
"""Sizes of maps (b, h, w) on which each way is tried; the first is the example's."""


class OnOneInput(nn.Module):
    """A part that takes one map, also where the part wants two: some mixers want the map before normalisation as well."""

    def __init__(self, part: nn.Module, inputs: int) -> None:
        super().__init__()
        self.part, self.inputs = part, inputs

    def forward(self, x: Tensor) -> Tensor:
        return self.part(*(x * (0.5 * place + 1) for place in range(self.inputs)))


def worst(case: Case, made: Format, way: str, folder: Path) -> float:
    """The largest difference of the exported part, as a share of the largest output.

    Raises:
        InputError: it cannot be exported, or not so.
    """
    part = case.make()
    inputs, channels = len(case.inputs(SIDE, SIDE)), case.inputs(SIDE, SIDE)[0].shape[1]
    shapes = [(batch, channels, high, wide) for batch, high, wide in SIZES[way]]
    with torch.no_grad(), no_shape_checks():
        example = torch.randn(shapes[0], generator=torch.Generator().manual_seed(1))
        reference = OnOneInput(case.make(), inputs).eval()
        program = program_of(OnOneInput(part.for_inference(), inputs).eval(), example, PLANS[way])
        path = folder / f"{case}{made.suffix}"
        made.write(program, PLANS[way], path)
        found = compare(reference, made.load(path), shapes, seed=0)
    return max(one.difference / one.largest for one in found)


def row(case: Case, formats: list[Format]) -> dict[str, str]:
    """What is written of an example."""
    options = " ".join(f"{key}={value}" for key, value in dataclasses.asdict(case.options).items())
    found = {"kind": case.kind, "part": case.name, "example": str(case.index), "options": options}
    for made in formats:
        for way in PLANS:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    found[f"{made.name} {way}"] = f"{worst(case, made, way, Path(folder)):.1e}"
                except InputError as error:
                    found[f"{made.name} {way}"] = f"refused: {error.given}"
                except Exception as error:  # whatever runs a file that does not take one of the sizes
                    found[f"{made.name} {way}"] = f"fails: {said(error)}"
    return found


def known(file: Path) -> list[dict[str, str]]:
    """Rows that an earlier command wrote."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def rows(file: Path, only: str, formats: list[Format]) -> Iterator[dict[str, str]]:
    """All rows, those of an earlier command first; each new one is written at once."""
    before = known(file)
    yield from before
    there = {(one["kind"], one["part"], one["example"]) for one in before}
    wanted = [case for case in cases() if only in str(case) and (case.kind, case.name, str(case.index)) not in there]
    progress = Progress("parts", len(wanted) + len(before), len(before))
    file.parent.mkdir(parents=True, exist_ok=True)
    for done, case in enumerate(wanted, len(before) + 1):
        found = row(case, formats)
        new = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, list(found), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(found)
        progress.update(done)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a .csv file; it is continued where it exists")
    parser.add_argument("--formats", default="onnx,pt2")
    parser.add_argument("--only", default="", help="examples whose name has this in it, such as mixer-d_mixer")
    given = parser.parse_args()
    formats = [make_format(name) for name in given.formats.split(",")]
    for made in formats:
        made.check(Plan())
    found = list(rows(given.out, given.only, formats))
    for name in list(found[0])[4:]:
        numbers = [float(one[name]) for one in found if one[name][0].isdigit()]
        refused = [f"{one['kind']} {one['part']} {one['example']}" for one in found if not one[name][0].isdigit()]
        largest = f"{max(numbers):.1e}" if numbers else "none"
        say(
            f"{name:16} {len(numbers)} of {len(found)} examples, largest difference {largest}"
            + f"; not: {', '.join(refused)}" * bool(refused)
        )


if __name__ == "__main__":
    main()

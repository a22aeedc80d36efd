"""Formats write what the network computes, for the sizes that are left open, and nothing else gets a file."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nas.export import ABOUT, NAMES, OPSET, OPSETS, Format, Plan, make_format
from nas.export.checking import compare, export_to, tried
from nas.export.onnx import Onnx
from nas.export.programs import example_sizes, program_of
from nas.export.pt2 import Pt2
from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.network import Network, build
from search_spaces.registry import complete
from search_spaces.testing import Case, cases, no_shape_checks, noise, tame
from tests.benchmarks.exported_parts import PLANS, worst

KERNELS = Part.of("idconv", kernel_size=3)
"""Has a kernel per image."""

SORTS = Part.of("partial_attention", foreground_ratio=0.5, head_dim=8)


@pytest.fixture(autouse=True)
def without_shape_checks() -> Iterator[None]:
    """Exporters cannot look through them."""
    with no_shape_checks():
        yield


def network(*mixers: Part) -> Network:
    """A block for each mixer, with norms that are folded and random weights."""
    blocks = tuple(
        Block(
            position=Part("none"), norm=Part("batch_norm"), mixer=mixer, ffn=Part.of("mlp", ratio=1), scale=Part("none")
        )
        for mixer in mixers
    )
    stage = Stage(width=16, embedding=Part.of("conv_stem", stride=2), blocks=blocks)
    arch = Architecture(in_channels=3, num_classes=5, resolution=16, stages=(stage,), head=Part.of("linear_head"))
    made = build(complete(arch), seed=0).eval()
    tame(made)
    return made


def program(module: nn.Module, plan: Plan) -> ExportedProgram:
    return program_of(module, noise(*example_sizes(plan, 3, 16)[0]), plan)


@pytest.fixture(scope="module")
def reference() -> Network:
    return network(KERNELS)


@pytest.fixture(scope="module")
def any_batch(reference: Network) -> ExportedProgram:
    with no_shape_checks():
        return program(inference_form(reference), Plan())


# Files


@pytest.mark.parametrize("name", ["onnx", "pt2"])
def test_any_number_of_images(name: str, reference: Network, any_batch: ExportedProgram, tmp_path: Path) -> None:
    place, plan = tmp_path / f"net{make_format(name).suffix}", Plan()
    shapes = tried(plan, 3, any_batch, 16)
    assert {shape[0] for shape in shapes} == {1, 2, 5}
    found = export_to(make_format(name), any_batch, plan, reference, shapes, place, {"network": "mine"})
    assert sorted(file.name for file in tmp_path.iterdir()) == [place.name, f"{place.name}.json"]
    about = json.loads((tmp_path / f"{place.name}.json").read_text())
    assert about == found.about
    assert about["takes"] == ["1 or more", 3, 16, 16]
    assert [one["images"] for one in about["checked"]] == [list(shape) for shape in shapes]
    images = noise(7, 3, 16, 16)
    with torch.no_grad():
        expected = reference(images)
    again = make_format(name).load(place)(images)
    assert (again - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert 0 < found.difference <= 1e-5 * expected.abs().max()
    if name == "onnx":
        check_onnx(place, OPSET)


def check_onnx(path: Path, opset: int) -> None:
    """An ONNX file says what it is."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if not entry.domain] == [opset]
    (given,), (result,) = model.graph.input, model.graph.output
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (given, result)]
    assert (given.name, result.name) == ("images", "logits")
    assert sizes == [["batch", 3, 16, 16], ["batch", 5]]


@pytest.mark.slow
def test_open_sides(tmp_path: Path) -> None:
    """Of one program, in both formats: sides that strides divide, and others."""
    plan, reference = Plan(open_sides=True), network(KERNELS, SORTS)
    made = program(inference_form(reference), plan)
    shapes = tried(plan, 3, made, 16)
    assert len({shape[2:] for shape in shapes}) == len(shapes) == 3
    assert shapes[0][2:] == (16, 16)
    for name in ("onnx", "pt2"):
        place = tmp_path / f"net{make_format(name).suffix}"
        found = export_to(make_format(name), made, plan, reference, shapes, place, {"network": "mine"})
        assert found.about["takes"] == ["1 or more", 3, "16 or more", "16 or more"]


class Rows(nn.Module):
    """Another program for maps of a single row."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, :, ::32]
        return rows.mean((2, 3)) if rows.shape[2] > 1 else x.amax((2, 3))


def test_sides_that_a_program_refuses_are_not_tried() -> None:
    plan = Plan(open_sides=True)
    made = program_of(Rows(), noise(2, 3, 64, 96), plan)
    assert tried(plan, 3, made, 40)[0] == (2, 3, 40, 40)
    assert tried(plan, 3, made, 20)[0] == (2, 3, 64, 96)


def test_fixed_sizes_stay_fixed(reference: Network, tmp_path: Path) -> None:
    plan = Plan(batch=3)
    made = program(reference, plan)
    assert tried(plan, 3, made, 16) == [(3, 3, 16, 16)]
    found = export_to(Pt2(), made, plan, reference, [(3, 3, 16, 16)], tmp_path / "net.pt2", {"network": "mine"})
    assert found.about["takes"] == [3, 3, 16, 16]
    run = Pt2().load(tmp_path / "net.pt2")
    with pytest.raises((AssertionError, RuntimeError)):
        run(noise(2, 3, 16, 16))


# What gets no file


class Wrong(Pt2):
    """A format that adds to every output."""

    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        run = super().load(path)
        return lambda images: run(images) + 0.01


class NotANumber(Pt2):
    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        run = super().load(path)
        return lambda images: run(images) * float("nan")


class Unreadable(Pt2):
    def load(self, path: Path) -> Callable[[Tensor], Tensor]:
        raise ValueError("no such operator\nand more")


@pytest.mark.parametrize(
    ("made", "words"),
    [(Wrong(), "computes something else"), (NotANumber(), "computes something else"), (Unreadable(), "does not run")],
    ids=["wrong", "nan", "unreadable"],
)
def test_a_file_that_does_something_else_is_not_written(
    made: Format, words: str, reference: Network, any_batch: ExportedProgram, tmp_path: Path
) -> None:
    place = tmp_path / "net.pt2"
    place.write_text("what was there before")
    with pytest.raises(InputError, match=words) as error:
        export_to(made, any_batch, Plan(), reference, [(2, 3, 16, 16)], place, {"network": "mine"})
    assert "mine" in error.value.given
    assert [file.read_text() for file in tmp_path.iterdir()] == ["what was there before"]


class Reading(nn.Module):
    """No graph can have this in it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * float(x.sum().item() > len(str(x.sum().item())))


class Share(nn.Module):
    """A share of the rows, rounded, which the exporter would take for none of them."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : round(0.3 * x.shape[2])]


@pytest.mark.slow
def test_shares_of_open_sizes(tmp_path: Path) -> None:
    plan, path = Plan(open_sides=True), tmp_path / "share.onnx"
    Onnx().write(program_of(Share(), noise(2, 3, 20, 24), plan), plan, path)
    run = Onnx().load(path)
    for rows in (15, 16, 25, 3135):  # 0.3 times the last is 940.5 in float64 and above it in float32
        images = noise(1, 3, rows, 4)
        assert torch.equal(run(images), images[:, :, : round(0.3 * rows)])


def test_a_network_that_cannot_be_exported() -> None:
    with pytest.raises(InputError, match=r"torch\.export cannot export this network") as error:
        program_of(Reading(), noise(2, 3, 4, 4), Plan())
    assert error.value.instead == "batch=1"


# Names and plans


def test_names() -> None:
    assert set(ABOUT) == set(NAMES)
    for name in NAMES:
        made = make_format(name)
        assert made.name == name
        assert made.suffix.startswith(".")
    assert isinstance(make_format("tests.nas.export.test_formats.Wrong"), Wrong)
    with pytest.raises(InputError, match="has no name and no suffix"):
        make_format("tests.nas.export.test_formats.Reader")


class Reader:
    def write(self) -> None:
        """Not what a format's takes."""


@pytest.mark.parametrize(("values", "words"), [({"batch": -1}, "batch is -1"), ({"opset": OPSETS[1] + 1}, "opset is")])
def test_plans_that_are_wrong(values: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Plan(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_libraries_that_are_missing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"format {name} needs") as error:
        make_format(name).check(Plan())
    assert "pip install" in error.value.instead


@pytest.mark.slow
@pytest.mark.parametrize("opset", range(OPSETS[0], OPSETS[1] + 1))
def test_every_opset(opset: int, reference: Network, any_batch: ExportedProgram, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    Onnx().write(any_batch, Plan(opset=opset), path)
    check_onnx(path, opset)
    assert compare(reference, Onnx().load(path), [(3, 3, 16, 16)], seed=2)[0].agrees


def test_openvino(reference: Network, any_batch: ExportedProgram, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed")
    shapes = [(2, 3, 16, 16), (1, 3, 16, 16)]
    export_to(make_format("openvino"), any_batch, Plan(), reference, shapes, tmp_path / "net.xml", {"network": "mine"})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.bin", "net.xml", "net.xml.json"]


# Every part


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=str)
@pytest.mark.parametrize("way", PLANS)
@pytest.mark.parametrize("made", [Onnx(), Pt2()], ids=lambda made: made.name)
def test_every_part(case: Case, way: str, made: Format, tmp_path: Path) -> None:
    """Every registered part exports, whatever is left open."""
    assert worst(case, made, way, tmp_path) <= 1e-5


def test_an_example_for_open_sides_is_large_enough() -> None:
    """No window of the papers' networks is alone on a map of the larger example, whose sides differ."""
    plan = Plan(open_sides=True)
    (small, large), (only,) = example_sizes(plan, 3, 224), example_sizes(plan, 3, 384)
    assert small[2] != small[3]
    assert min(large[2:]) > 257
    assert only[2:] == (416, 448)
    assert example_sizes(dataclasses.replace(plan, batch=4, open_sides=False), 3, 224) == [(4, 3, 224, 224)]

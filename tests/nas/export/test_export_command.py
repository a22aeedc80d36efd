"""`nas export`, as typed in a shell."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nas.commands.export import _program, export
from nas.export import Plan
from nas.export.asked import Exported
from nas.export.programs import WIDE, example_of
from nas.export.pt2 import Pt2
from nas.networks.asked import parse
from nas.networks.found import Subject
from nas.runs.weights import load_network
from search_spaces.errors import InputError
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.registry import complete
from search_spaces.testing import no_shape_checks, noise
from tests.command_line import HEAVY, Commands, cold, contents

SPACE = load_space("digits")
ARCH = complete(SPACE.decode((0,) * len(SPACE.genes)))


def make_network(place: Path) -> Path:
    """A folder with a network, as `nas extract` writes one."""
    place.mkdir()
    (place / "arch.json").write_text(ARCH.to_json())
    save_file(build(ARCH, seed=3).state_dict(), place / "weights.safetensors")
    return place


def test_a_folder_gets_its_file(nas: Commands, tmp_path: Path) -> None:
    """Beside its weights, with what was compared; the same command finds it there, and makes again what is not as it was."""
    folder = make_network(tmp_path / "net")
    said = nas("export", "net", "format=pt2", cwd=tmp_path).ok().out
    assert "net/net.pt2 " in said
    assert "there already" not in said
    images = noise(3, ARCH.in_channels, ARCH.resolution, ARCH.resolution)
    file, asked = folder / "net.pt2", Exported(format=("pt2",))
    with torch.no_grad():
        expected = load_network(folder)(images)
    about = json.loads((folder / "net.pt2.json").read_text())
    assert about["digest"] == ARCH.digest
    assert about["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert about["versions"] == {"torch": torch.__version__}
    assert (about["format"], about["form"], about["weights"]) == ("pt2", "inference", "of the folder")
    with no_shape_checks():
        assert (Pt2().load(file)(images) - expected).abs().max() <= 1e-5
        before = contents(folder)
        assert [written.kept for written in export(str(folder), asked=asked)] == [True]
        assert contents(folder) == before
        file.write_bytes(b"damaged")
        assert [written.kept for written in export(str(folder), asked=asked)] == [False]
        state = load_file(folder / "weights.safetensors")
        save_file({name: tensor + 1 for name, tensor in state.items()}, folder / "weights.safetensors")
        assert [written.kept for written in export(str(folder), asked=asked)] == [False]


@pytest.mark.slow
def test_the_card_of_a_network_of_a_run_gets_the_score_of_its_files(
    nas: Commands, after: Callable[[str], Path]
) -> None:
    folder = next((after("extract") / "run" / "searches").glob("*/networks/*"))
    said = nas("export", str(folder), "format=pt2", cwd=folder).ok().out
    steps = {
        step["name"]: step for step in json.loads((folder / "card.json").read_text())["checked"]["model.safetensors"]
    }
    file = steps[f"{folder.name}.pt2"]
    assert (file["top1"], file["images"]) == (steps["load_network"]["top1"], steps["load_network"]["images"])
    assert f"{folder.name}.pt2 {file['top1']:.4f}" in said
    assert f"| {folder.name}.pt2 |" in (folder / "README.md").read_text()
    # What was there already may be somebody else's, and torch runs what is in a .pt2 that it loads: it stays closed.
    foreign, about = folder / f"{folder.name}.pt2", json.loads((folder / f"{folder.name}.pt2.json").read_text())
    foreign.write_bytes(b"a program")
    about["sha256"] = hashlib.sha256(foreign.read_bytes()).hexdigest()
    (folder / f"{folder.name}.pt2.json").write_text(json.dumps(about))
    again = nas("export", str(folder), "format=pt2", cwd=folder).ok().out
    assert "there already" in again
    assert "search-validation" not in again
    foreign.unlink()
    (folder.parents[3] / "split.json").unlink()
    assert "not scored on images of the run" in nas("export", str(folder), "format=pt2", cwd=folder).ok().out
    shutil.copytree(folder, folder.parents[4] / "elsewhere")
    assert "search-validation" not in nas("export", "elsewhere", "format=pt2", cwd=folder.parents[4]).ok().out


@pytest.mark.slow
def test_all_formats_at_once(nas: Commands, tmp_path: Path) -> None:
    make_network(tmp_path / "net")
    said = nas("export", "net", "net/arch.json", "timm/test_resnet", "format=onnx,pt2", "out=all", cwd=tmp_path)
    said.refused("would both be written")
    said = nas("export", "net", "timm/test_resnet", "format=onnx,pt2", "out=all", cwd=tmp_path).ok().out
    names = [f"{name}{suffix}" for name in ("net", "timm-test_resnet") for suffix in (".onnx", ".pt2")]
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == sorted([*names, *(f"{n}.json" for n in names)])
    assert said.count("images 1 or more x ") == 4
    assert [line.split("/")[1][:3] for line in said.splitlines() if "weights fresh" in line] == ["tim", "tim"]


def test_names_of_files_and_what_is_said_of_weights(tmp_path: Path) -> None:
    """In one process, in the format that needs no export of its own."""
    folder = make_network(tmp_path / "net")
    save_file(build(ARCH, seed=4).state_dict(), folder / "retrained-scratch-0.safetensors")
    out = tmp_path / "out"
    with no_shape_checks():
        options = {"format": ("pt2",), "batch": "2", "out": str(out)}
        found = export(str(folder), asked=Exported(**options, weights="retrained-scratch-0.safetensors"))  # type: ignore[arg-type]
        found += export("timm/test_resnet", asked=Exported(**options, space="digits", sample=1, resolution="32"))  # type: ignore[arg-type]
        found += export(str(folder), asked=Exported(**options, resolution=str(2 * ARCH.resolution)))  # type: ignore[arg-type]
    member = SPACE.sample(random.Random(0))
    # What is for another resolution than the network was made for does not take the place of what is for its own.
    assert [written.file.name for written in found][:2] == ["net.pt2", "timm-test_resnet-32.pt2"]
    assert [written.file.name for written in found][3:] == [f"net-{2 * ARCH.resolution}.pt2"]
    assert found[3].about["takes"] == [2, ARCH.in_channels, 2 * ARCH.resolution, 2 * ARCH.resolution]
    assert [written.about["weights"] for written in found] == [
        "retrained-scratch-0.safetensors", "fresh, of seed 0", "fresh, of seed 0", "of the folder",
    ]  # fmt: skip
    assert found[1].about["takes"] == [2, 3, 32, 32]
    assert found[2].file.stem == found[2].about["digest"] != member.digest  # which has another resolution
    images = noise(2, ARCH.in_channels, ARCH.resolution, ARCH.resolution)
    expected = load_network(folder, "retrained-scratch-0.safetensors")(images)
    assert (Pt2().load(found[0].file)(images) - expected).abs().max() <= 1e-5


class Two(nn.Module):
    """Does one thing up to 256 rows, and another above."""

    def forward(self, x: Tensor) -> Tensor:
        return (x if x.shape[2] > 256 else 2 * x).mean((2, 3))


def test_a_program_for_small_sides_alone_is_not_taken() -> None:
    subject = Subject("mine", 3, 224, Two, Two)
    assert example_of(_program(subject, Two(), Exported(resolution="dynamic"))) == (2, 3, *WIDE)


def test_help(tmp_path: Path) -> None:
    result = cold("export", "--help", cwd=tmp_path)
    assert result.code == 0
    assert not result.imported & set(HEAVY)
    for name in Exported.__dataclass_fields__:
        assert f"\n  {name}=" in result.out


def test_wrong_arguments_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    result = cold("export", "mat_1", "format=onx", cwd=tmp_path)
    result.refused("unknown format 'onx'", "format=onnx")
    assert not result.imported & set(HEAVY)


@pytest.mark.parametrize(
    ("argument", "given", "instead"),
    [
        ("format=", "format=", "format=onnx,pt2"),
        ("format=pt2,pt2", "format=pt2,pt2", "format=onnx,pt2"),
        ("batch=0", "batch is '0'", "batch=dynamic"),
        ("batch=many", "batch is 'many'", "batch=dynamic"),
        ("batch=99999999", "batch is 99999999", "batch=dynamic"),
        ("resolution=0", "resolution is '0'", "resolution=dynamic"),
        ("resolution=200000", "resolution is 200000", "resolution="),
        ("opset=7", "opset is 7", "opset=20"),
        ("form=fast", "'fast'", "form="),
        ("weights=../w.safetensors", "weights=../w.safetensors", "weights=model.safetensors"),
        ("sample=2", "without a space", "space="),
    ],
)
def test_options(argument: str, given: str, instead: str) -> None:
    with pytest.raises(InputError) as error:
        parse(["mat_1", argument], "export", Exported)
    assert given in error.value.given
    assert instead in error.value.instead


def test_plans() -> None:
    _, asked = parse(["mat_1", "batch=4", "resolution=dynamic", "opset=18"], "export", Exported)
    assert asked.plan() == Plan(batch=4, open_sides=True, opset=18)
    assert asked.networks().resolution == 0
    _, asked = parse(["mat_1", "resolution=96"], "export", Exported)
    assert (asked.plan(), asked.networks().resolution) == (Plan(), 96)


@pytest.mark.parametrize(
    ("arguments", "given", "instead"),
    [
        (("mat_1", "mat_1"), "mat_1 and mat_1 would both be written", "out=exported/other"),
        (("mat_1", "weights=w.safetensors", "out=here"), "weights=w.safetensors for mat_1", "no weights="),
        (("empty", "out=here"), "empty holds no network", ""),
        (("mat_1", "format=nothing.Mine", "out=here"), "module 'nothing' cannot be imported", "PYTHONPATH"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], given: str, instead: str, nas: Commands, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)
    found, _, offered = nas("export", *arguments, cwd=tmp_path).refused(given)
    assert given in found
    assert instead in offered
    assert contents(tmp_path) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["hat_net_tiny", "transxnet_tiny", "mat_1", "emsnet_xxtiny", "linglo_b0", "partialformer_b0"]
)
def test_papers_networks_of_any_size(name: str, nas: Commands, tmp_path: Path) -> None:
    """Number of images, height and width are open; fresh weights."""
    out = nas("export", name, "format=onnx,pt2", "resolution=dynamic", "out=here", cwd=tmp_path).ok().out
    assert out.count("images 1 or more x 3 x ") == 2
    assert out.count(" or more") == 6

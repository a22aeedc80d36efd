"""What is extracted is what was evaluated, and a file that is not is noticed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nas import load_network
from nas.config.effective import configure
from nas.goals.selection import selected
from nas.runs.run import open_run
from nas.runs.searches import chosen_searches
from nas.runs.weights import MODEL, WEIGHTS
from nas.searching.evaluation import Evaluator, evaluate
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from supernet.calibration import calibrate
from tests.command_line import SEARCH, Commands, Runs, contents, prepare


@pytest.fixture
def extracted(image_runs: Runs, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_runs["extract"], tmp_path / "extracted"))


def networks(place: Path) -> list[Path]:
    return sorted((place / "run" / SEARCH / "networks").iterdir())


def test_a_loaded_network_is_what_the_supernet_computed(extracted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit, on the images that chose it and on noise; and its accuracy is the recorded one."""
    monkeypatch.chdir(extracted)
    [config] = configure("extract", ["run=run"])
    run = open_run(config)
    evaluator = Evaluator.of(config, run.split, run.supernet(), run.device)
    [search] = chosen_searches(run.store, config.search)
    found = selected(search, config.retrain.points, "", "run")
    assert {folder.name for folder in networks(extracted)} == set(found)
    assert {role for entry in found.values() for role in entry.roles} == {
        "front", "smallest", "largest", "random_best", "hand_designed"
    }  # fmt: skip
    noise = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for digest, entry in found.items():
        network = load_network(Path("run", SEARCH, "networks", digest))
        assert not network.training
        assert network.arch == entry.arch
        buffers = calibrate(evaluator.supernet, entry.arch, evaluator.calibration)
        with torch.no_grad():
            for images in (noise, *(images for images, _ in evaluator.validation)):
                assert torch.equal(network(images), evaluator.supernet(images, entry.arch, buffers))
        assert evaluate(network, evaluator.validation).top1 == entry.record.top1


def test_parallel_branches_are_merged(nas: Commands, tmp_path: Path) -> None:
    place = prepare(tmp_path / "place")
    text = (place / "tiny.toml").read_text()
    ffn = 'ffn = [{ part = "rp_cpe_ffn", ratio = [1, 2], num_branches = [2, 4] }]'
    (place / "tiny.toml").write_text(text.replace('ffn = [{ part = "mlp", ratio = [1, 2] }]', ffn))
    for verb in ("train", "search"):
        nas(verb, "config.toml", cwd=place).ok()
    nas("extract", "run=run", "merge=true", cwd=place).refused("merge=true without out")
    for arguments in ((), ("out=models", "merge=true"), ("out=models", "merge=true", "verify=true")):
        printed = nas("extract", "run=run", *arguments, cwd=place).ok()
    folders = networks(place)
    assert folders
    merged = 0
    for folder in folders:
        whole, fewer = load_network(folder), load_network(place / "models" / folder.name)
        images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            y = whole(images)
            assert (fewer(images) - y).abs().max() <= 1e-4 * y.abs().max()
        with safe_open(place / "models" / folder.name / MODEL, "pt") as file:
            assert json.loads(file.metadata()["nas"])["digest"] == fewer.arch.digest
        assert f"{macs(fewer.arch):,} MACs" in printed.out
        if whole.arch != fewer.arch:
            merged += 1
            assert sum(p.numel() for p in fewer.parameters()) < sum(p.numel() for p in whole.parameters())
    assert merged


def test_extraction_to_another_folder(nas: Commands, extracted: Path) -> None:
    nas("extract", "run=run", "out=models/mine", cwd=extracted).ok()
    found = contents(extracted / "models" / "mine")
    own = contents(extracted / "run" / SEARCH / "networks")
    assert found == {
        name: digest for name, digest in own.items() if not name.endswith((f"/{WEIGHTS}", "README.md", "card.json"))
    } | {name: digest for name, digest in found.items() if name.endswith(("README.md", "card.json"))}
    nas("extract", "run=run", "out=models/mine", "verify=true", cwd=extracted).ok()
    nas("extract", "run=run", "out=config.toml", cwd=extracted).refused("config.toml/")


def test_one_network_by_the_beginning_of_its_digest(nas: Commands, extracted: Path) -> None:
    lines = [json.loads(line) for line in (extracted / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()]
    known = {path.name for path in networks(extracted)}
    digest = next(record["digest"] for record in lines if record["digest"] not in known)
    nas("extract", "run=run", f"digest={digest[:8]}", cwd=extracted).ok()
    assert load_network(extracted / "run" / SEARCH / "networks" / digest).arch.digest == digest


def test_good_files_are_verified_and_not_written(nas: Commands, extracted: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (extracted / "run" / SEARCH / "networks").rglob("*")}
    result = nas("extract", "run=run", "verify=true", cwd=extracted).ok()
    for folder in networks(extracted):
        assert f"run/{SEARCH}/networks/{folder.name}" in result.out
    assert result.out.count("largest difference from the supernet on 12 images: 0\n") == len(networks(extracted))
    assert {path: path.stat().st_mtime_ns for path in (extracted / "run" / SEARCH / "networks").rglob("*")} == before


def change_a_weight(folder: Path) -> None:
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.startswith("head") and name.endswith("bias"))
    tensors[name][0] += 1e-3
    save_file(tensors, path)


def spoil_a_weight(folder: Path, value: float = 100.0) -> None:
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.startswith("head") and name.endswith("weight"))
    tensors[name][0] = value
    save_file(tensors, path)


def lose_a_number(folder: Path) -> None:
    spoil_a_weight(folder, float("nan"))


def lose_a_tensor(folder: Path) -> None:
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    del tensors[min(tensors)]
    save_file(tensors, path)


def truncate(folder: Path) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"")


def remove(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()


def truncate_arch(folder: Path) -> None:
    (folder / "arch.json").write_text((folder / "arch.json").read_text()[:99])


def remove_arch(folder: Path) -> None:
    (folder / "arch.json").unlink()


def change_arch(folder: Path) -> None:
    """Into another network that the same weights fit."""
    arch = Architecture.from_json((folder / "arch.json").read_text()).to_dict()
    (folder / "arch.json").write_text(json.dumps(arch | {"resolution": arch["resolution"] * 2}))


def take_the_files_of_another(folder: Path) -> None:
    other = next(path for path in sorted(folder.parent.iterdir()) if path != folder)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


@pytest.mark.parametrize(
    ("damage", "file", "says"),
    [
        (change_a_weight, "", "does not do what was evaluated: its logits differ from the supernet's by up to 0.00"),
        (spoil_a_weight, "", "does not do what was evaluated: its logits differ from the supernet's by up to "),
        (lose_a_number, "/weights.safetensors", "has numbers in head.linear.weight that are not finite"),
        (lose_a_tensor, "/weights.safetensors", "does not fit: "),
        (truncate, "/weights.safetensors", "cannot be read"),
        (empty, "/weights.safetensors", "cannot be read"),
        (remove, "/weights.safetensors", "cannot be read"),
        (truncate_arch, "/arch.json", "is not JSON"),
        (remove_arch, "", "holds no network (arch.json is missing)"),
        (change_arch, "/weights.safetensors", "has weights of network "),
        (take_the_files_of_another, "", "holds network "),
    ],
)
def test_damaged_files_are_not_verified(damage, file: str, says: str, nas: Commands, extracted: Path) -> None:  # type: ignore[no-untyped-def]
    folder = networks(extracted)[1]
    good = contents(folder)
    damage(folder)
    damaged = contents(folder)
    nas("extract", "run=run", "verify=true", cwd=extracted).refused(f"run/{SEARCH}/networks/{folder.name}{file}", says)
    assert contents(folder) == damaged
    if file or "missing" in says:
        with pytest.raises(InputError):
            load_network(folder, WEIGHTS)
    nas("extract", "run=run", f"digest={folder.name}", cwd=extracted).ok()
    assert contents(folder) == good
    nas("extract", "run=run", "verify=true", cwd=extracted).ok()

"""What is extracted is what was evaluated, and a file that is not is noticed."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from nas import extract, load_network
from nas.config.effective import configure
from nas.goals.selection import selected
from nas.networks import extraction
from nas.networks.steps import LOADED
from nas.runs.run import open_run
from nas.runs.searches import chosen_searches
from nas.runs.weights import MODEL, WEIGHTS
from nas.searching import evaluation
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


def test_parallel_branches_are_merged(nas: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert 287 in scored(place, monkeypatch, "out=again", "merge=true")  # on all images: rounding may change an answer


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


@pytest.fixture
def searched(nas: Commands, image_runs: Runs, tmp_path: Path) -> Path:
    """Batches of four images, of which there are twelve."""
    place = Path(shutil.copytree(image_runs.before("search"), tmp_path / "searched"))
    nas("search", "config.toml", "search.batch_size=4", cwd=place).ok()
    return place


def search_json(place: Path) -> Path:
    return place / "run" / SEARCH / "search.json"


def scored(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> set[int]:
    """Extracts networks, whose forms are compared on four images. Returns how many the loaded ones were scored on."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(extraction, "SOME", 4)
    seen: list[int] = []
    compared = extraction.compare

    def counting(steps, batches, whole="", some=None):  # type: ignore[no-untyped-def]
        found = compared(steps, batches, whole, some)
        seen.append(found.of(LOADED).images)
        return found

    monkeypatch.setattr(extraction, "compare", counting)
    [config] = configure("extract", ["run=run", *arguments])
    extract(config)
    return set(seen)


def test_the_weights_of_the_search_need_no_second_score(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal logits of the weights that were evaluated have the recorded accuracy. All images are seen where that is asked for, or not known."""
    weights = (searched / "run" / "supernet.safetensors").read_bytes()
    assert json.loads(search_json(searched).read_text())["supernet"] == digest_of(weights)
    opened: list[tuple[str, int | None]] = []
    load = evaluation.load_part

    def noting(data, split, name, limit=None):  # type: ignore[no-untyped-def]
        opened.append((name, limit))
        return load(data, split, name, limit)

    monkeypatch.setattr(evaluation, "load_part", noting)
    assert scored(searched, monkeypatch) == {4}
    assert [limit for name, limit in opened if name == "validation"] == [4]  # the other images are not even opened
    assert scored(searched, monkeypatch, "verify=true") == {12}
    about = json.loads(search_json(searched).read_text())
    search_json(searched).write_text(json.dumps({key: value for key, value in about.items() if key != "supernet"}))
    assert scored(searched, monkeypatch) == {12}  # a search of an earlier version


def test_each_network_is_calibrated_once(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is compared with the statistics that it was written with."""
    seen: list[str] = []
    calibrate = extraction.calibrate

    def noting(supernet, arch, batches):  # type: ignore[no-untyped-def]
        seen.append(arch.digest)
        return calibrate(supernet, arch, batches)

    monkeypatch.setattr(extraction, "calibrate", noting)
    monkeypatch.chdir(searched)
    [config] = configure("extract", ["run=run", "pick=all"])
    folders = extract(config)
    assert len(folders) > 1
    assert sorted(seen) == sorted(folders)


def test_what_is_said_of_the_score(
    searched: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored(searched, monkeypatch)
    lines = [line for line in capsys.readouterr().out.splitlines() if "largest difference" in line]
    assert lines
    assert all(
        re.search(r"top-1 [01]\.\d{4} as evaluated on 12 images .* from the supernet on 4 images: 0$", line)
        for line in lines
    ), lines


@pytest.mark.parametrize("known", [True, False])
def test_another_supernet_in_the_run(known: bool, nas: Commands, searched: Path) -> None:
    """Its searches do not take it for their own, and another search evaluates everything anew; also beside one that does not say what it had."""
    path = searched / "run" / "supernet.safetensors"
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        about = file.metadata()
    name = next(name for name in sorted(tensors) if name.startswith("head") and name.endswith("bias"))
    good = path.read_bytes()
    save_file({**tensors, name: tensors[name] + torch.arange(len(tensors[name])) * 10.0}, path, about)
    if not known:  # a search of an earlier version
        about_it = json.loads(search_json(searched).read_text())
        search_json(searched).write_text(json.dumps({key: about_it[key] for key in about_it if key != "supernet"}))
    before = contents(searched)
    again = ("search", "config.toml", "search.batch_size=4")
    if known:
        nas(*again, "evaluations=9", cwd=searched).refused(
            f"search small of run used another supernet (SHA-256 {digest_of(good)}..."
        )
    assert contents(searched) == before
    nas("extract", "run=run", cwd=searched).refused("does not do what was evaluated: its top-1 is")
    nas(*again, "search.name=other", cwd=searched).ok()
    first, second = (
        {line["digest"]: line["top1"] for line in map(json.loads, (searched / f"run/searches/{name}/evaluations.jsonl").read_text().splitlines())}
        for name in ("small", "other")
    )  # fmt: skip
    assert any(first[digest] != second[digest] for digest in first.keys() & second.keys())
    path.write_bytes(good)
    nas(*again, "evaluations=9", cwd=searched).ok()
    nas("extract", "run=run", "search=small", cwd=searched).ok()


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]

"""The folder of an extracted network is what timm and the hub load, with the same outputs, and its card is true."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.models import save_for_hf

from nas import load_network
from nas.config.effective import configure
from nas.data.augment import evaluation_transform
from nas.networks.folder import add_steps, timm_config
from nas.networks.steps import compare
from nas.runs.run import open_run
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.network import build
from tests.command_line import SEARCH, Commands, Runs, environment

EXTRACTED = {"README.md", "arch.json", "card.json", "config.json", "model.safetensors"}


@pytest.fixture
def place(image_runs: Runs, tmp_path: Path) -> Path:
    """A run on colour images whose networks are extracted."""
    return Path(shutil.copytree(image_runs["extract"], tmp_path / "place"))


def folders(place: Path) -> list[Path]:
    return sorted((place / "run" / SEARCH / "networks").iterdir())


def images(channels: int = 3, side: int = 8) -> torch.Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(0))


def timm_model(folder: Path, **options: Any) -> Any:
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **options).eval()


@torch.no_grad()
def test_timm_loads_what_load_network_loads(place: Path) -> None:
    for folder in folders(place):
        assert {path.name for path in folder.iterdir()} == EXTRACTED | {"weights.safetensors"}
        network, model = load_network(folder), timm_model(folder)
        assert torch.equal(model(images()), network(images()))
        assert model.arch == network.arch
        assert model.pretrained_cfg["label_names"] == [f"class{label}" for label in range(4)]
        maps = timm_model(folder, features_only=True)(images())
        assert torch.equal(maps[-1], model.forward_features(images()))
        state = model.state_dict()
        for changes, x in (
            ({"num_classes": 7}, images()),
            ({"in_chans": 1}, images(1)),
            ({"img_size": 16}, images(side=16)),
            ({"drop_path_rate": 0.2}, images()),
        ):
            other = timm_model(folder, **changes)
            assert other(x).shape == (2, changes.get("num_classes", 4))
            kept = {key: value for key, value in other.state_dict().items() if value.shape == state[key].shape}
            assert all(torch.equal(value, state[key]) for key, value in kept.items())
            assert len(kept) >= len(state) - 2
        assert timm_model(folder, num_classes=0)(images()).shape == (2, model.head_hidden_size)


FRESH = """
import sys, torch, search_spaces, timm
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
torch.save(model(torch.ones(1, 3, 8, 8)).detach(), sys.argv[2])
assert "nas" not in sys.modules
"""


@pytest.mark.slow
def test_a_fresh_process_that_imports_search_spaces_alone(place: Path, tmp_path: Path) -> None:
    folder, out = folders(place)[0], tmp_path / "logits.pt"
    subprocess.run([sys.executable, "-c", FRESH, str(folder), str(out)], check=True, env=environment())
    with torch.no_grad():
        assert torch.equal(torch.load(out), load_network(folder)(torch.ones(1, 3, 8, 8)))


def test_the_hub_s_cache_is_read_as_the_folder_is(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a download, of which timm's own functions read the rest."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    commit, repository = "0" * 40, tmp_path / "cache" / "models--somebody--network"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    folder = folders(place)[0]
    shutil.copytree(folder, repository / "snapshots" / commit)
    options = {"pretrained": True, "cache_dir": tmp_path / "cache"}
    with torch.no_grad():
        model = timm.create_model("hf-hub:somebody/network", **options).eval()
        assert torch.equal(model(images()), load_network(folder)(images()))
        another = timm.create_model("hf-hub:somebody/network", num_classes=3, features_only=True, **options)
        assert len(another(images())) == len(model.stages)
    weights = repository / "snapshots" / commit / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(InputError, match="its tensors have"):
        timm.create_model("hf-hub:somebody/network", **options)


@torch.no_grad()
def test_a_changed_model_that_timm_saves_is_loaded_by_both(place: Path, tmp_path: Path) -> None:
    model = timm_model(folders(place)[0], num_classes=5, in_chans=1, img_size=16)
    save_for_hf(model, tmp_path / "tuned", safe_serialization=True)
    network, again = load_network(tmp_path / "tuned"), timm_model(tmp_path / "tuned")
    assert (network.arch.num_classes, network.arch.in_channels, network.arch.resolution) == (5, 1, 16)
    for loaded in (network, again):
        assert torch.equal(loaded(images(1, 16)), model(images(1, 16)))


@pytest.mark.parametrize(("side", "sizes"), [(32, (50, 40)), (64, (90, 70)), (96, (100, 300))])
def test_timm_prepares_images_as_training_did(side: int, sizes: tuple[int, int], place: Path) -> None:
    [config] = configure("extract", [f"run={place / 'run'}"])
    run = open_run(config, writes=False)
    config = replace(config, data=replace(config.data, resolution=side))
    found = timm_config(load_network(folders(place)[0]).arch, config, run.split, "mit")["pretrained_cfg"]
    transform = timm.data.create_transform(
        (3, side, side), interpolation=found["interpolation"], mean=found["mean"], std=found["std"], crop_pct=found["crop_pct"],
        crop_mode=found["crop_mode"],
    )  # fmt: skip
    noise = torch.randint(0, 256, (*sizes, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image = Image.fromarray(noise.numpy())
    mean, std = (torch.tensor(found[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    expected = (evaluation_transform(side)(image) / 255 - mean) / std
    assert torch.allclose(transform(image), expected, atol=1e-6)


def test_the_model_card_is_what_the_hub_reads(place: Path) -> None:
    for folder in folders(place):
        card = json.loads((folder / "card.json").read_text())
        read = ModelCard.load(folder / "README.md")
        assert (read.data.library_name, read.data.license) == ("timm", "apache-2.0")
        assert read.data.eval_results[0].metric_value == card["evaluated"]["top1"]
        steps = card["checked"]["model.safetensors"]
        assert card["checked"]["weights.safetensors"] == steps[:2]
        assert [step["name"] for step in steps] == ["supernet", "load_network", "timm", "inference form"]
        assert {step["top1"] for step in steps} == {card["evaluated"]["top1"]}
        assert {step["images"] for step in steps} == {12}
        assert [step["difference"] for step in steps[:2]] == [0, 0]
        assert all(step["difference"] < 1e-4 for step in steps)
        for words in (
            card["digest"],
            card["data"]["split"],
            "nas train run=RUN",
            f"pick={card['digest']}",
            "MACs",
            "torch 2",
        ):
            assert words in read.text
        assert str(place) not in (folder / "README.md").read_text()
        assert str(place) not in (folder / "card.json").read_text()


def test_steps_are_added_to_a_card(place: Path) -> None:
    folder = folders(place)[0]
    network, x = load_network(folder), images()
    with torch.no_grad():
        labels = network(x).argmax(dim=1)
    found = compare({"load_network": network, "shifted": lambda x: network(x) + 0.5}, [(x, labels), (x, labels)])
    assert [(step.name, round(step.difference, 5), step.top1, step.images) for step in found.steps] == [
        ("load_network", 0.0, 1.0, 4), ("shifted", 0.5, 1.0, 4)
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"its logits differ from the load_network.s by up to 0\.5"):
        found.check("cpu", "here", "again")
    add_steps(RunStore(folder.parent), folder.name, [step.to_dict() for step in found.steps])
    assert "| shifted | 0.5 | 1.0000 |" in (folder / "README.md").read_text()


def test_logits_that_are_no_numbers_are_no_small_difference() -> None:
    x, y = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    wrong = torch.tensor([[0.0, float("nan"), 0.0]]).repeat(2, 1)
    found = compare({"a": lambda x: x, "b": lambda _: wrong}, [(x, y), (x, y)])
    assert found.steps[1].to_dict()["difference"] is None
    with pytest.raises(InputError, match="up to nan"):
        found.check("cpu", "here", "again")


def test_some_images_show_that_forms_are_equal_and_all_images_that_the_score_is_right() -> None:
    batches = [
        (torch.eye(3), torch.tensor([0, 1, 2])),
        (torch.eye(3), torch.tensor([0, 2, 1])),
        (torch.eye(3), torch.tensor([2, 2, 1])),
    ]
    found = compare({"a": lambda x: x, "b": lambda x: x + 1}, batches, whole="a", some=4)
    assert [(step.name, step.images, step.top1) for step in found.steps] == [("a", 6, 4 / 6), ("b", 6, 4 / 6)]
    assert (found.of("a").images, found.of("a").top1, found.of("b").images) == (9, 4 / 9, 6)


# Retrained weights


def test_the_best_retrained_weights_are_the_model(nas: Commands, image_runs: Runs, tmp_path: Path) -> None:
    place = Path(shutil.copytree(image_runs["extract"], tmp_path / "place"))
    nas("retrain", "run=run", "retrain.seeds=2", cwd=place).ok()
    records = [json.loads(line) for line in (place / "run" / SEARCH / "retrained.jsonl").read_text().splitlines()]
    folder = place / "run" / SEARCH / "networks" / records[0]["digest"]
    own = [record for record in records if record["digest"] == folder.name]
    best = max(own, key=lambda record: (record["validation_top1"], -record["seed"]))
    chosen = f"retrained-{best['init']}-{best['seed']}.safetensors"
    assert (folder / "model.safetensors").read_bytes() == (folder / chosen).read_bytes()
    card = json.loads((folder / "card.json").read_text())
    assert (card["weights"]["file"], len(card["retrained"])) == (chosen, 2)
    assert list(card["checked"]) == ["weights.safetensors", "model.safetensors"]
    assert [step["name"] for step in card["checked"]["model.safetensors"]] == ["load_network", "timm", "inference form"]

    printed = nas("extract", "run=run", f"pick={folder.name}", "out=models", cwd=place).ok().out
    assert "largest difference from the retrained on 12 images: 0\n" in printed
    there = place / "models" / folder.name
    assert {path.name for path in there.iterdir()} == EXTRACTED
    weights = load_file(folder / chosen)
    assert all(torch.equal(value, weights[name]) for name, value in load_network(there).state_dict().items())
    card = json.loads((there / "card.json").read_text())
    steps = card["checked"]["model.safetensors"]
    assert [step["name"] for step in steps] == ["retrained", "load_network", "timm", "inference form"]
    assert {step["top1"] for step in steps} == {best["validation_top1"]}
    assert ModelCard.load(there / "README.md").data.eval_results[1].metric_value == best["test_top1"]
    nas("extract", "run=run", "verify=true", cwd=place).ok()
    nas("extract", "run=run", "verify=true", f"digest={folder.name}", "out=models", cwd=place).ok()
    weights["head.linear.bias"][0] += 0.01
    save_file(weights, there / "model.safetensors")
    nas("extract", "run=run", "verify=true", f"digest={folder.name}", "out=models", cwd=place).refused(
        "the retrained's"
    )


def test_folders_of_earlier_versions_are_loaded(place: Path, nas: Commands) -> None:
    """They have arch.json and weights.safetensors alone."""
    for folder in folders(place):
        expected = load_network(folder).state_dict()
        for name in ("config.json", "model.safetensors", "README.md", "card.json"):
            (folder / name).unlink()
        found = load_network(folder).state_dict()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
    nas("extract", "run=run", "verify=true", cwd=place).ok()


# Tables of positions


def test_position_tables_are_resized_for_other_images(tmp_path: Path) -> None:
    """As the network itself resizes them for an image of that size."""
    block = Block(
        position=Part.of("absolute", map_size=4), norm=Part.of("layer_norm"), scale=Part.of("none"), ffn=Part.of("mlp", ratio=1),
        mixer=Part.of("d_mixer", attention_ratio=0.5, head_dim=4, sr_ratio=2, kernel_size=3),
    )  # fmt: skip
    stage = Stage(
        width=8, embedding=Part.of("conv_stem", stride=4), blocks=(block,), position_bias=Part.of("dense_table", num_heads=1, map_size=4)
    )  # fmt: skip
    network = build(
        Architecture(in_channels=3, num_classes=4, resolution=16, stages=(stage,), head=Part.of("linear_head"))
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    store = RunStore(tmp_path)
    store.write_json(
        "config.json",
        {"architecture": "hybrid_mixer", "model_args": {"arch": network.arch.to_dict()}, "pretrained_cfg": {}},
    )
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    larger = timm_model(tmp_path, img_size=32)
    assert larger.arch.resolution == 32
    assert larger.stages[0].blocks[0].position.map_size == 8
    with torch.no_grad():
        assert torch.allclose(larger(images(side=32)), network(images(side=32)), atol=1e-5)
        assert torch.allclose(
            inference_form(load_network(tmp_path))(images(side=32)), network(images(side=32)), atol=1e-4
        )


# Picking


@pytest.fixture
def searched(after: Callable[[str], Path]) -> Path:
    return after("search")


def test_networks_are_picked_by_what_they_are(searched: Path, nas: Commands) -> None:
    lines = [json.loads(line) for line in (searched / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()]
    own = [line for line in lines if line["origin"]["kind"] == "sampler"]
    best = max(own, key=lambda line: (line["top1"], -line["costs"]["macs"]))

    def picked(text: str) -> set[str]:
        shutil.rmtree(searched / "models", ignore_errors=True)
        nas("extract", "run=run", f"pick={text}", "out=models", cwd=searched).ok()
        return {path.name for path in (searched / "models").iterdir()}

    assert picked("best") == {best["digest"]}
    front = picked("all")
    assert best["digest"] in front
    assert picked("knee") <= front
    limit = sorted(line["costs"]["macs"] for line in own)[len(own) // 2]
    within = max(
        (line for line in own if line["costs"]["macs"] <= limit),
        key=lambda line: (line["top1"], -line["costs"]["macs"]),
    )
    assert picked(f"macs<={limit}") == {within["digest"]}
    worst = min(own, key=lambda line: line["top1"])["digest"]
    assert picked(f"best,{worst[:6]}") == {best["digest"], worst}
    both = picked(f"macs<={limit},params<=10M")
    assert both == {within["digest"]}


def test_picks_that_name_nothing(searched: Path, nas: Commands) -> None:
    for text, words in (
        ("macs<=1", "no network of search small that may win has at most 1 macs"),
        ("energy<=1", "does not know the cost energy"),
        ("macs<1M", "COST<=NUMBER"),
        ("bset", "pick=best"),
        ("0123456789ab", "names 0 networks"),
    ):
        nas("extract", "run=run", f"pick={text}", cwd=searched).refused(words)
    nas("extract", "run=run", "pick=best", "digest=0123", cwd=searched).refused("digest and pick")
    assert not (searched / "run" / SEARCH / "networks").exists()

"""Networks that several processes train together: the loss of one process at an equal batch, and the same files under torchrun."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nas.config import DataConfig, RetrainConfig
from nas.data import load_part, make_split
from nas.data.transforms import Transforms
from nas.training.estimate import HEADINGS, measured, part_of
from nas.training.network import Training
from nas.training.pieces import pieces_of
from nas.training.ranks import started_group
from nas.training.steps import RecipeStep, forward_of
from search_spaces.costs.macs import macs
from search_spaces.network import build
from search_spaces.space import SearchSpace
from supernet.ranks import ALONE, Ranks
from supernet.testing import Memory
from tests.command_line import SEARCH, SPACE, Commands, environment, prepare

PLAIN = SPACE.replace('"conv_stem", stride = 2', '"conv_stem", stride = 2, norm = "layer_norm"').replace(
    '    { part = "d_mixer", attention_ratio = [0.25, 0.5], head_dim = 4, kernel_size = 3 },\n', ""
)
"""Without batch norms, which normalise by the images of a shard."""

RECIPE = RetrainConfig(
    epochs=2, batch_size=26, lr=0.01, warmup_epochs=0.5, sched="cosine", sched_on_updates=True, augment="timm", aa="rand-m5-mstd0.5",
    scale=(0.5, 1.0), reprob=0.3, mixup=0.4, cutmix=1.0, aug_repeats=2, model_ema=True, model_ema_decay=0.9, layer_decay=0.8,
    grad_accum_steps=3, drop_path=0.0,
)  # fmt: skip


def made(recipe: RetrainConfig, ranks: Ranks) -> Training:
    """The training of a small network on 160 images of digits."""
    config = DataConfig(name="digits", resolution=8)
    split = make_split(config, 0)
    part = load_part(config, split, "train", 160, transforms=Transforms.of(recipe))
    network = build(SearchSpace.from_toml(PLAIN, "plain").bind(1, 10, 8).largest(macs), 0)
    step = RecipeStep(recipe, forward_of(network, recipe), classes=10, seed=3)
    pieces = pieces_of(network, recipe, 160 // recipe.batch_size)
    return Training(recipe, part, network, step, pieces, "timm", 3, torch.device("cpu"), ranks)


def trained(ranks: Ranks) -> dict[str, Any]:
    """A short training: what was reported, and the weights."""
    watcher, training = Memory(), made(RECIPE, ranks)
    training.fit(watcher)
    curve = torch.tensor([[report.losses["loss"], report.grad_norm] for report in watcher.reports])
    return {"curve": curve, **training.network.state_dict()}


def other(path: Path, ranks: Ranks) -> None:
    """What the other process does."""
    torch.save(trained(ranks), path)
    ranks.wait()


@pytest.mark.slow
def test_two_processes_are_one(tmp_path: Path) -> None:
    """Images are transformed, repeated, erased and mixed alike, whatever process has them. Sums round differently."""
    one = trained(ALONE)
    with started_group(2, torch.device("cpu"), other, tmp_path / "other.pt") as ranks:
        two = trained(ranks)
        ranks.wait()
    there = torch.load(tmp_path / "other.pt", weights_only=True)
    assert len(one["curve"]) == 12
    torch.testing.assert_close(two["curve"], one["curve"], rtol=1e-3, atol=1e-4)
    for name, tensor in two.items():
        assert torch.equal(tensor, there[name]), name
        torch.testing.assert_close(tensor, one[name], rtol=1e-2, atol=1e-3, msg=name)


def test_what_a_training_takes_is_measured_in_parts() -> None:
    """Of a batch of 26 images in three parts, one of 8: mixed images go in pairs."""
    part = part_of(RECIPE)
    assert (part.batch_size, part.grad_accum_steps) == (8, 1)
    found = measured(made(part, ALONE), "net", seconds=0.0)
    assert (found.name, found.images, found.in_all) == ("net", 8, 160 * RECIPE.epochs)
    assert found.rate == pytest.approx(8 / found.seconds)
    assert found.hours == pytest.approx(found.in_all * found.seconds / 8 / 3600)
    assert 0 < found.waiting < 1
    assert found.memory > 50e6 or not Path("/proc/self/clear_refs").exists()
    assert len(found.cells()) == len(HEADINGS)


def torchrun(number: int, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={number}",
        "-m",
        "nas.cli",
    ]
    return subprocess.run(
        [*command, *arguments], cwd=cwd, env=environment(), text=True, capture_output=True, check=False
    )


@pytest.mark.slow
def test_torchrun_retrains_a_run(nas: Commands, tmp_path: Path) -> None:
    """The accuracy is that of one process but for rounding; what is trained is not trained again, and another number is refused."""
    places = [prepare(tmp_path / f"p{size}") for size in (1, 2)]
    for place in places:
        (place / "tiny.toml").write_text(PLAIN)
        for verb in ("train", "search", "extract"):
            nas(verb, "config.toml", cwd=place).ok()
    recipe = [
        "config.toml",
        "retrain.inits=scratch,inherited",
        "retrain.mixup=0.2",
        "retrain.epochs=2",
        "retrain.batch_size=62",
    ]
    nas("retrain", *recipe, cwd=places[0]).ok()
    done = torchrun(2, "retrain", *recipe, cwd=places[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("test top-1") == sum(
        "scratch" in line or "inherited" in line for line in done.stdout.splitlines()
    )
    one, two = (sorted((place / "run" / SEARCH).rglob("retrained-*")) for place in places)
    assert [path.relative_to(places[0]) for path in one] == [path.relative_to(places[1]) for path in two]
    for folder in {path.parent for path in two}:  # and what timm loads is the best of them
        retrained = [path.read_bytes() for path in folder.glob("retrained-*")]
        assert (folder / "model.safetensors").read_bytes() in retrained
    assert len(one) >= 2
    for a, b in zip(one, two, strict=True):
        theirs = load_file(b)
        for name, tensor in load_file(a).items():
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-2, atol=2e-3, msg=f"{a.name}: {name}")
    about = json.loads((places[1] / "run" / SEARCH / "search.json").read_text())
    assert about["retrain"]["processes"] == 2
    before = {path: path.read_bytes() for path in two}
    again = torchrun(2, "retrain", *recipe, cwd=places[1])
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path: path.read_bytes() for path in two} == before
    refused = torchrun(3, "retrain", *recipe, cwd=places[1])
    assert refused.returncode != 0
    assert "retrain.processes is 2, and 3 processes were started" in refused.stderr
    given, _, instead = nas("retrain", *recipe, cwd=places[1]).refused("started alone")
    assert "retrain.processes is 2" in given
    assert "torchrun --nproc-per-node=2" in instead

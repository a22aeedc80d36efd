"""`nas retrain` by a recipe: it resumes exactly, learns from the supernet, says what it will take, and refuses what cannot be used."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nas.config.parsing import load_config
from nas.config.recipes import IMAGENET, named_recipe
from nas.data import make_split
from nas.networks.timm_models import name_in_timm
from nas.runs.store import RunStore
from nas.training.estimate import part_of
from nas.training.jobs import Job, ReferenceJob
from nas.training.network import Training
from search_spaces.feasible import FeasibleSampler
from search_spaces.named import load_space, read_space
from supernet.testing import Memory
from tests.command_line import SEARCH, Commands, environment

RECIPE = """
[recipe]
epochs = 2
batch_size = 32
lr = 0.01
warmup_epochs = 0.5
sched = "cosine"
sched_on_updates = true
augment = "timm"
aa = "rand-m5-mstd0.5"
scale = [0.5, 1.0]
reprob = 0.25
mixup = 0.2
cutmix = 0.5
aug_repeats = 2
layer_decay = 0.9
drop_path = 0.1
model_ema = true
model_ema_decay = 0.9
"""
MORE = ("grad_accum_steps=2", "grad_checkpointing=true", "channels_last=true", "points=1")


def results(place: Path) -> dict[str, bytes]:
    """The files that retraining leaves, but for those that are unfinished."""
    folder = place / "run" / SEARCH
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*retrain*") if path.is_file()}


@pytest.fixture
def mine(after: Callable[[str], Path]) -> Path:
    """A run whose networks are extracted, with a recipe beside it."""
    place = after("extract")
    (place / "mine.toml").write_text(RECIPE)
    return place


def test_a_run_is_retrained_by_a_recipe_and_a_teacher(nas: Commands, mine: Path) -> None:
    typed = [
        "config.toml",
        "recipe=mine.toml",
        *MORE,
        "kd_model_name=supernet",
        "distill_loss_weight=0.5",
        "task_loss_weight=0.5",
    ]
    done = nas("retrain", *typed, cwd=mine).ok()
    assert "test top-1" in done.out
    about = json.loads((mine / "run" / SEARCH / "search.json").read_text())["retrain"]
    assert (about["recipe"], about["mixup"], about["epochs"], about["kd_model_name"]) == (
        "mine.toml",
        0.2,
        1,
        "supernet",
    )
    teacher = RunStore(mine / "run" / SEARCH / "teacher")
    assert teacher.exists("arch.json")
    before = results(mine)
    assert any(name.endswith("retrained-scratch-0.safetensors") for name in before)
    nas("retrain", *typed, cwd=mine).ok()  # nothing is left to do
    assert results(mine) == before
    (mine / "mine.toml").unlink()  # its keys are written down
    nas("report", "config.toml", cwd=mine).ok()
    nas("retrain", "run=run", "search=small", cwd=mine).ok()
    given, _, instead = nas("retrain", "run=run", "search=small", "mixup=0.3", cwd=mine).refused("retrained with")
    assert "retrain.mixup=0.2" in given
    assert instead == "retrain.mixup=0.2"


def test_a_folder_of_a_network_teaches_and_is_checked(nas: Commands, mine: Path) -> None:
    (network,) = list((mine / "run" / SEARCH / "networks").glob("*"))[:1]
    folder = shutil.copytree(network, mine / "teacher")
    common = ["config.toml", "points=1", "task_loss_weight=0.0"]
    nas("retrain", *common, "kd_model_name=teacher/weights.safetensors", cwd=mine).ok()
    shutil.rmtree(mine / "run/work/retrain", ignore_errors=True)
    for path in (mine / "run" / SEARCH).rglob("retrain*"):
        path.unlink()
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.5], "std": [0]}
    (folder / "config.json").write_text(json.dumps(config))
    nas("retrain", *common, "kd_model_name=teacher", cwd=mine).refused("a std above 0")
    (folder / "config.json").unlink()
    arch = json.loads((folder / "arch.json").read_text())
    (folder / "arch.json").write_text(json.dumps(arch | {"num_classes": 3}))
    nas("retrain", *common, "kd_model_name=teacher", cwd=mine).refused("written together")
    nas("retrain", *common, "kd_model_name=nowhere", cwd=mine).refused("holds no network", "kd_model_name=supernet")
    nas("retrain", *common, "kd_model_name=timm/resnet81", cwd=mine).refused("which timm does not know")
    (folder / "model.safetensors").unlink()
    nas("retrain", *common, f"kd_model_name=local-dir:{folder}", cwd=mine).refused("no model.safetensors")
    assert not results(mine)


REFUSED = {
    "opt=adamv": "unknown optimiser of timm",
    "torchcompile=inducter": "torchcompile is 'inducter'",
    "aa=rnd": "is no augmentation of timm",
    "processes=2": "was started alone",
}


@pytest.mark.parametrize("typed", REFUSED)
def test_what_is_refused_before_anything_is_trained(nas: Commands, mine: Path, typed: str) -> None:
    more = ["augment=timm"] if typed.startswith("aa") else []
    nas("retrain", "config.toml", typed, *more, cwd=mine).refused(REFUSED[typed])
    assert not results(mine)


@pytest.mark.slow
def test_what_it_takes_is_measured(nas: Commands, mine: Path) -> None:
    """On 4 cores or 40: only that the figures agree with each other, and that nothing is written."""
    typed = [
        "config.toml",
        "recipe=mine.toml",
        "retrain.epochs=100",
        "batch_size=1024",
        "grad_accum_steps=64",
        "points=1",
        "estimate=true",
    ]
    lines = nas("retrain", *typed, cwd=mine).ok().out.splitlines()
    (heading,) = [number for number, line in enumerate(lines) if line.startswith("network ")]
    for line in lines[heading + 1 : -1]:
        _, images, step, rate, waiting, memory, million, hours = line.split()
        assert int(images) == 16
        assert float(rate) == pytest.approx(16 / float(step) * 1e3, rel=0.1)
        assert float(million) == pytest.approx(1e6 / float(rate) / 3600, rel=0.1, abs=0.01)
        assert float(hours) < float(million)
        assert 0 <= float(waiting) <= 100
        assert 0.1 < float(memory) < 10
    assert len(lines) - heading > 2
    assert not results(mine)


@pytest.mark.slow
def test_a_killed_retraining_resumes_exactly(mine: Path, tmp_path: Path) -> None:
    """By every part of a recipe at once. The checkpoint behind which it is killed is that of a step in the middle of an epoch."""
    typed = [
        sys.executable, "-m", "nas.cli", "retrain", "config.toml", "recipe=mine.toml", *MORE, "kd_model_name=supernet", "retrain.epochs=4",
        "checkpoint_steps=7", "opt=lamb", "executor=here",
    ]  # fmt: skip
    killed = Path(shutil.copytree(mine, tmp_path / "killed"))
    calm = subprocess.run(typed, cwd=mine, env=environment(), capture_output=True, text=True, check=False)
    assert calm.returncode == 0, calm.stderr
    kills = 0
    while True:
        process = subprocess.Popen(
            typed, cwd=killed, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        found = {path: path.stat().st_mtime_ns for path in (killed / "run/work/retrain").rglob("*.pt")}
        while process.poll() is None and kills < 3:
            now = {path: path.stat().st_mtime_ns for path in (killed / "run/work/retrain").rglob("*.pt")}
            if now and now != found:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.01)
        if process.wait() == 0:
            break
    assert kills == 3
    one, two = results(mine), results(killed)
    assert one.keys() == two.keys()
    for name, content in one.items():
        assert two[name] == content, name
    assert any(load_file(mine / "run" / SEARCH / name) for name in one if name.endswith(".safetensors"))


# ImageNet's configurations

CONFIGS = sorted(path.name for path in IMAGENET.glob("*.toml"))


def make_large_images(root: Path) -> Path:
    """A folder of a few photographs' size in two classes, made by a formula."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 2)):
        for label in ("a", "b"):
            (root / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).resize((320, 240)).save(root / part / label / f"{number}.jpg")
    return root


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_of_imagenet_is_whole(name: str) -> None:
    config = load_config(f"imagenet/{name}")
    named_recipe(config.retrain.recipe).check_resolution(config.data.resolution)
    assert config.retrain.epochs == 300
    for reference in config.retrain.references:
        assert name_in_timm(reference) == reference.removeprefix("timm/")
    assert read_space(config.space).resolution == config.data.resolution == 224
    assert bool(config.retrain.references) != name.startswith("searched_")


def test_there_is_one_for_every_paper_and_every_size() -> None:
    families = {"emsnet", "mat", "partialformer", "hat_net", "linglo", "transxnet"}
    sizes = {f"searched_{size}" for size in ("0.5g", "1g", "2g", "4.5g", "8.5g")}
    assert {name.removesuffix(".toml") for name in CONFIGS} == families | sizes


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_networks_of_a_configuration_take_a_few_steps(name: str, tmp_path: Path) -> None:
    """The smallest network of a paper, or one within the budget, by its recipe and the real loader on image files."""
    root = make_large_images(tmp_path / "images")
    typed = [
        f"data.root={root}",
        "data.workers=0",
        "data.validation_fraction=0.25",
        "retrain.batch_size=4",
        "retrain.aug_repeats=0",
    ]
    config = load_config(
        f"imagenet/{name}",
        [f"run={tmp_path}", *typed, "retrain.epochs=1", "retrain.warmup_epochs=0", "retrain.cooldown_epochs=0"],
    )
    split = make_split(config.data, 0)
    store = RunStore(tmp_path)
    store.write_json("split.json", split.to_dict())
    if config.retrain.references:
        job: Job | ReferenceJob = ReferenceJob(
            config, "none", config.retrain.references[0].removeprefix("timm/"), {}, 0
        )
    else:
        space = load_space(config.space).bind(3, 2, 224)
        most = {"500M": 5e8, "1G": 1e9, "2G": 2e9, "4.5G": 4.5e9, "8.5G": 8.5e9}[config.search.budget]
        arch = FeasibleSampler(space, [("macs", 0.8 * most, most)]).sample(random.Random(0))
        job = Job(config, "none", arch.digest, (), arch, {}, "scratch", 0)
    assert part_of(config.retrain).batch_size == 4
    watcher = Memory()
    Training.of(job, store, split, torch.device("cpu")).fit(watcher)
    assert [report.images for report in watcher.reports] == [4, 8, 12]
    assert all(0 < report.losses["loss"] < 100 for report in watcher.reports)
    assert watcher.reports[-1].skipped == 0

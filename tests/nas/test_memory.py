"""Memory: what training needs is known before it starts, what does not fit is refused before anything is written, and memory that runs
out all the same is a sentence."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.config.effective import configure
from nas.data import kept_decoded, load_part, make_split
from nas.machine import available, memory
from search_spaces.named import load_space
from tests.command_line import SEARCH, SPACE, Commands, Runs, cold, contents, make_images, results

MIB = 2**20
CPU = torch.device("cpu")

BESIDE = available.ADDRESSES - 96 * MIB
"""Address space that is set aside for a fresh process; those of the tests have most of it behind them."""

WIDE = SPACE.replace("width = [16, 32]", "width = [16, 512]").replace("ratio = [1, 2]", "ratio = [1, 8]")
"""A space whose weights, and not its activations, need the memory."""


@pytest.fixture
def wide(place: Path) -> Path:
    (place / "wide.toml").write_text(WIDE)
    return place


def refuse(nas: Commands, place: Path, size: int, *settings: str) -> str:
    """What is offered to a training that does not fit into `size` bytes, and that must leave nothing behind."""
    before = contents(place)
    result = nas("train", "config.toml", *settings, cwd=place, memory=size + BESIDE)
    given, allowed, instead = result.refused("training the supernet", "ulimit -v")
    assert contents(place) == before
    assert "memory: training needs about" in result.out
    assert instead in allowed
    assert "GiB" in given or "MiB" in given
    return instead


# Refused before the start


FEW = ("data=folder", "data.root=images", "train.random_paths=0")
"""Few images, so that what is offered can be tried."""


@pytest.mark.parametrize(
    ("size", "settings", "offers"),
    [
        (600, ["data.resolution=64", "train.batch_size=32"], r"train\.batch_size=\d+"),
        pytest.param(
            400, ["data.resolution=128", "train.batch_size=2"], r"data\.resolution=\d+", marks=pytest.mark.slow
        ),
    ],
    ids=["batch", "resolution"],
)
def test_what_does_not_fit_is_refused_and_what_is_offered_fits(
    size: int, settings: list[str], offers: str, nas: Commands, place: Path
) -> None:
    make_images(place / "images")
    instead = refuse(nas, place, size * MIB, *FEW, *settings)
    assert re.fullmatch(offers, instead)
    nas("train", "config.toml", *FEW, *settings, instead, cwd=place, memory=size * MIB + BESIDE).ok()


def test_autocast_is_bounded_by_float32(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(SPACE)
    assert need(tmp_path / "tiny.toml") == need(tmp_path / "tiny.toml", "train.amp=bf16")


def test_a_batch_that_is_too_large_for_digits(nas: Commands, place: Path) -> None:
    settings = ("data.resolution=16", "train.batch_size=1000")
    instead = refuse(nas, place, 400 * MIB, *settings)
    assert re.fullmatch(r"train\.batch_size=\d{2,3}", instead)
    nas("train", "config.toml", *settings, instead, cwd=place, memory=400 * MIB + BESIDE).ok()


def need(space: Path, *settings: str) -> int:
    [config] = configure("train", ["run=unused", f"space={space}", "data.resolution=8", *settings])
    return memory.need_of(config, load_space(space).bind(1, 10, 8), CPU).total


def test_every_process_keeps_the_decoded_images_of_training(tmp_path: Path) -> None:
    """Those that are decoded in every pass are not kept, and those of a GPU's training lie elsewhere."""
    (tmp_path / "tiny.toml").write_text(SPACE)
    make_images(tmp_path / "images")
    for words in (["data=digits"], ["data=folder", f"data.root={tmp_path / 'images'}"]):
        [config] = configure("train", ["run=unused", f"space={tmp_path / 'tiny.toml'}", "data.resolution=8", *words])
        split = make_split(config.data, config.seed)
        space = load_space(tmp_path / "tiny.toml").bind(split.in_channels, len(split.classes), 8)
        found, without = (memory.need_of(config, space, CPU, images) for images in (split, None))
        kept = len(split.parts["train"]) * 8 * 8 * split.in_channels
        pixels = load_part(config.data, split, "train")._pixels
        assert pixels is not None
        assert kept == pixels.numel() == found.images == found.total - without.total
        assert "decoded images" in found.describe()
        assert memory.need_of(config, space, torch.device("cuda"), split).images == 0
    assert kept_decoded(replace(config.data, augment="timm"), split) == 0
    # Smaller images may be kept where larger ones are not.
    assert kept_decoded(config.data, split, 10**5) == 0 < kept_decoded(config.data, split, 100)


def test_averaged_weights_are_left_out_where_that_is_enough(nas: Commands, wide: Path) -> None:
    settings = ("train.batch_size=2",)
    more, less = (need(wide / "wide.toml", *settings, f"train.ema={ema}") for ema in ("0.9", "0"))
    assert more > 1.1 * less
    # What a process takes before the check is not training's.
    instead = refuse(nas, wide, int(less / memory.SLACK) + 176 * MIB, "space=wide.toml", *settings)
    assert instead == "train.ema=0"


def test_a_smaller_space_is_offered_where_no_setting_helps(nas: Commands, wide: Path) -> None:
    make_images(wide / "images")
    settings = (*FEW, "train.batch_size=16", "data.resolution=16")
    instead = refuse(nas, wide, 400 * MIB, "space=wide.toml", *settings)
    assert instead == "space=digits"
    nas("train", "config.toml", *settings, instead, cwd=wide, memory=400 * MIB + BESIDE).ok()


@pytest.mark.slow
def test_nothing_fits(nas: Commands, wide: Path) -> None:
    assert re.fullmatch(r"a machine with .+ of free memory", refuse(nas, wide, 200 * MIB, "space=wide.toml"))


@pytest.mark.slow
def test_the_unified_space_is_refused(nas: Commands, tmp_path: Path) -> None:
    result = nas("train", "run=run", "space=unified", cwd=tmp_path, memory=4 * 2**30)
    _, _, instead = result.refused("space unified", "GiB")
    assert contents(tmp_path) == {}
    nas("train", "run=run", instead, "train.epochs=1", cwd=tmp_path, memory=4 * 2**30).ok()


def test_too_little_to_import_torch(place: Path) -> None:
    """As with `ulimit -v` of one GiB, in a shell."""
    import subprocess
    import sys

    from tests.command_line import environment

    before = contents(place)
    done = subprocess.run(
        ["sh", "-c", f"ulimit -v 1000000; exec {sys.executable} -m nas.cli train config.toml"],
        cwd=place, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "not enough memory to start" in done.stderr
    assert contents(place) == before


@pytest.mark.slow
@pytest.mark.parametrize("settings", [("data=digits",), ("data=digits", "data.resolution=32", "space=images32")])
def test_what_passes_the_check_is_trained(settings: tuple[str, ...], tmp_path: Path) -> None:
    """In fresh processes, as with `ulimit -v` in a shell: from the least limit on that is not refused."""
    import subprocess
    import sys

    from tests.command_line import environment

    for limit in range(3_500_000, 9_000_000, 100_000):
        words = ["train", "run=run", *settings, "train.epochs=1"]
        done = subprocess.run(
            ["sh", "-c", f'ulimit -v {limit}; exec "$@"', "sh", sys.executable, "-m", "nas.cli", *words],
            cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if (tmp_path / "run").exists():
            break
    assert done.returncode == 0, done.stderr


def test_the_need_is_printed(nas: Commands, place: Path, runs: Runs) -> None:
    out = nas("train", "config.toml", cwd=place).ok().out
    assert re.search(
        r"^memory: training needs about .+ \(weights .+, activations of 128 images .+\); .+ are ", out, re.MULTILINE
    )
    assert results(place) == results(runs["train"])
    # A run that is trained needs nothing any more.
    assert "memory:" not in nas("train", "config.toml", cwd=place, memory=150 * MIB).ok().out


# Memory that runs out all the same

HUNGRY = '''
"""A mixer that at some time needs more memory than any machine has, or that the kernel ends."""

import os
import signal
from dataclasses import dataclass

import torch
from torch import Tensor

from search_spaces.registry import TokenMixer, register

calls = 0


@register("hungry_mixer")
class HungryMixer(TokenMixer):
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options:
        size: int = 1

    examples = (Options(),)

    def forward(self, x: Tensor) -> Tensor:
        global calls
        if x.device.type != "meta":
            calls += 1
            if calls > int(os.environ.get("CALLS", "1000000")):
                if "KILL" in os.environ:
                    os.kill(os.getpid(), signal.SIGKILL)
                torch.empty(2**50)
        return x
'''


@pytest.fixture
def hungry(place: Path) -> Path:
    (place / "hungry.py").write_text(HUNGRY)
    text = SPACE.replace('"global_attention", head_dim = 8', '"hungry_mixer"')
    (place / "tiny.toml").write_text(text)
    config = (place / "config.toml").read_text()
    (place / "config.toml").write_text(config.replace('run = "run"', 'run = "run"\nplugins = ["hungry"]'))
    return place


def with_calls(place: Path, calls: int, **more: str) -> dict[str, str]:
    return {"PYTHONPATH": str(place), "CALLS": str(calls), **more}


@pytest.mark.slow
def test_memory_that_runs_out_in_training(nas: Commands, hungry: Path, tmp_path: Path) -> None:
    """The last checkpoint is whole: the same command resumes, and ends where it would have ended."""
    whole = Path(shutil.copytree(hungry, tmp_path / "whole"))
    nas("train", "config.toml", cwd=whole, env=with_calls(whole, 10**6)).ok()
    result = nas("train", "config.toml", cwd=hungry, env=with_calls(hungry, 6))
    _, allowed, instead = result.refused("nas train run=run ran out of memory", "allocate")
    assert "fixed" in allowed
    assert "resumes from the last checkpoint" in instead
    assert torch.load(hungry / "run" / "work" / "train.pt", weights_only=True)["counts"][0] > 0
    before = contents(hungry)
    # On a smaller machine it is refused before anything is allocated.
    refused = nas("train", "config.toml", cwd=hungry, memory=150 * MIB, env=with_calls(hungry, 10**6))
    _, _, instead = refused.refused("training the supernet", "the run is as it was")
    assert instead.startswith("the same command on a machine with")
    assert contents(hungry) == before
    assert "resuming from step" in nas("train", "config.toml", cwd=hungry, env=with_calls(hungry, 10**6)).ok().out
    assert results(hungry) == results(whole)


def test_memory_that_runs_out_before_the_first_checkpoint(nas: Commands, hungry: Path) -> None:
    _, _, instead = nas("train", "config.toml", cwd=hungry, env=with_calls(hungry, 0)).refused("ran out of memory")
    assert instead == "run=runs/new train.batch_size=64"
    nas("train", "config.toml", *instead.split(), cwd=hungry, env=with_calls(hungry, 10**6)).ok()


@pytest.mark.slow
def test_memory_that_runs_out_in_search_extract_and_retrain(nas: Commands, hungry: Path) -> None:
    env, none = with_calls(hungry, 10**6), with_calls(hungry, 0)
    nas("train", "config.toml", cwd=hungry, env=env).ok()
    drawn = ("search.samplers=random", "search.evaluations=12")
    settings = ("search", "config.toml", *drawn)
    # Whether the first network has the mixer is left to the draw: with or without records, the message says what can be changed.
    _, _, instead = nas(*settings, cwd=hungry, env=none).refused("nas search run=run ran out of memory")
    assert instead == "search.batch_size=64" or "continues where this one stopped" in instead
    nas(*settings, cwd=hungry, env=env).ok()
    chosen = next(
        line.split('"digest":"')[1][:12]
        for line in (hungry / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()
        if "hungry_mixer" in line
    )
    digest = f"digest={chosen}"
    nas("extract", "run=run", "plugins=hungry", digest, cwd=hungry, env=none).refused(
        "nas extract run=run ran out of memory"
    )
    nas("extract", "run=run", "plugins=hungry", cwd=hungry, env=env).ok()
    nas("extract", "run=run", "plugins=hungry", digest, cwd=hungry, env=env).ok()
    _, _, instead = nas("retrain", "run=run", "plugins=hungry", digest, cwd=hungry, env=none).refused(
        "nas retrain run=run ran out of"
    )
    assert instead == "retrain.batch_size=16"
    both = ("retrain", "run=run", "plugins=hungry", digest, "retrain.jobs=2", 'retrain.inits=["scratch","inherited"]')
    assert nas(*both, cwd=hungry, env=none).refused("ran out of memory", "allocate")[2] == "retrain.jobs=1"
    # In an interpreter that ends as in a shell: it takes the semaphores of the broken pool away without a warning.
    result = cold(*both, cwd=hungry, **none, KILL="1")
    _, _, instead = result.refused("was ended from outside", "memory ran out")
    assert instead.startswith("the same command with retrain.jobs=1")
    nas(*both, "retrain.jobs=1", cwd=hungry, env=env).ok()


@pytest.mark.slow
def test_a_search_batch_that_is_too_large(nas: Commands, place: Path) -> None:
    """For real: the limit is enough for training with few images at once, and not for a search with many."""
    make_images(place / "images", each=64)
    settings = ("config.toml", *FEW, "data.resolution=64", "train.batch_size=2")
    nas("train", *settings, "train.checkpoint_steps=999", cwd=place, memory=600 * MIB + BESIDE).ok()
    tried = ["search.batch_size=1024", "search.calibration_images=1024"]
    for _ in range(6):
        result = nas("search", "run=run", *tried, cwd=place, memory=300 * MIB)
        if result.code == 0:
            break
        *_, tried[0] = result.refused("nas search run=run ran out of memory")[2].split()
        (place / "run" / SEARCH / "evaluations.jsonl").unlink(missing_ok=True)
    assert result.code == 0
    assert tried[0] != "search.batch_size=1024"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("std::bad_alloc"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(28, "No space left on device"), False),
        (ValueError("out of memory"), False),
    ],
)  # fmt: skip
def test_what_is_want_of_memory(error: BaseException, found: bool) -> None:
    assert memory.ran_out(error) == found

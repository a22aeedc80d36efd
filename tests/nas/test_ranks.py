"""Training by several processes is training by one, up to rounding; it resumes, and ends when one of them is gone."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nas.config import Config, TrainConfig
from nas.training.ranks import launched, started_group
from nas.training.sharing import settled
from search_spaces.errors import InputError
from search_spaces.named import load_space
from supernet.ranks import ALONE, Ranks
from tests.command_line import SPACE, Commands, contents, environment, prepare

PLAIN = SPACE.replace('"conv_stem", stride = 2', '"conv_stem", stride = 2, norm = "layer_norm"').replace(
    '    { part = "d_mixer", attention_ratio = [0.25, 0.5], head_dim = 4, kernel_size = 3 },\n', ""
)
"""Without batch norms, which normalise by the images of a shard."""


def losses(place: Path) -> list[tuple[float, float]]:
    lines = [json.loads(line) for line in (place / "run/train.jsonl").read_text().splitlines()]
    return [(line["loss_largest"], line["grad_norm"]) for line in lines]


def supernet(place: Path) -> dict[str, torch.Tensor]:
    return load_file(place / "run/supernet.safetensors")


def test_two_processes_are_one(nas: Commands, tmp_path: Path) -> None:
    """The same sub-networks on the same batches. The sums are made in another order, so they round differently."""
    places = [prepare(tmp_path / f"p{size}", batch_size=129) for size in (1, 2)]  # shards of 64 and of 65 images
    for size, place in enumerate(places, 1):
        (place / "tiny.toml").write_text(PLAIN)
        done = nas("train", "config.toml", f"processes={size}", cwd=place).ok()
        assert ("in 2 processes" in done.out) == (size == 2)
        assert json.loads((place / "run/run.json").read_text())["config"]["train"]["processes"] == size
        assert not [path for path in (place / "run/work").iterdir() if path.name != "lock"]
    one, two = map(losses, places)
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=1e-4)
    before, after = map(supernet, places)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(
            after[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    given, _, instead = nas("train", "config.toml", "processes=1", cwd=places[1]).refused("train.processes")
    assert "train.processes=2" in given
    assert "train.processes=2" in instead
    assert (
        "the supernet is trained" in nas("train", "config.toml", cwd=places[1]).ok().out
    )  # 0 is the number of the run


class Module(nn.Module):
    """Weights of two types, running statistics, a buffer that nothing changes, and a weight without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.wide = nn.Parameter(torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64))
        self.narrow, self.unused = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
        self.register_buffer("constant", torch.tensor([0.1, 1 / 3]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.norm(x)  # whose outputs would depend on the shard
        return (x * self.narrow).double() @ self.wide


IMAGES = torch.arange(24.0).reshape(8, 3).sin()


def step_of(ranks: Ranks, first: int, end: int) -> dict[str, torch.Tensor]:
    """One step on some of eight images: gradients, buffers, and what it logs."""
    module = Module().train()
    with ranks.together(module, (end - first) / 8) as logged:
        loss = module(IMAGES[first:end]).square().mean()
        loss.backward()
        logged["loss"] = loss.detach()
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {**gradients, **dict(module.named_buffers()), "loss": logged["loss"]}


def second(path: Path, ranks: Ranks) -> None:
    """What the other process does: a shard of five images, then an error."""
    torch.save(step_of(ranks, 3, 8), path)
    raise InputError("an image of this shard", "images", "another image")


def test_a_step_of_two_processes_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """Shards of three and five images. Afterwards the other process fails, and this one says why."""
    there = tmp_path / "second.pt"
    found: dict[str, torch.Tensor] = {}

    def train() -> None:
        with started_group(2, torch.device("cpu"), second, there) as ranks:
            assert (ranks.rank, ranks.size) == (0, 2)
            found.update(step_of(ranks, 0, 3))
            ranks.wait()

    with pytest.raises(InputError, match="an image of this shard"):
        train()
    assert not multiprocessing.active_children()
    other = torch.load(there, weights_only=True)
    whole = step_of(ALONE, 0, 8)
    assert found.keys() == other.keys() == whole.keys() >= {"wide", "narrow", "loss"}
    assert "unused" not in found
    for name, tensor in found.items():
        assert torch.equal(tensor, other[name]), name  # bitwise: nothing drifts apart
        if name != "norm.running_var":
            torch.testing.assert_close(tensor, whole[name], msg=lambda text, name=name: f"{name}: {text}")
    assert torch.equal(found["constant"], Module().constant)
    variance = 0.9 + 0.1 * (3 / 8 * IMAGES[:3].var(0) + 5 / 8 * IMAGES[3:].var(0))
    torch.testing.assert_close(found["norm.running_var"], variance)


@pytest.mark.slow
def test_batch_norms_see_their_shard(tmp_path: Path) -> None:
    """The loss curve of two processes stays near that of one where batch norms normalise by 64 images in place of 128."""
    curves = []
    for size in (1, 2):
        place = prepare(tmp_path / f"p{size}")
        out, err = start(place, f"processes={size}", "train.epochs=50").communicate()
        assert (place / "run/supernet.safetensors").exists(), out + err
        curves.append(losses(place))
    assert len(curves[0]) == len(curves[1]) > 5
    for (one, _), (two, _) in zip(*curves, strict=True):
        assert two == pytest.approx(one, rel=0.05)


def start(place: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "nas.cli", "train", "config.toml", *arguments]
    return subprocess.Popen(
        command, cwd=place, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def rank_one(parent: int) -> int:
    """The other process of a training: the child that multiprocessing has spawned."""
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and "spawn_main" in (folder / "cmdline").read_text():
                return int(folder.name)
        except (OSError, IndexError, ValueError):  # no process, or one that has just ended
            continue
    raise AssertionError("no such process")


LONGER = ("processes=2", "train.epochs=6", "train.checkpoint_steps=3")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found in /proc")
def test_a_process_that_dies_ends_the_others_and_training_resumes(tmp_path: Path) -> None:
    """With batch norms, whose statistics resume too. First the other process is killed, then the whole command."""
    calm, killed = prepare(tmp_path / "calm"), prepare(tmp_path / "killed")
    out, err = start(calm, *LONGER).communicate()
    assert (calm / "run/supernet.safetensors").exists(), out + err

    process = start(killed, *LONGER)
    wait_for(killed / "run/work/train.pt", process)
    other = rank_one(process.pid)
    os.kill(other, signal.SIGKILL)
    clock = time.monotonic()
    out, err = process.communicate(timeout=120)
    assert time.monotonic() - clock < 30
    assert process.returncode == 2, out + err
    assert "Traceback" not in err
    assert err.count("nas: ") == 1
    assert "was ended from outside" in err
    assert not (killed / "run/supernet.safetensors").exists()

    process = start(killed, *LONGER)
    time.sleep(0.5)
    first = (killed / "run/work/train.pt").stat().st_mtime_ns
    while process.poll() is None and (killed / "run/work/train.pt").stat().st_mtime_ns == first:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    other = rank_one(process.pid)
    process.kill()
    process.communicate()
    end = time.monotonic() + 30
    while Path(f"/proc/{other}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{other}").exists(), "the other process outlives the one that started it"

    out, err = start(killed, *LONGER).communicate()
    assert "resuming from step" in out, out + err
    one, two = (contents(place / "run") for place in (calm, killed))
    for name in ("supernet.safetensors", "train.jsonl"):
        assert one[name] == two[name], name


@pytest.mark.slow
def test_an_error_of_another_process_is_said(tmp_path: Path) -> None:
    """A plugin that fails in any process but the first: its sentence is that of the command."""
    place = prepare(tmp_path / "place")
    (place / "broken.py").write_text(
        "import multiprocessing\n"
        "from search_spaces.errors import InputError\n"
        "if multiprocessing.parent_process() is not None:\n"
        "    raise RuntimeError('not here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "nas.cli", "train", "config.toml", "processes=2", "plugins=broken"],
        cwd=place, env=environment(PYTHONPATH=str(place)), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "plugin 'broken' fails" in done.stderr
    assert "not here" in done.stderr


@pytest.mark.slow
def test_a_launcher_is_taken_as_it_is(tmp_path: Path) -> None:
    """torchrun starts the processes, and gives the run that this project's own two processes give."""
    own, launched_ = prepare(tmp_path / "own"), prepare(tmp_path / "launched")
    out, err = start(own, "processes=2").communicate()
    assert (own / "run/supernet.safetensors").exists(), out + err
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "nas.cli", "train", "config.toml"],
        cwd=launched_, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("images in 2 processes") == 1
    for name in ("supernet.safetensors", "train.jsonl"):
        assert (own / "run" / name).read_bytes() == (launched_ / "run" / name).read_bytes(), name
    shutil.rmtree(launched_ / "run")
    failed = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "nas.cli", "train", "config.toml",
         "train.processes=3"],
        cwd=launched_, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert failed.returncode != 0
    assert "train.processes is 3" in failed.stderr
    (own / "run/supernet.safetensors").unlink()  # as if it were not trained yet
    failed = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3", "-m", "nas.cli", "train", "config.toml"],
        cwd=own, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert failed.returncode != 0
    assert "was begun with train.processes=2, and 3 processes train here" in failed.stderr


# Without processes


def test_how_many_processes_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.machine.cores", lambda: 4)
    cpu = torch.device("cpu")

    def number(space: str, **train: int | str) -> int:
        config = Config(train=TrainConfig(**train))  # type: ignore[arg-type]
        return settled(config, load_space(space), cpu).train.processes

    assert number("digits", batch_size=64) == 1
    assert number("digits", batch_size=64, processes=3) == 3
    assert 1 < number("images32", batch_size=64) < 4
    assert number("images32", batch_size=256) == 4
    assert number("images32", batch_size=64, budget="4M") == 1  # no step trains a larger network
    assert number("images32", batch_size=64, budget="4M", largest=2) == 2
    for loose in ("macs=4M..9G", "params=9M"):
        assert number("images32", batch_size=64, budget=loose) == number("images32", batch_size=64)
    assert number("transxnet", batch_size=6) == 3  # each has two images
    assert number("transxnet", batch_size=2) == 1


def test_an_environment_of_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert launched() is None
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="MASTER_ADDR"):
        launched()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "many")
    with pytest.raises(InputError, match="MASTER_PORT=many"):
        launched()
    monkeypatch.setenv("MASTER_PORT", "1234")
    found = launched()
    assert found is not None
    assert (found.rank, found.size, found.local) == (1, 2, 0)
    with pytest.raises(InputError, match=r"train\.processes is 3"):
        settled(Config(train=TrainConfig(processes=3)), load_space("digits"), torch.device("cpu"))
    assert settled(Config(), load_space("digits"), torch.device("cpu")).train.processes == 2


def test_a_shard_has_two_images_at_least(nas: Commands, place: Path) -> None:
    nas("train", "config.toml", "processes=65", cwd=place).refused(
        "train.processes is 65", "train.batch_size is 128", "64"
    )

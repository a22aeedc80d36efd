"""`nas train init=...`, by real commands: what is taken and said, how such a training resumes, and what is refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas import load_network
from nas.runs.weights import ARCH, WEIGHTS
from nas.training.initial import read_initial
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.named import check
from search_spaces.network import build
from search_spaces.official import STATISTICS
from search_spaces.space import SearchSpace
from search_spaces.testing import randomise
from supernet.supernet import Supernet
from tests.command_line import SEARCH, SPACE, Commands, Runs, contents, make_images, prepare, results

STILL = "train.lr=0"
"""A training that leaves the weights as they were."""


@pytest.fixture
def network(runs: Runs, tmp_path: Path) -> Path:
    """A folder with an extracted network, and nothing beside its description and its weights."""
    networks = runs["extract"] / "run" / SEARCH / "networks"
    found = next(path for path in sorted(networks.iterdir()) if (path / ARCH).is_file())
    folder = tmp_path / "network"
    folder.mkdir()
    for name in (ARCH, WEIGHTS):
        shutil.copy(found / name, folder / name)
    return folder


def parameters(place: Path) -> dict[str, torch.Tensor]:
    """The bank of a run without its statistics, which every forward pass of training moves."""
    bank = load_file(place / "run/supernet.safetensors")
    return {name: tensor for name, tensor in bank.items() if name.rpartition(".")[2] not in STATISTICS}


def test_a_training_starts_from_a_network(nas: Commands, place: Path, network: Path) -> None:
    out = nas("train", "config.toml", f"init={network}", STILL, cwd=place).ok().out
    taken = load_network(network)
    arch, count = taken.arch, sum(p.numel() for p in taken.parameters())
    assert f"starts from {network}: network {arch.digest}, which is member {arch.digest} of the space" in out
    init = json.loads((place / "run/run.json").read_text())["init"]
    assert sum(share["taken"] for share in init["shares"]) == count
    assert f"{count:,} of " in out
    fresh = [word for share in init["shares"] for word in share["fresh"]]
    assert fresh
    assert all(word in out for word in fresh)
    supernet = Supernet(tiny())
    supernet.load_state_dict(load_file(place / "run/supernet.safetensors"))
    for name, tensor in supernet.weights(arch, buffers=False).items():
        assert torch.equal(tensor, taken.get_parameter(name)), name
    again = nas("train", "config.toml", cwd=place).ok().out  # which need not name it again
    assert "starts from" in again
    assert "the supernet is trained" in again
    # Without a checkpoint the training begins again, from the same weights or not at all.
    for name in ("supernet.safetensors", "train.jsonl"):
        (place / "run" / name).unlink()
    before = contents(place)
    state = load_file(network / WEIGHTS)
    save_file(state | {"head.linear.bias": state["head.linear.bias"] + 1}, network / WEIGHTS)
    nas("train", "config.toml", cwd=place).refused("holds other weights than the run was begun with", "run=runs/new")
    shutil.rmtree(network)
    nas("train", "config.toml", cwd=place).refused("does not exist")
    assert contents(place) == before


def test_a_training_starts_from_a_run(nas: Commands, place: Path, runs: Runs) -> None:
    out = nas("train", "config.toml", f"init={runs['train'] / 'run'}", STILL, cwd=place).ok().out
    assert "(100%)" in out
    assert "fresh" not in out
    before, after = parameters(runs["train"]), parameters(place)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_of_a_run_of_other_classes_and_sizes(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """Grey digits, for colour images of four classes: only the classifier is fresh, and the first layer's inputs are spread."""
    place = prepare(tmp_path / "place", 'name = "folder"\nroot = "images"', batch_size=16)
    make_images(place / "images")
    file = runs["train"] / "run/supernet.safetensors"
    out = nas("train", "config.toml", f"init={file}", "data.resolution=12", STILL, cwd=place).ok().out
    assert "with all of head.linear_head.linear.weight, head.linear_head.linear.bias" in out
    before, after = parameters(runs["train"]), parameters(place)
    first = "stages.0.embedding.conv_stem.conv1.weight"
    different = {name for name in after if before[name].shape != after[name].shape}
    assert different == {"head.linear_head.linear.weight", "head.linear_head.linear.bias", first}
    assert all(torch.equal(after[name], before[name]) for name in after.keys() - different)
    torch.testing.assert_close(after[first], before[first].expand(-1, 3, -1, -1) / 3)


@pytest.mark.slow
def test_it_resumes_exactly_without_the_folder(nas: Commands, place: Path, network: Path, tmp_path: Path) -> None:
    """Behind the first checkpoint: the one before needs the folder."""
    typed = ("train", "config.toml", f"init={network}", "train.epochs=8", "train.checkpoint_steps=1")
    calm = prepare(tmp_path / "calm")
    nas(*typed, cwd=calm).ok()
    for tenths in range(4, 100):
        nas(*typed, cwd=place, kill=tenths / 10)
        if (place / "run/work/train.pt").exists():
            break
    assert not (place / "run/supernet.safetensors").exists()
    shutil.rmtree(network)
    assert "resuming from step" in nas(*typed, cwd=place).ok().out
    assert results(place) == results(calm)


def tiny() -> SearchSpace:
    """The space of the runs."""
    return check(SearchSpace.from_toml(SPACE)).bind(1, 10, 8)


def _not_finite(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    state["head.linear.bias"][0] = torch.nan
    save_file(state, folder / WEIGHTS)


def _misshapen(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    save_file(state | {"head.linear.bias": torch.zeros(3)}, folder / WEIGHTS)


def _cut(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def _foreign(folder: Path) -> None:
    """A network of which no part is in the space, in as many stages."""
    data = json.loads((folder / ARCH).read_text())
    data["stages"][0]["embedding"] = {"part": "conv_downsampling", "stride": 4}
    norm = {"norm": {"part": "group_norm"}, "mixer": {"part": "pooling"}, "ffn": {"part": "ms_ffn"}}
    data["stages"][0]["blocks"] = [data["stages"][0]["blocks"][0] | norm]
    data["head"], data["num_classes"] = {"part": "conv_head"}, 3
    network = build(Architecture.from_dict(data))
    randomise(network)
    (folder / ARCH).write_text(network.arch.to_json())
    save_file(network.state_dict(), folder / WEIGHTS)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_not_finite, "numbers in head.linear.bias that are not finite"),
        (_misshapen, "head.linear.bias"),
        (_cut, "cannot be read"),
        (_foreign, "no weight of it has a place in space tiny"),
        (shutil.rmtree, "does not exist"),
        (lambda folder: (folder / ARCH).unlink(), "holds no network"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_taken(damage: Callable[[Path], None], words: str, network: Path) -> None:
    damage(network)
    with pytest.raises(InputError, match=re.escape(words)):
        read_initial(str(network), tiny())


def test_nothing_is_written_for_a_network_that_cannot_be_taken(nas: Commands, place: Path, network: Path) -> None:
    _not_finite(network)
    before = contents(place)
    nas("train", "config.toml", f"init={network}", cwd=place).refused("are not finite", "train.init=")
    assert contents(place) == before


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"is no \.safetensors file"):
        read_initial(str(tmp_path / "weights.pth"), tiny())


def test_runs_that_cannot_be_taken(runs: Runs, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["train"] / "run", tmp_path / "run"))
    state = load_file(run / "supernet.safetensors")
    name = "head.linear_head.linear.bias"
    for wrong, words in (
        (state | {name: torch.zeros(11)}, f"{name} is ((11,), 'F32') in the file and (10,) in the space (1 such)"),
        ({key: tensor for key, tensor in state.items() if key != name}, f"{name} is missing in the file"),
        (state | {name: state[name].to(torch.int32)}, f"{name} is ((10,), 'I32') in the file"),
        (state | {name: state[name] / 0}, f"numbers in {name} that are not finite"),
    ):
        save_file(wrong, run / "supernet.safetensors")
        with pytest.raises(InputError, match=re.escape(words)):
            read_initial(str(run), tiny())
    data = (run / "supernet.safetensors").read_bytes()
    for damaged in (data[: len(data) // 2], b"\xff" * 7 + b"\x7f" + data[8:], b""):
        (run / "supernet.safetensors").write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            read_initial(str(run), tiny())
    (run / "supernet.safetensors").unlink()
    with pytest.raises(InputError, match="holds no trained supernet"):
        read_initial(str(run), tiny())
    (run / "supernet.safetensors").write_bytes(data)
    identity = json.loads((run / "run.json").read_text())
    for config in (1, {"data": {"resolution": 10**9}}, {"data": 3}):
        (run / "run.json").write_text(json.dumps(identity | {"config": config}))
        with pytest.raises(InputError):
            read_initial(str(run), tiny())
    (run / "run.json").write_text(json.dumps(identity))
    for split in ([], {}, {"classes": 3}):
        (run / "split.json").write_text(json.dumps(split))
        with pytest.raises(InputError, match="does not say what images"):
            read_initial(str(run), tiny())


def test_the_report_says_what_the_supernet_started_from(
    nas: Commands, after: Callable[[str], Path], network: Path
) -> None:
    place = after("search")
    identity = json.loads((place / "run/run.json").read_text())
    identity["init"] = read_initial(str(network), tiny()).record(tiny())
    (place / "run/run.json").write_text(json.dumps(identity))
    nas("report", "config.toml", cwd=place).ok()
    page = (place / "run/report.html").read_text()
    assert "initial weights" in page
    assert str(network) in page
    assert f"network {load_network(network).arch.digest}" in page
    assert "fresh in stages.0: mixer" in page

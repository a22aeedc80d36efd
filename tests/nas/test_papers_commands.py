"""`nas models` and `nas convert`, as typed in a shell."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from nas import load_network
from nas.commands.models import count
from search_spaces.official import convert
from search_spaces.papers import paper_networks
from tests.command_line import Commands, cold, contents
from tests.search_spaces.test_official import checkpoint

HEAVY = ("torch", "optuna", "ray", "timm")


def error(found: float, printed: float) -> str:
    return f"{100 * found / printed - 100:+.2f}"


@pytest.mark.slow
def test_the_table_of_networks(nas: Commands, tmp_path: Path) -> None:
    result = nas("models", cwd=tmp_path)
    assert result.code == 0
    lines = result.out.splitlines()
    for network in paper_networks(ablations=True):
        (line,) = [line for line in lines if line.startswith(f"{network.name} ")]
        found = count(network)
        printed = [] if network.params is None else [str(network.params), error(found.params / 1e6, network.params)]
        macs = [] if network.macs is None else [
            f"{found.macs_as_published / 1e9:.3f}", str(network.macs), error(found.macs_as_published / 1e9, network.macs)
        ]  # fmt: skip
        top1 = [] if network.top1 is None else [str(network.top1)]
        name = [network.name, *"*" * bool(network.note)]
        cells = [
            *name,
            f"{found.params / 1e6:.3f}",
            *printed,
            f"{found.macs / 1e9:.3f}",
            *macs,
            *top1,
        ]
        assert line.split() == [*cells, *network.source.split()]
        assert not network.note or network.note in result.out
    assert any("12.835" in line and "1.843" in line and "1.762" in line for line in lines if "transxnet_tiny" in line)


def test_one_network(nas: Commands, tmp_path: Path) -> None:
    result = nas("models", "mat_1", cwd=tmp_path)
    assert result.code == 0
    start = result.out.index("\n{") + 1
    assert json.loads(result.out[start:])["stages"][0]["width"] == 24
    _, allowed, instead = nas("models", "mat_9", cwd=tmp_path).refused("'mat_9'")
    assert "mat_1" in allowed
    assert instead.startswith("mat_")
    nas("models", "mat_1", "mat_2", cwd=tmp_path).refused("at most one")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (("convert",), "0 files"),
        (("convert", "a.pth"), "1 files and the model ''"),
        (("convert", "a.pth", "b.pth", "--model", "hat_net_tiny"), "2 files"),
        (("convert", "a.pth", "--modle", "hat_net_tiny"), "'modle'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_loaded(
    arguments: tuple[str, ...], given: str, tmp_path: Path
) -> None:
    result = cold(*arguments, cwd=tmp_path)
    result.refused(given)
    assert not result.imported & set(HEAVY)


@pytest.mark.parametrize("form", ["plain", pytest.param("wrapped", marks=pytest.mark.slow), "safetensors"])
def test_a_checkpoint_becomes_a_network(form: str, nas: Commands, tmp_path: Path) -> None:
    state = checkpoint("hat_net_tiny")
    file = "weights.safetensors" if form == "safetensors" else "weights.pth"
    if form == "safetensors":
        save_file(state, tmp_path / file)
    else:
        torch.save({"state_dict": state, "epoch": 300} if form == "wrapped" else state, tmp_path / file)
    result = nas("convert", file, "--model", "hat_net_tiny", cwd=tmp_path)
    assert result.code == 0, result.err
    assert "12,655,912 parameters" in result.out
    network, expected = load_network(tmp_path / "converted" / "hat_net_tiny"), convert(state, "hat_net_tiny")
    assert network.arch.digest == expected.arch.digest
    for (name, one), (_, other) in zip(network.state_dict().items(), expected.state_dict().items(), strict=True):
        assert torch.equal(one, other), name
    before = contents(tmp_path)
    nas("convert", file, "model=hat_net_tiny", cwd=tmp_path)  # once more changes nothing
    assert contents(tmp_path) == before
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.zeros(3, 384), torch.zeros(3)
    torch.save(state, tmp_path / "other.pth")
    before = contents(tmp_path)
    _, _, instead = nas("convert", "other.pth", "--model=hat_net_tiny", cwd=tmp_path).refused("holds another network")
    assert contents(tmp_path) == before
    assert nas("convert", "other.pth", "--model=hat_net_tiny", *instead.split(), cwd=tmp_path).code == 0


class Code:
    """Would be run by an ordinary unpickling."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('code was run')",)


def _bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (lambda path: torch.save({"a": Code()}, path), "holds more than plain tensors"),
        (lambda path: torch.save(torch.nn.Linear(2, 2), path), "holds more than plain tensors"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
        (lambda path: torch.save({"a": 3}, path), "'a' in the checkpoint is int"),
        (lambda path: torch.save({3: torch.zeros(3)}, path), "3 in the checkpoint is no name, but int"),
        (
            lambda path: torch.save({"a": torch.tensor([1.0, math.nan])}, path),
            "'a' in the checkpoint is a tensor with numbers that",
        ),
        (
            lambda path: torch.save({"a": torch.eye(3).to_sparse()}, path),
            "holds torch._utils._rebuild_sparse_tensor",
        ),
        (
            lambda path: torch.save({"a": torch.zeros(3, dtype=torch.bool)}, path),
            "'a' in the checkpoint is a tensor of torch.bool",
        ),
        (_script, "holds more than plain tensors"),
        (lambda path: _bytes(path, b""), "damaged"),
        (lambda path: _bytes(path, b"no checkpoint"), "no checkpoint at all"),
        (lambda path: torch.save({"a": torch.zeros(3)}, path), "unexpected: a"),
    ],
)
def test_other_files_are_refused(make: Any, given: str, nas: Commands, tmp_path: Path) -> None:
    make(tmp_path / "file.pth")
    before = contents(tmp_path)
    nas("convert", "file.pth", "--model", "hat_net_tin", cwd=tmp_path).refused("'hat_net_tin'")  # the name first
    result = nas("convert", "file.pth", "--model", "hat_net_tiny", cwd=tmp_path)
    result.refused(given)
    assert "weights_only" not in result.err
    assert "Warning" not in result.err
    assert contents(tmp_path) == before


def test_a_truncated_checkpoint_is_refused(nas: Commands, tmp_path: Path) -> None:
    torch.save(checkpoint("hat_net_tiny"), tmp_path / "file.pth")
    data = (tmp_path / "file.pth").read_bytes()
    (tmp_path / "file.pth").write_bytes(data[: len(data) // 2])
    before = contents(tmp_path)
    nas("convert", "file.pth", "--model", "hat_net_tiny", cwd=tmp_path).refused("file.pth")
    assert contents(tmp_path) == before

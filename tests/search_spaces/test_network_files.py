"""Network folders that somebody else wrote are loaded or refused, in three parts, before anything takes memory."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nas import load_network
from search_spaces.files.blueprint import announced, blueprint
from search_spaces.files.folder import MODEL, WEIGHTS
from search_spaces.files.tensors import read_header
from search_spaces.mixers.depthwise_conv import DepthwiseConvMixer as DepthwiseConv
from tests.search_spaces.network_folders import (
    DIGEST,
    LOADERS,
    NETWORK,
    load_searched,
    load_with_timm,
    refused,
    sound,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound(tmp_path)


def test_a_sound_folder_is_loaded(folder: Path) -> None:
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        for load in LOADERS:
            assert torch.equal(load(folder)(x), NETWORK(x))


def test_the_blueprint_has_the_names_and_shapes_of_the_file(folder: Path) -> None:
    header = read_header(folder / MODEL)
    assert dict(header.tensors) == announced(blueprint(NETWORK.arch))
    assert header.digest == DIGEST
    assert header.numbers == sum(tensor.numel() for tensor in NETWORK.state_dict().values())


def pickled(path: Path) -> None:
    torch.save(NETWORK.state_dict(), path)


def pickled_plainly(path: Path) -> None:
    path.write_bytes(pickle.dumps({"head.linear.weight": [0.0] * 40}))


def header_bomb(path: Path) -> None:
    """A header of a hundred megabytes in a sparse file as long as it says."""
    with open(path, "wb") as file:
        file.write((10**8).to_bytes(8, "little"))
        file.truncate(10**8 + 8)


def header_too_long(path: Path) -> None:
    path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:])


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def huge_shape(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(shape=[10**9, 10**9]))


def negative_shape(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(shape=[-4, -8]))


def overlapping(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(data_offsets=[0, 128]))


def other_type(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(dtype="I32"))


def no_type(path: Path) -> None:
    rewritten(path, lambda header: header["head.linear.weight"].update(dtype=["F32"]))


def changed(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def one_more(path: Path) -> None:
    changed(path, lambda tensors: tensors.update(extra=torch.zeros(1)))


def one_less(path: Path) -> None:
    changed(path, lambda tensors: tensors.pop("head.linear.weight"))


def transposed(path: Path) -> None:
    changed(path, lambda tensors: tensors.update({"head.linear.weight": tensors["head.linear.weight"].T.contiguous()}))


def of_another(path: Path) -> None:
    save_file(NETWORK.state_dict(), path, {"nas": json.dumps({"digest": "0" * 12})})


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (pickled, "it is a pickle"),
        (pickled_plainly, "it is a pickle"),
        (header_bomb, "its header has 100,000,000 bytes"),
        (header_too_long, "fewer than its header announces"),
        (truncated, "its tensors have"),
        (longer, "its tensors have"),
        (empty, "it has 0 bytes"),
        (huge_shape, "as long as its shape says"),
        (negative_shape, "has the shape [-4, -8]"),
        (overlapping, "does not lie behind the one before it"),
        (other_type, "of type I32"),
        (no_type, "has the type ['F32']"),
        (one_more, "extra is [1] in the file and missing here"),
        (one_less, "head.linear.weight is missing in the file"),
        (transposed, "head.linear.weight is [8, 4] in the file and [4, 8] here"),
        (of_another, "has weights of network '000000000000'"),
        (a_pipe, "it is no ordinary file"),
        (a_device, "it is no ordinary file"),
    ],
)
def test_weights_that_are_not_what_they_should_be(damage: Callable[[Path], None], word: str, folder: Path) -> None:
    for name in (MODEL, WEIGHTS):
        damage(folder / name)
    for load in LOADERS:
        refused(load, folder, str(folder / (WEIGHTS if load is load_searched else MODEL)), word)


def test_timm_finds_no_pickle_where_the_weights_are_missing(folder: Path) -> None:
    """timm itself would fall back to pytorch_model.bin."""
    torch.save(NETWORK.state_dict(), folder / "pytorch_model.bin")
    (folder / MODEL).unlink()
    for load in (load_network, load_with_timm):
        refused(load, folder, MODEL)


def test_weights_of_half_precision_are_taken(folder: Path) -> None:
    save_file(
        {key: value.half() if value.is_floating_point() else value for key, value in NETWORK.state_dict().items()},
        folder / MODEL,
    )
    for load in (load_network, load_with_timm):
        weight = load(folder).state_dict()["head.linear.weight"]
        assert weight.dtype == torch.float32
        assert torch.equal(weight, NETWORK.state_dict()["head.linear.weight"].half().float())


def test_tensors_that_no_state_dict_keeps_are_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of somebody else's may compute some: they are not left without values."""
    init = DepthwiseConv.__init__

    def with_a_grid(self: Any, *arguments: Any) -> None:
        init(self, *arguments)
        self.register_buffer("grid", torch.arange(3.0), persistent=False)

    monkeypatch.setattr(DepthwiseConv, "__init__", with_a_grid)
    assert torch.equal(load_network(folder).stages[0].blocks[0].mixer.grid, torch.arange(3.0))


def test_the_weights_of_a_loaded_network_can_be_trained(folder: Path) -> None:
    for load in LOADERS:
        network = load(folder)
        assert all(parameter.requires_grad and parameter.device.type == "cpu" for parameter in network.parameters())
        network.train()(torch.randn(2, 3, 8, 8)).sum().backward()

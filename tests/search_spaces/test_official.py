"""Official checkpoints: the key lists convert whole, and converted networks give the outputs of the authors' code."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.errors import InputError
from search_spaces.network import build
from search_spaces.official import convert, official_names
from search_spaces.papers import paper_network

HERE = Path(__file__).parent / "official"
SHAPES: dict[str, dict[str, list[int]]] = json.loads((HERE / "state_dicts.json").read_text())
OUTPUTS = np.load(HERE / "outputs.npz")


def by_rule(name: str, shape: list[int]) -> Tensor:
    """The weights with which the stored outputs were made: they depend on name and shape alone."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    z = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        z = 0.5 + np.abs(z)
    elif name.endswith("running_mean") or (z.ndim <= 1 and not name.endswith("weight")):
        z = np.float32(0.1) * z
    elif z.ndim <= 1:
        z = 1 + np.float32(0.1) * z
    else:
        z = z / np.sqrt(np.prod(shape[1:])).astype(np.float32)
    return torch.from_numpy(np.asarray(z, np.float32))


def checkpoint(name: str) -> dict[str, Tensor]:
    return {key: by_rule(key, shape) for key, shape in SHAPES[name].items()}


def test_every_official_network_is_there() -> None:
    assert set(official_names()) == set(SHAPES)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_key_lists_convert_whole(name: str) -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in SHAPES[name].items()}
    network = convert(state, name)
    assert sum(tensor.numel() for tensor in network.state_dict().values()) >= sum(t.numel() for t in state.values())
    assert sum(p.numel() for p in network.parameters()) == sum(
        int(np.prod(shape))
        for key, shape in SHAPES[name].items()
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )


@pytest.mark.parametrize("output", sorted(OUTPUTS))
def test_outputs_of_the_authors_code(output: str) -> None:
    name, _, size = output.rpartition("_")
    x = np.random.RandomState(int(size)).standard_normal((2, 3, int(size), int(size))).astype(np.float32)
    network = convert(checkpoint(name), name)
    expected = torch.from_numpy(OUTPUTS[output])
    with torch.no_grad():
        y = network(torch.from_numpy(x))
        last = network.to(memory_format=torch.channels_last)(
            torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
        )
    assert (y - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert (last - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_converted_weights_fit_the_plain_network() -> None:
    network = convert(checkpoint("hat_net_tiny"), "hat_net_tiny")
    build(paper_network("hat_net_tiny").arch).load_state_dict(network.state_dict())


def test_conversion_copies() -> None:
    state = checkpoint("hat_net_tiny")
    network = convert(state, "hat_net_tiny")
    before = network.head.linear.bias.clone()  # type: ignore[union-attr]
    state["classifier.1.bias"].zero_()
    assert torch.equal(before, network.head.linear.bias)  # type: ignore[union-attr]


def test_another_number_of_classes() -> None:
    state = checkpoint("hat_net_tiny")
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.randn(10, 384), torch.randn(10)
    assert convert(state, "hat_net_tiny").arch.num_classes == 10


def test_wrong_keys_are_named() -> None:
    state = checkpoint("hat_net_tiny")
    del state["blocks.0.0.attn.qkv.weight"]
    state["extra.weight"] = torch.zeros(3)
    state["ds2.conv.bias"] = torch.zeros(5)
    with pytest.raises(InputError) as error:
        convert(state, "hat_net_tiny")
    given = error.value.given
    assert "1 missing: blocks.0.0.attn.qkv.weight" in given
    assert "1 unexpected: extra.weight" in given
    assert "1 misshapen: ds2.conv.bias (5,) instead of (96,)" in given


def test_the_right_network_is_offered() -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in SHAPES["hat_net_small"].items()}
    with pytest.raises(InputError) as error:
        convert(state, "hat_net_tiny")
    assert error.value.instead == "--model hat_net_small"


def test_networks_without_official_weights() -> None:
    with pytest.raises(InputError, match="mat_1"):
        convert({}, "mat_1")


def test_only_tensors() -> None:
    with pytest.raises(InputError, match="'epoch' in the checkpoint is int"):
        convert({"epoch": 3}, "hat_net_tiny")

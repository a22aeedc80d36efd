"""Weights that are read are finite in float32, and other types are said."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nas import load_network
from nas.runs.store import RunStore
from nas.runs.weights import load_tensors
from search_spaces.errors import InputError
from search_spaces.files.folder import MODEL
from search_spaces.network import build
from tests.search_spaces.network_folders import NETWORK, load_with_timm, refused, sound

NAME = "head.linear.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return sound(tmp_path)


def save(folder: Path, value: float, dtype: torch.dtype) -> None:
    """The network's weights, of which one tensor has another type, and this value as its last."""
    state = {key: tensor.clone() for key, tensor in NETWORK.state_dict().items()}
    state[NAME] = state[NAME].to(dtype)
    state[NAME].view(-1)[-1] = value
    save_file(state, folder / MODEL)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (float("nan"), torch.float32),
        (float("inf"), torch.float16),
        (float("-inf"), torch.bfloat16),
        (1e300, torch.float64),  # which is infinite in float32
    ],
)
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float, dtype: torch.dtype) -> None:
    save(folder, value, dtype)
    for load in (load_network, load_with_timm):
        refused(load, folder, f"has numbers in {NAME} that are not finite")
    with pytest.raises(InputError, match="not finite"):
        load_tensors(RunStore(folder), MODEL, build(NETWORK.arch))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types_of_weights_are_said(folder: Path, dtype: torch.dtype, caplog: pytest.LogCaptureFixture) -> None:
    save(folder, 0.5, dtype)
    for load in (load_network, load_with_timm):
        caplog.clear()
        load(folder)
        assert f"weights in {str(dtype).removeprefix('torch.')}, which are taken as float32" in caplog.text
    caplog.clear()
    save(folder, 0.5, torch.float32)
    load_network(folder)
    assert not caplog.text


def test_whole_numbers_are_no_weights(folder: Path) -> None:
    """Nor for a module that is there already."""
    save(folder, 1, torch.int64)
    refused(load_network, folder, "of type I64")
    with pytest.raises(InputError, match="of type I64"):
        load_tensors(RunStore(folder), MODEL, build(NETWORK.arch))

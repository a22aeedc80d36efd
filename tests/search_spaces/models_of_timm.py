"""The papers' networks as models of timm for tests: their names, models without numbers, and models with random weights for small images."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.papers import paper_network, paper_networks
from search_spaces.registry import complete
from search_spaces.testing import randomise
from tests.command_line import environment

NAMES = [network.name for network in paper_networks()]
SMALLEST = ["emsnet_xxtiny", "hat_net_tiny", "linglo_b0", "mat_1", "partialformer_b0", "transxnet_tiny"]
SIZE = 64
STRIDES = [4, 8, 16, 32]

every = pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_e2")])
"""The other reading of PartialFormer is the same parts with other options."""
smallest = pytest.mark.parametrize("name", SMALLEST)
smallest_first = pytest.mark.parametrize(
    "name", [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)


def meta(name: str, **options: Any) -> Any:
    """A model without numbers, in evaluation mode."""
    with torch.device("meta"):
        return timm.create_model(name, **options).eval()


def images(size: int, batch: int = 1, channels: int = 3) -> Tensor:
    return torch.empty(batch, channels, size, size, device="meta")


def small(name: str, size: int = SIZE, **options: Any) -> Any:
    """A model with random weights and statistics, for small images, in evaluation mode."""
    model = timm.create_model(name, img_size=size, **{"num_classes": 7, **options}).eval()
    randomise(model)
    return model


def paper_arch(name: str, **changes: Any) -> Architecture:
    return complete(replace(paper_network(name).arch, **changes))


def run_script(text: str) -> None:
    """Runs a program in an interpreter of its own."""
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stderr

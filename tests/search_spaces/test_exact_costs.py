"""Every counted cost of an architecture is, to the last digit, that of the network that is built of it."""

import random

import pytest
import torch

from search_spaces.architecture import Architecture
from search_spaces.costs import BUILT_IN, activations, costs_of
from search_spaces.costs.memory import memory, state_bytes
from search_spaces.costs.operators import Counter, meta
from search_spaces.named import load_space
from search_spaces.network import Network, build
from search_spaces.registry import SkipInit
from search_spaces.space import SearchSpace
from search_spaces.testing import members, name_of, named_spaces, no_shape_checks

SHARE = 250
"""Architectures per test of the 1,000: four tests, which several processes share."""


def counted(arch: Architecture) -> dict[str, float]:
    """Costs of the whole network, built and run once per counter, without anything remembered of its parts."""
    with torch.device("meta"), SkipInit():
        network = Network(arch).eval().requires_grad_(False)
    image = meta(1, arch.in_channels, arch.resolution, arch.resolution)
    with torch.no_grad(), Counter() as counter:
        network(image)
    held = activations.held(network, image)
    params = sum(p.numel() for p in network.parameters())
    return {"params": params, "macs": counter.macs, "activations": held, "memory": state_bytes(network) + held}


def check(space: SearchSpace, seed: int, number: int) -> None:
    rng = random.Random(seed)
    with no_shape_checks():
        for _ in range(number):
            arch = space.sample(rng)
            assert costs_of(arch, BUILT_IN) == counted(arch), arch.digest


def test_some_of_unified() -> None:
    check(load_space("unified"), seed=4, number=5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_of_unified(seed: int) -> None:
    check(load_space("unified"), seed, SHARE)


@pytest.mark.parametrize("space", [s for s in named_spaces() if s.name != "unified"], ids=name_of)
def test_memory_is_weights_buffers_and_activations(space: SearchSpace) -> None:
    """Of networks with weights: the bytes of their state in a file, and the feature maps that activations.py finds."""
    for seed, arch in enumerate(members(space, 2)):
        with no_shape_checks():
            network = build(arch, seed)
        tensors = {id(t): t.nbytes for t in (*network.parameters(), *network.buffers())}
        assert memory(arch) == sum(tensors.values()) + activations.activations(arch), arch.digest

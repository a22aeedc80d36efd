"""Units: one after the other they are the network, also in the form for inference, so that what is measured on them adds up to it."""

import dataclasses
import random
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, cost_named
from search_spaces.inference import inference_form
from search_spaces.named import load_space
from search_spaces.network import build
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.testing import noise, tame
from search_spaces.units import UnitModule, make_unit, output_size, unit_for_inference, unit_inputs, units

SPACES = ("digits", "images32", "unified")
PAPERS = ("emsnet_xxtiny", "hat_net_tiny", "linglo_b0", "mat_1", "partialformer_b0", "transxnet_tiny")
NAMES = (*(f"{space}-{seed}" for space in SPACES for seed in range(3)), *PAPERS)


@pytest.fixture(scope="module", params=NAMES)
def arch(request: pytest.FixtureRequest) -> Architecture:
    """Members of spaces and papers' networks, made when they are needed: loading all spaces would delay every collection of tests."""
    if request.param in PAPERS:
        return complete(dataclasses.replace(paper_network(request.param).arch, num_classes=10, resolution=64))
    name, _, seed = request.param.partition("-")
    space = load_space(name)
    return space.bind(3, 10, 64 if name == "unified" else space.resolution).sample(random.Random(int(seed)))


def with_weights_of(network: torch.nn.Module, name: str, unit: UnitModule) -> UnitModule:
    kind = unit.unit.kind
    whole = network.get_submodule(name.rpartition(".")[0] if kind in ("position", "mixer", "ffn") else name)
    state = whole.state_dict()
    if kind == "position":
        state = {key.removeprefix("position."): value for key, value in state.items() if key.startswith("position.")}
    if kind in ("mixer", "ffn"):
        state = {key: state[key] for key in unit.module.state_dict()}
    unit.module.load_state_dict(state)
    return unit


def chained(network: torch.nn.Module, arch: Architecture, x: Tensor, form: Callable[[UnitModule], Any]) -> Tensor:
    bias = None
    for name, unit in units(arch):
        assert (unit.height, unit.width) == tuple(x.shape[2:])
        module = form(with_weights_of(network, name, make_unit(unit)).eval())
        if unit.kind == "embedding":
            bias = None
        if unit.kind == "position_bias":
            bias = module(x)
            continue
        assert (unit.bias is not None) == (unit.kind == "mixer" and bias is not None and len(unit_inputs(unit)) == 2)
        x = module(x, bias) if unit.bias else module(x)
        if unit.kind != "head":
            assert tuple(x.shape[2:]) == output_size(unit)
    return x


@torch.no_grad()
def test_units_one_after_the_other_are_the_network(arch: Architecture) -> None:
    network = build(arch).eval()
    tame(network)
    x = noise(2, 3, arch.resolution, arch.resolution)
    assert torch.equal(chained(network, arch, x, lambda unit: unit), network(x))
    x = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(chained(network, arch, x, unit_for_inference), inference_form(network)(x))


@pytest.mark.parametrize("name", ["params", "macs"])
def test_costs_add_up_over_units(arch: Architecture, name: str) -> None:
    cost = cost_named(name)
    additive = cast(Additive, cost.additive)
    assert additive.base + sum(cast(float, additive.of_unit(unit)) for _, unit in units(arch)) == cost(arch)


def test_equal_units_are_one() -> None:
    arch = complete(dataclasses.replace(paper_network("hat_net_tiny").arch, num_classes=10, resolution=64))
    named = [unit for _, unit in units(arch)]
    assert len(set(named)) < len(named)
    assert str(cast(Any, named[0])).startswith("embedding hat_stem")

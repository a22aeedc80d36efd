"""The papers' families at a budget: near it from below, on the line through their variants, and made for small images."""

import importlib
from functools import cache
from itertools import pairwise

import pytest
import torch

from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.network import build
from search_spaces.papers import paper_network
from search_spaces.scaling import FAMILIES, FIRST_MAP, FIXED_RATIO, MULTIPLE, NARROWEST, candidates, scaled
from search_spaces.walking import map_sides

ALL = [*FAMILIES, FIXED_RATIO]


@cache
def at(limit: float, family: str) -> Architecture:
    """The family at a budget of MACs, for the images of the generated task."""
    return scaled(family, limit, 3, 8, 32)


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize(
    "limit", [4e6, pytest.param(2.4e6, marks=pytest.mark.slow), pytest.param(12e6, marks=pytest.mark.slow)]
)
def test_a_family_fills_its_budget(family: str, limit: float) -> None:
    arch = at(limit, family)
    assert 0.95 * limit <= macs(arch) <= limit
    assert (arch.in_channels, arch.num_classes, arch.resolution) == (3, 8, 32)


@pytest.mark.parametrize("family", ALL)
def test_a_scaled_network_runs_on_its_images(family: str) -> None:
    arch = at(4e6, family)
    assert map_sides(arch)[0] == FIRST_MAP
    network = build(arch, seed=0).train()
    loss = network(torch.randn(4, 3, 32, 32)).square().sum()
    loss.backward()
    assert torch.isfinite(loss)
    idle = [name for name, p in network.named_parameters() if p.grad is None]
    assert all(family == "hat_net" and "norm" in name for name in idle)  # its published norm that nothing uses
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_line_goes_through_the_smallest_variant(family: str) -> None:
    variants = list(importlib.import_module(f"search_spaces.papers.{family}").VARIANTS)
    smallest = paper_network(variants[0]).arch
    line = candidates(family, 1, 10, 32)
    sizes = [[(stage.width, len(stage.blocks)) for stage in arch.stages] for arch in line]
    assert [(stage.width, len(stage.blocks)) for stage in smallest.stages] in sizes
    for before, after in pairwise(sizes):  # nothing shrinks along it
        assert all(one[0] <= other[0] and one[1] <= other[1] for one, other in zip(before, after, strict=True))
    assert min(width for width, _ in sizes[0]) == NARROWEST.get(family, MULTIPLE)
    assert min(depth for _, depth in sizes[0]) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_are_the_papers_own(family: str) -> None:
    variants = list(importlib.import_module(f"search_spaces.papers.{family}").VARIANTS)
    paper = paper_network(variants[0]).arch
    arch = at(4e6, family)
    for stage, published, side in zip(arch.stages, paper.stages, map_sides(arch), strict=True):
        for block in stage.blocks:
            own = block.mixer.values()
            assert block.mixer.name == published.blocks[0].mixer.name
            assert int(str(own.get("window_size", 0))) <= side
            for name, value in published.blocks[0].mixer.values().items():
                assert own[name] == value or (name == "window_size" and own[name] == side)
            assert block.ffn.values() == block.ffn.values() | published.blocks[0].ffn.values()


def test_the_fixed_ratio_is_fixed() -> None:
    arch = at(4e6, FIXED_RATIO)
    assert {block.mixer.values()["attention_ratio"] for stage in arch.stages for block in stage.blocks} == {0.5}
    assert map_sides(arch) == [16, 8, 4]


def test_any_cost_that_grows_can_be_limited() -> None:
    asked: list[int] = []

    def steps(arch: object) -> float:
        asked.append(1)
        return sum(stage.width * len(stage.blocks) for stage in arch.stages)  # type: ignore[attr-defined]

    arch = scaled("mat", 900, 3, 8, 32, steps)
    assert 850 <= steps(arch) <= 900
    assert len(asked) < 40  # each may be a measurement


def test_what_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(InputError, match="emsnet costs at most 1"):
        scaled("emsnet", 1e5, 3, 8, 32)
    with pytest.raises(InputError) as error:
        scaled("mta", 4e6, 3, 8, 32)
    assert error.value.instead == "mat"
    with pytest.raises(InputError, match="resolution is 33"):
        scaled("mat", 4e6, 3, 8, 33)

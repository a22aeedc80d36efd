"""The hand-designed network."""

import math
import random

import pytest

from nas.searching.baselines import hand_designed
from search_spaces.costs.activations import activations
from search_spaces.costs.macs import macs
from search_spaces.costs.params import params
from search_spaces.named import load_space, read_space, space_names
from search_spaces.space import Cost

PLAIN_IS_CHEAPEST = [name for name in space_names() if read_space(name).resolution < 128]
"""Spaces for small images, in which the first part of each slot is the cheapest."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "hat_net" else pytest.mark.slow)
        for name in space_names()
        if name not in PLAIN_IS_CHEAPEST
    ],
)
def test_a_large_space_has_a_plain_network(name: str) -> None:
    space = load_space(name)
    arch = hand_designed(space, macs, macs(space.sample(random.Random(0))))
    assert space.contains(arch)
    for stage, choices in zip(arch.stages, space.stages, strict=True):
        assert {block.mixer.name for block in stage.blocks} == {choices.blocks[2][0].name}
        # Where both branches bring norms of their own, the block has none.
        assert {block.norm.name for block in stage.blocks} <= {choices.blocks[1][0].name, "none"}
        assert "none" not in {block.mixer.name for block in stage.blocks}


@pytest.mark.parametrize("name", PLAIN_IS_CHEAPEST)
def test_is_plain_and_near_the_target(name: str) -> None:
    space = load_space(name)
    for target in (macs(space.smallest(macs)), *(macs(space.sample(random.Random(seed))) for seed in range(3))):
        arch = hand_designed(space, macs, target)
        assert space.contains(arch)
        assert hand_designed(space, macs, target) == arch
        for stage, choices in zip(arch.stages, space.stages, strict=True):
            assert {block.mixer.name for block in stage.blocks} == {choices.blocks[2][0].name}
            assert {block.ffn.name for block in stage.blocks} == {choices.blocks[3][0].name}
            assert len(set(stage.blocks)) == 1
    assert macs(hand_designed(space, macs, macs(space.smallest(macs)))) == macs(space.smallest(macs))


@pytest.mark.parametrize("name", PLAIN_IS_CHEAPEST)
def test_no_plain_network_is_nearer(name: str) -> None:
    space = load_space(name)
    plain = {macs(hand_designed(space, macs, round(10**exponent))) for exponent in (5.5, 6.0, 6.2, 6.4, 6.6, 7.0)}
    for target in sorted(plain):
        assert math.isclose(macs(hand_designed(space, macs, target)), target)


@pytest.mark.parametrize("cost", [params, activations], ids=["params", "activations"])
def test_any_cost_can_be_the_target(cost: Cost) -> None:
    space = load_space("digits")
    for seed in range(3):
        target = cost(space.sample(random.Random(seed)))
        arch = hand_designed(space, cost, target)
        assert space.contains(arch)
        others = (hand_designed(space, macs, macs(space.sample(random.Random(other)))) for other in range(3))
        distance = abs(math.log(cost(arch) / target))
        assert all(distance <= abs(math.log(cost(other) / target)) for other in others)

"""The hand-made network."""

import math
import random

import pytest

from nas.baselines import hand_made
from search_spaces.costs.macs import macs
from search_spaces.named import load_space, read_space, space_names

PLAIN_IS_CHEAPEST = [name for name in space_names() if read_space(name).resolution < 128]
"""Spaces for small images, in which the first part of each slot is the cheapest."""


@pytest.mark.parametrize("name", [name for name in space_names() if name not in PLAIN_IS_CHEAPEST])
def test_a_large_space_has_a_plain_network(name: str) -> None:
    space = load_space(name)
    arch = hand_made(space, macs(space.sample(random.Random(0))))
    assert space.contains(arch)
    for stage, choices in zip(arch.stages, space.stages, strict=True):
        assert {block.mixer.name for block in stage.blocks} == {choices.blocks[2][0].name}
        assert {block.norm.name for block in stage.blocks} == {choices.blocks[1][0].name}
        assert "none" not in {block.mixer.name for block in stage.blocks}


@pytest.mark.parametrize("name", PLAIN_IS_CHEAPEST)
def test_is_plain_and_near_the_target(name: str) -> None:
    space = load_space(name)
    for target in (macs(space.smallest(macs)), *(macs(space.sample(random.Random(seed))) for seed in range(3))):
        arch = hand_made(space, target)
        assert space.contains(arch)
        assert hand_made(space, target) == arch
        for stage, choices in zip(arch.stages, space.stages, strict=True):
            assert {block.mixer.name for block in stage.blocks} == {choices.blocks[2][0].name}
            assert {block.ffn.name for block in stage.blocks} == {choices.blocks[3][0].name}
            assert len(set(stage.blocks)) == 1
    assert macs(hand_made(space, macs(space.smallest(macs)))) == macs(space.smallest(macs))


@pytest.mark.parametrize("name", PLAIN_IS_CHEAPEST)
def test_no_plain_network_is_nearer(name: str) -> None:
    space = load_space(name)
    plain = {macs(hand_made(space, round(10**exponent))) for exponent in (5.5, 6.0, 6.2, 6.4, 6.6, 7.0)}
    for target in sorted(plain):
        assert math.isclose(macs(hand_made(space, target)), target)

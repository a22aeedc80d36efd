"""The hand-made network."""

import math
import random

import pytest

from nas.baselines import hand_made
from search_spaces.cost import macs
from search_spaces.named import load_space, space_names


@pytest.mark.parametrize("name", space_names())
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


@pytest.mark.parametrize("name", space_names())
def test_no_plain_network_is_nearer(name: str) -> None:
    space = load_space(name)
    plain = {macs(hand_made(space, round(10**exponent))) for exponent in (5.5, 6.0, 6.2, 6.4, 6.6, 7.0)}
    for target in sorted(plain):
        assert math.isclose(macs(hand_made(space, target)), target)

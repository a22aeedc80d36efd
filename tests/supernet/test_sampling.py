"""Which sub-networks a step runs: operators dealt evenly, both ends of the space, and seeds that depend on the step alone."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from search_spaces.testing import name_of, named_spaces, no_shape_checks, small
from supernet.sampling import deal, sandwich
from supernet.seeding import derive_seed
from supernet.supernet import Supernet
from tests.supernet.steps import sandwich_paths

DIGITS = small(load_space("digits"), resolution=8)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_dealing_is_even(choices: int, paths: int, seed: int) -> None:
    dealt = Counter(deal(choices, paths, random.Random(seed)))
    assert sum(dealt.values()) == paths
    counts = [dealt[choice] for choice in range(choices)]
    assert max(counts) - min(counts) <= 1
    assert set(dealt) <= set(range(choices))


def test_dealing_has_no_favourites() -> None:
    """Over many steps every choice comes first equally often, also where the paths do not go round."""
    rng = random.Random(0)
    for paths in (2, 4):
        first = Counter(deal(3, paths, rng)[0] for _ in range(3000))
        assert all(900 < first[choice] < 1100 for choice in range(3))


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
@pytest.mark.parametrize("random_paths", [0, 1, 2, 5])
def test_sandwich(space: SearchSpace, random_paths: int) -> None:
    for seed in range(5):
        archs = sandwich(space, random.Random(seed), random_paths)
        assert len(archs) == 2 + random_paths
        assert all(map(space.contains, archs))
        assert archs == sandwich(space, random.Random(seed), random_paths)
        for arch, pick in ((archs[0], -1), (archs[1], 0)):
            for stage, choices in zip(arch.stages, space.stages, strict=True):
                assert stage.width == choices.width[pick]
                assert len(stage.blocks) == choices.depth[pick]
            # Every option of every part that the path has is at its end.
            code = space.encode(arch)
            for position in space.active(code):
                gene = space.genes[position]
                if not gene.chooses_part:  # an end that is the same function as another value is written as that one
                    ends = (*code[:position], len(gene.choices) - 1 if pick else 0, *code[position + 1 :])
                    assert space.decode(ends) == arch, gene.name
    drawn = random_paths > 0 or any(gene.chooses_part for gene in space.genes)  # or there is nothing to draw
    assert (archs != sandwich(space, random.Random(99), random_paths)) == drawn


def test_sandwich_deals_every_operator_once() -> None:
    mixers = {"depthwise_conv", "d_mixer", "partial_attention", "global_attention"}
    for seed in range(20):
        archs = sandwich(DIGITS, random.Random(seed), random_paths=2)
        for stage in range(2):
            first = [arch.stages[stage].blocks[0] for arch in archs]
            assert {block.mixer.name for block in first} == mixers
            assert Counter(block.ffn.name for block in first) == {"mlp": 2, "ms_ffn": 2}


def test_random_paths_are_random() -> None:
    drawn = [sandwich(DIGITS, random.Random(seed), 1)[2] for seed in range(60)]
    assert {arch.stages[1].width for arch in drawn} == set(DIGITS.stages[1].width)
    assert {len(arch.stages[1].blocks) for arch in drawn} == set(DIGITS.stages[1].depth)


def test_paths_of_a_step_depend_on_the_seed_and_the_step_alone() -> None:
    supernet = Supernet(DIGITS)
    one, other = sandwich_paths(supernet.space, 1, 2), sandwich_paths(supernet.space, 1, 2, largest_only_steps=3)
    late_first = [one(5), one(0), one(3)]
    assert late_first == [one(5), one(0), one(3)]
    assert one(0) != one(1)
    assert sandwich_paths(supernet.space, 2, 2)(5) != one(5)
    assert [len(other(step)) for step in range(5)] == [1, 1, 1, 4, 4]
    assert other(2) == one(2)[:1]
    assert other(3) == one(3)
    with no_shape_checks():  # beartype draws which items of a list it checks
        state = random.getstate()
        one(7)
        assert random.getstate() == state


def test_derived_seeds() -> None:
    assert derive_seed(0, "train", 1) == derive_seed(0, "train", 1) == 5636930655764486229
    seen = {
        derive_seed(*parts) for parts in [(), (0,), (1,), ("0",), (0, 1), (1, 0), (0, "1"), ((0, 1),), (0, "train", 1)]
    }
    assert len(seen) == 9
    many = [derive_seed(0, step) for step in range(2000)]
    assert len(set(many)) == len(many)
    assert all(0 <= seed < 2**63 for seed in many)
    assert 0.4 < sum(seed > 2**62 for seed in many) / len(many) < 0.6
    torch.manual_seed(many[0])

"""Small spaces with choices of the whole network and with genes that may have no effect: every function is counted, drawn and narrowed once."""

import dataclasses
import itertools
import math
import random
from collections import Counter
from functools import cache

import numpy as np
import pytest

from search_spaces import tilting
from search_spaces.architecture import Architecture, Part
from search_spaces.costs import pieces
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError
from search_spaces.feasible import FeasibleSampler
from search_spaces.fixing import fixed
from search_spaces.named import check
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from search_spaces.space.neighbours import Neighbours
from search_spaces.writing import to_toml

TIED = """
name = "tied"
in_channels = 2
num_classes = 3
resolution = 8
per_network = ["mixer.d_mixer.attention_ratio", "norm"]
head = { part = "linear_head" }
[block]
position = { part = "none" }
norm = [{ part = "layer_norm" }, { part = "group_norm" }]
scale = { part = "none" }
mixer = [
    { part = "d_mixer", attention_ratio = [0.25, 0.5], head_dim = [3, 4], kernel_size = 3 },
    { part = "depthwise_conv", kernel_size = 3 },
]
ffn = { part = "mlp", ratio = [1, 2] }
[[stages]]
width = [8, 16]
depth = [0, 1]
embedding = { part = "conv_stem", stride = 2 }
per_stage = ["mixer.d_mixer.head_dim"]
[[stages]]
width = 16
depth = [1, 2]
embedding = { part = "conv_downsampling" }
"""

OWN = """
name = "own"
in_channels = 2
num_classes = 3
resolution = 8
head = { part = "linear_head" }
[block]
position = { part = "none" }
norm = [{ part = "layer_norm" }, { part = "group_norm" }]
scale = { part = "none" }
ffn = [{ part = "inverted_residual", ratio = 1 }, { part = "mlp", ratio = 1 }]
[[stages]]
width = [8, 10]
depth = [0, 2]
embedding = { part = "conv_stem", stride = 2 }
mixer = [{ part = "h_mhsa", head_dim = [4, 5], window_size = [1, 2], pool_size = [1, 2] }, { part = "none" }]
per_stage = ["norm", "mixer.h_mhsa.head_dim"]
[[stages]]
width = 16
depth = 1
embedding = { part = "conv_downsampling" }
mixer = { part = "none" }
"""

# A stage that lacks one of two options of a part which the others share, and one that lacks the part.
PARTLY = """
name = "partly"
in_channels = 2
num_classes = 3
resolution = 8
per_network = ["mixer.d_mixer.overlap", "mixer.d_mixer.enhancer"]
head = { part = "linear_head" }
[block]
position = { part = "none" }
norm = { part = "group_norm" }
scale = { part = "none" }
ffn = { part = "mlp", ratio = 1 }
[[stages]]
width = [8, 16]
depth = [0, 1]
embedding = { part = "conv_stem", stride = 2 }
mixer = [
    { part = "d_mixer", sr_ratio = 2, kernel_size = 3, overlap = [true, false], enhancer = ["ste", "conv1x1"] },
    { part = "none" },
]
[[stages]]
width = 16
depth = [0, 2]
embedding = { part = "conv_downsampling" }
mixer = { part = "d_mixer", kernel_size = [3, 5], enhancer = ["ste", "conv1x1"] }
[[stages]]
width = 16
depth = 1
embedding = { part = "conv_downsampling" }
mixer = [{ part = "identity" }, { part = "pooling" }]
"""

SMALL = [check(SearchSpace.from_toml(text)) for text in (TIED, OWN, PARTLY)]
small = pytest.mark.parametrize("space", SMALL, ids=lambda space: space.name)


@cache
def every_member(space: SearchSpace) -> dict[Architecture, tuple[int, ...]]:
    """A gene vector of each member."""
    return {space.decode(g): g for g in itertools.product(*(range(len(gene.choices)) for gene in space.genes))}


@small
def test_size_counts_functions(space: SearchSpace) -> None:
    assert space.size == len(every_member(space)) == len({arch.digest for arch in every_member(space)})


@small
def test_genes_decoded_after_similar_ones(space: SearchSpace) -> None:
    """What a descent remembers of a stage holds beside shared choices and for the map that the stage gets."""
    near, rng, seen = Neighbours(space), random.Random(0), dict[Architecture, tuple[int, ...]]()
    for _ in range(200):
        genes = tuple(rng.randrange(len(gene.choices)) for gene in space.genes)
        arch = space.decode(genes)
        assert near.decode(genes) == arch
        assert tuple(near.active(genes)) == space.active(genes)
        objects = tuple(map(id, near.pieces(genes)[0]))
        assert seen.setdefault(arch, objects) == objects


@small
def test_descents_end_at_the_least_and_the_most(space: SearchSpace) -> None:
    macs = [pieces.cost(arch).macs for arch in every_member(space)]
    assert cost_of(space.smallest(cost_of)) == min(macs)
    assert cost_of(space.largest(cost_of)) == max(macs)


def cost_of(arch: Architecture) -> float:
    return pieces.cost(arch).macs


@small
def test_genes_that_matter_are_those_that_change_something(space: SearchSpace) -> None:
    for arch, genes in random.Random(0).sample(sorted(every_member(space).items(), key=lambda pair: pair[1]), 40):
        matter = {
            position
            for position, gene in enumerate(space.genes)
            if any(
                space.decode((*genes[:position], i, *genes[position + 1 :])) != arch for i in range(len(gene.choices))
            )
        }
        assert set(space.active(genes)) == matter
        code = space.encode(arch)
        assert space.decode(code) == arch
        assert all(code[position] == 0 for position in range(len(code)) if position not in matter)


def test_a_choice_of_the_whole_network() -> None:
    space = SMALL[0]
    assert {"mixer.d_mixer.attention_ratio", "norm"} <= {gene.name for gene in space.genes}
    for arch in every_member(space):
        blocks = [block for stage in arch.stages for block in stage.blocks]
        ratios = {dict(block.mixer.options).get("attention_ratio") for block in blocks} - {None}
        assert len(ratios) <= 1
        assert len({block.norm for block in blocks}) <= 1
    again = check(SearchSpace.from_toml(to_toml(space)))
    assert again == space
    assert again.digest == space.digest
    assert check(SearchSpace.from_dict(space.to_dict())) == space
    assert dataclasses.replace(space, per_network=()).digest != space.digest


def test_fixing_a_choice_of_the_whole_network_fixes_it_everywhere() -> None:
    left = fixed(SMALL[0], ["stages.1.mixer.d_mixer.attention_ratio=0.5"])
    assert left.contains(next(iter(every_member(left))))
    expected = {
        arch
        for arch in every_member(SMALL[0])
        if all(dict(b.mixer.options).get("attention_ratio", 0.5) == 0.5 for s in arch.stages for b in s.blocks)
    }
    assert set(every_member(left)) == expected


def test_a_broken_tie_of_the_whole_network_is_refused() -> None:
    arch = max(every_member(SMALL[0]), key=lambda arch: sum(len(s.blocks) for s in arch.stages))
    last = arch.stages[-1]
    other = Part("group_norm", last.blocks[0].norm.options) if last.blocks[0].norm.name == "layer_norm" else Part("layer_norm", last.blocks[0].norm.options)  # fmt: skip
    changed = dataclasses.replace(last, blocks=(dataclasses.replace(last.blocks[0], norm=other), *last.blocks[1:]))
    with pytest.raises(InputError, match="norm"):
        SMALL[0].encode(dataclasses.replace(arch, stages=(*arch.stages[:-1], changed)))


@pytest.mark.parametrize(
    ("old", "new", "given"),
    [
        ('["mixer.d_mixer.attention_ratio", "norm"]', '["mixer.d_mixer.ratio"]', "per_network: 'mixer.d_mixer.ratio'"),
        ('["mixer.d_mixer.attention_ratio", "norm"]', '"norm"', "per_network is 'norm'"),
        (
            "width = 16\ndepth = [1, 2]",
            'width = 16\ndepth = [1, 2]\nnorm = { part = "layer_norm" }',
            "different choices",
        ),
    ],
)
def test_wrong_ties_are_refused(old: str, new: str, given: str) -> None:
    assert old in TIED
    with pytest.raises(InputError, match=given):
        check(SearchSpace.from_toml(TIED.replace(old, new)))


@pytest.mark.parametrize(
    ("space", "late"), [(SMALL[0], False), (SMALL[0], True), (SMALL[1], False)], ids=["shared", "late", "own"]
)
def test_feasible_members_have_the_distribution_of_rejection(
    space: SearchSpace, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if late:  # tied options are not told apart by contexts
        monkeypatch.setattr(tilting, "LARGEST_TABLE", 1)
    words = np.array(list(itertools.product(*(range(len(gene.choices)) for gene in space.genes))))
    macs = SpaceCosts(space, ["macs"]).costs(words)["macs"]
    low, high = np.percentile(macs, (40, 55))
    inside = words[(macs >= low) & (macs <= high)]

    def group(genes: np.ndarray) -> tuple[int, ...]:
        """What is compared: all choices but those of the last stage's blocks."""
        code = space.encode(space.decode(tuple(genes)))
        return tuple(i for gene, i in zip(space.genes, code, strict=True) if not gene.name.startswith("s1.b"))

    expected = Counter(map(group, inside[:: max(1, len(inside) // 2000)].tolist()))
    drawn = FeasibleSampler(space, [("macs", float(low), float(high))]).sample_many(2000, np.random.default_rng(1))
    assert all(space.encode(space.decode(tuple(row))) == tuple(row) for row in drawn[:50].tolist())
    found, total = Counter(map(group, drawn.tolist())), sum(expected.values())
    # Both are samples: the statistic of two samples, over the groups that are met often enough.
    often = [key for key in expected | found if expected[key] + found[key] >= 20]
    share = math.sqrt(2000 / total)
    chi = sum((expected[k] * share - found[k] / share) ** 2 / (expected[k] + found[k]) for k in often)
    assert sum(found[key] for key in often) > 0.8 * 2000
    assert abs(chi - len(often)) < 5 * math.sqrt(2 * len(often))


@small
def test_costs_in_bulk_are_those_of_members(space: SearchSpace) -> None:
    rng = random.Random(0)
    rows = [tuple(rng.randrange(len(gene.choices)) for gene in space.genes) for _ in range(60)]
    costs = SpaceCosts(space, ["params", "macs"])
    found = costs.costs(np.array(rows))
    for number, row in enumerate(rows):
        arch = space.decode(row)
        assert (found["params"][number], found["macs"][number]) == pieces.cost(arch)
        assert costs.one(space.encode(arch)) == {name: values[number] for name, values in found.items()}


@small
def test_narrowing_keeps_every_feasible_member(space: SearchSpace) -> None:
    found = {arch: pieces.cost(arch).macs for arch in every_member(space)}
    limit = sorted(found.values())[len(found) // 5]
    left = narrowed(space, {"macs": (None, limit)})
    kept = every_member(left)
    assert {arch for arch, macs in found.items() if macs <= limit} <= set(kept)
    assert set(kept) <= set(found)
    assert len(kept) == left.size

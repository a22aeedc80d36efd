"""One function, one architecture: genes without effect are found, counted once and given one digest; norms are where they belong."""

import dataclasses
import itertools
import math
import random
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces import tilting
from search_spaces.architecture import SLOTS, Architecture, Block, Part
from search_spaces.canonical import canonical, canonical_part, for_resolution, resized
from search_spaces.costs import pieces
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError
from search_spaces.feasible import FeasibleSampler
from search_spaces.fixing import fixed
from search_spaces.named import check, claim_names, load_space, space_names
from search_spaces.narrowing import narrowed
from search_spaces.network import Network, children, own_norms
from search_spaces.papers import paper_networks
from search_spaces.registry import SkipInit, complete, complete_part, lookup
from search_spaces.space import SearchSpace
from search_spaces.space.neighbours import Neighbours
from search_spaces.testing import no_shape_checks, noise
from search_spaces.writing import to_toml

NEIGHBOURS = 8
"""Random pairs of each named space that differ in one gene, of a run of all tests."""

MANY = 10_000
"""The same of the slow test."""


def filled(name: str, tensor: Tensor) -> Tensor:
    """Numbers that depend on a tensor's name and shape only, as slices of one bank: positive for running variances."""
    key = sum(ord(letter) * (place + 1) for place, letter in enumerate(name))
    values = torch.arange(tensor.numel(), dtype=torch.float64) * 0.6180339887498949 + key * 0.7548776662466927
    values = (values % 1.0 - 0.5).to(torch.float32).reshape(tensor.shape)
    return values.abs() + 0.5 if name.endswith("running_var") else values * (0.3 if tensor.dim() > 1 else 1.0)


def outputs(arch: Architecture, side: int) -> list[Tensor]:
    """What a network computes on weights that are named, in evaluation and in training mode."""
    with torch.device("meta"), SkipInit():
        network = Network(arch)
    state = {
        name: filled(name, tensor) if tensor.is_floating_point() else torch.zeros((), dtype=torch.long)
        for name, tensor in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    found = []
    for training in (False, True):
        torch.manual_seed(0)
        with torch.no_grad():
            found.append(network.train(training)(noise(2, arch.in_channels, side, side, seed=5)))
    return found


def neighbours(space: SearchSpace, count: int, seed: int = 0) -> list[tuple[str, Architecture, Architecture]]:
    """Pairs of members that differ in one gene, of other digests: the gene's name, and both."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        one = space.sample(rng)
        genes = list(space.encode(one))
        position = rng.choice(space.active(tuple(genes)))
        genes[position] = (genes[position] + rng.randrange(1, len(space.genes[position].choices))) % len(
            space.genes[position].choices
        )
        other = space.decode(tuple(genes))
        if other.digest != one.digest:
            found.append((space.genes[position].name, one, other))
    return found


def shortened(one: Architecture, other: Architecture) -> tuple[Architecture, Architecture]:
    """What differs between two networks: the first stage that does, with the first block that does, or the heads."""
    side, dim = one.resolution, one.in_channels
    for first, second in zip(one.stages, other.stages, strict=True):
        if first != second:
            pairs = list(zip(first.blocks, second.blocks, strict=True))
            block = next((b for b, (x, y) in enumerate(pairs) if x != y), 0)
            stages = [dataclasses.replace(stage, blocks=stage.blocks[block : block + 1]) for stage in (first, second)]
            head = Part.of("linear_head", norm="none", dropout=0.0)
            return tuple(Architecture(in_channels=dim, num_classes=3, resolution=side, stages=(stage,), head=head) for stage in stages)  # type: ignore[return-value]  # fmt: skip
        side = pieces.part_cost("embedding", first.embedding, (dim, first.width), side, side).height
        dim = first.width
    return tuple(dataclasses.replace(arch, in_channels=dim, resolution=side, stages=()) for arch in (one, other))  # type: ignore[return-value]


@cache
def are_equal(one: Architecture, other: Architecture) -> bool:
    pairs = zip(outputs(one, one.resolution), outputs(other, other.resolution), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def is_alias(one: Architecture, other: Architecture) -> bool:
    """Whether two networks of the same depths are one function: of one cost, and with the same outputs."""
    if [len(s.blocks) for s in one.stages] != [len(s.blocks) for s in other.stages] or pieces.cost(one) != pieces.cost(
        other
    ):
        return False
    return are_equal(*shortened(one, other))


def aliased(space: SearchSpace, count: int, seed: int = 0) -> list[str]:
    with no_shape_checks():
        return sorted({name for name, one, other in neighbours(space, count, seed) if is_alias(one, other)})


@pytest.mark.parametrize("name", space_names())
def test_neighbours_are_other_functions(name: str) -> None:
    space = load_space(name)
    assert aliased(space.bind(3, 10, min(64, space.resolution)), NEIGHBOURS) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*space_names(), *claim_names()])
def test_many_neighbours_are_other_functions(name: str) -> None:
    assert aliased(load_space(name), MANY, seed=1) == []


def test_an_alias_that_is_not_declared_is_found() -> None:
    space = dataclasses.replace(load_space("hat_net"), rules=None)
    assert any(name.endswith("head_dim") for name in aliased(space, 100))


def branches(arch: Architecture) -> list[tuple[Part, bool, bool]]:
    """The part of each residual branch, and whether it brings a norm and whether its block gives it one."""
    found = []
    for stage in arch.stages:
        for block in stage.blocks:
            made = children(block)["norm"] if block.norm.name != "none" else ()
            for kind, norm in (("mixer", "norm1"), ("ffn", "norm2")):
                part = getattr(block, kind)
                if part.name != "none":
                    found.append((part, lookup(kind, part.name).brings_norm, norm in made))
    return found


def test_every_branch_of_the_unified_space_has_one_norm() -> None:
    space, rng = load_space("unified"), random.Random(0)
    seen = set()
    for _ in range(300):
        for part, own, given in branches(space.sample(rng)):
            assert own != given, f"{part.name} brings {own}, is given {given}"
            seen.add((own, given))
    assert seen == {(True, False), (False, True)}


def test_a_norm_is_left_out_where_a_part_brings_its_own() -> None:
    none = Part("none")
    own = {"mixer": Part("h_mhsa"), "ffn": Part("inverted_residual")}
    plain = {"mixer": Part("depthwise_conv"), "ffn": Part("mlp")}
    for mixer, ffn in itertools.product((own["mixer"], plain["mixer"], none), (own["ffn"], plain["ffn"])):
        block = Block(position=none, norm=Part("layer_norm"), mixer=mixer, ffn=ffn, scale=none)
        made = children(block)["norm"]
        assert ("norm1" in made) == (mixer == plain["mixer"])
        assert ("norm2" in made) == (ffn == plain["ffn"])
        assert set(made) & set(own_norms(block)) == set()


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_papers_networks_keep_what_they_are_and_are_members(every: bool) -> None:
    families = {network.family: network for network in reversed(paper_networks())}
    for network in paper_networks(ablations=True) if every else families.values():
        arch = complete(network.arch)
        space = load_space(network.family)
        assert canonical(canonical(arch)) == canonical(arch)
        assert space.decode(space.encode(arch)) == canonical(arch)
        assert pieces.cost(canonical(arch)) == pieces.cost(arch)


SAME = [
    ("mixer", "h_mhsa", {"window_size": 1, "pool_size": 2}, {"window_size": 1, "pool_size": 4}),
    ("mixer", "ems", {"operators": "identity", "static_split": (0.5, 0.25, 0.25)}, {"operators": "identity", "kernel_size": 5}),
    ("mixer", "ems", {"operators": "whiten", "coordinate_kernel_size": 3}, {"operators": "whiten"}),
    ("mixer", "window_attention", {"head_dim": 20}, {"head_dim": 32}),
    ("mixer", "partial_attention", {"foreground_ratio": 0.99, "background_residual": True}, {"foreground_ratio": 1.0}),
    ("mixer", "partial_attention", {"foreground_ratio": 0.245}, {"foreground_ratio": 0.25}),
    ("position_bias", "dense_table", {"map_size": 7, "resize": "grid"}, {"map_size": 7, "resize": "flat"}),
    ("embedding", "patch_embedding", {"norm": "batch_norm", "eps": 0.1}, {"norm": "batch_norm"}),
]  # fmt: skip
OTHER = [
    ("mixer", "h_mhsa", {"window_size": 7, "pool_size": 2}, {"window_size": 7, "pool_size": 4}),
    ("mixer", "ems", {"operators": "pyramid", "static_split": (0.5, 0.25, 0.25)}, {"operators": "pyramid"}),
    ("mixer", "window_attention", {"head_dim": 16}, {"head_dim": 32}),
    ("mixer", "partial_attention", {"foreground_ratio": 0.5}, {"foreground_ratio": 0.25}),
    ("position_bias", "dense_table", {"map_size": 14, "resize": "grid"}, {"map_size": 14, "resize": "flat"}),
    ("embedding", "patch_embedding", {"norm": "group_norm", "eps": 0.1}, {"norm": "group_norm"}),
]  # fmt: skip


@pytest.mark.parametrize(("cases", "same"), [(SAME, True), (OTHER, False)], ids=["same", "other"])
def test_parts_say_which_options_matter(cases: list, same: bool) -> None:
    for kind, name, *options in cases:
        one, other = (
            canonical_part(kind, complete_part(kind, Part.of(name, **values)), (32, 32), 7, 7) for values in options
        )
        assert (one == other) == same, (name, options)
        assert canonical_part(kind, one, (32, 32), 7, 7) == one


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


def test_bind_makes_position_tables_for_the_new_maps() -> None:
    space = load_space("transxnet").bind(3, 10, 128)
    sizes = [dict(stage.position_bias[1].options)["map_size"] for stage in space.stages]
    assert sizes == [(32,), (16,), (8,), (4,)]
    network = next(network for network in paper_networks() if network.family == "transxnet")
    arch = dataclasses.replace(for_resolution(complete(network.arch), 128), num_classes=10)
    assert space.contains(arch)
    assert load_space("transxnet").bind(3, 10, 224).stages == load_space("transxnet").stages


def test_bind_makes_absolute_positions_for_the_new_maps() -> None:
    space = load_space("linglo").bind(3, 10, 64)
    offered = [dict(stage.blocks[SLOTS.index("position")][1].options)["map_size"] for stage in space.stages]
    assert offered == [(16,), (8,), (4,), (2,)]
    member = load_space("linglo").sample(random.Random(0))
    moved = dataclasses.replace(for_resolution(member, 64), num_classes=10)
    assert any(block.position.name == "absolute" for stage in moved.stages for block in stage.blocks)
    assert space.contains(moved)
    other = Part.of("absolute", map_size=10)  # not of this stage's map: it stays what it is
    assert resized("position", other, 14, 4) == other


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

"""One function, one architecture: genes without effect are found and given one digest, norms are where they belong, and tables of positions fit their maps."""

import dataclasses
import itertools
import random
from functools import cache

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import SLOTS, Architecture, Block, Part
from search_spaces.canonical import canonical, canonical_part, for_resolution, resized
from search_spaces.costs import pieces
from search_spaces.named import claim_names, load_space, space_names
from search_spaces.network import Network, children, own_norms
from search_spaces.papers import paper_networks
from search_spaces.registry import SkipInit, complete, complete_part, lookup
from search_spaces.space import SearchSpace
from search_spaces.testing import no_shape_checks, noise
from tests.often import often

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


@pytest.mark.parametrize("name", often(space_names()))
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

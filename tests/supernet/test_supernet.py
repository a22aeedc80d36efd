"""Laws 3 and 5 for every named space and around every part; slices, banks, and what a supernet survives."""

import copy
import dataclasses
import io
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces import registry
from search_spaces.architecture import Architecture, Part
from search_spaces.costs.macs import macs
from search_spaces.costs.params import params
from search_spaces.named import check, load_space
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.testing import (
    assert_same,
    elastic_space,
    elastic_spaces,
    members,
    name_of,
    named_spaces,
    no_shape_checks,
    noise,
    randomise,
    shared_out,
    small,
    tame,
)
from supernet import supernet as supernet_module
from supernet.calibration import calibrate
from supernet.slicing import slice_like
from supernet.supernet import Supernet, network_skeleton
from supernet.testing import SupernetLaws, images, repeated, state_of, supernet_of


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
class TestNamedSpaces(SupernetLaws):
    num_members = shared_out(100)


@pytest.mark.slow
@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
def test_two_hundred_subnetworks_are_their_extracted_networks(space: SearchSpace) -> None:
    laws = SupernetLaws()
    laws.num_members = 200
    laws.test_a_subnetwork_is_its_extracted_network(space)


@pytest.mark.slow
def test_two_hundred_subnetworks_of_the_whole_unified_space() -> None:
    """At its real widths and depths, on small images, and some at 224; about 6 GB."""
    space = load_space("unified").bind(3, 10, 64)
    supernet = Supernet(space)
    tame(supernet).eval()
    rng = random.Random(0)
    with no_shape_checks(), torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.dim() > 1:
                parameter.mul_(0.2)  # a member may have no norm at all, and products of features in each of its blocks
        for index in range(200):
            arch = space.sample(rng)
            buffers = calibrate(supernet, arch, [images(space, 2, seed=11)])
            network = supernet.extract(arch, buffers)
            for side in (64, 224) if index < 10 else (64,):
                x = noise(1, 3, side, side)
                y = supernet(x, arch, buffers)
                assert_same(y, network(x), arch.to_json())
                assert y.isfinite().all()


@pytest.mark.parametrize("space", elastic_spaces(), ids=name_of)
class TestParts(SupernetLaws):
    num_members = 8


def tiny(mixers: list[dict[str, Any]], **changes: Any) -> SearchSpace:
    """A space of one stage around some mixers."""
    stage = {
        "width": [16, 32], "depth": [1, 2], "embedding": {"part": "conv_stem", "stride": 2},
        "position": {"part": "none"}, "norm": {"part": "layer_norm"}, "scale": {"part": "none"},
        "ffn": {"part": "mlp", "ratio": 1}, "mixer": mixers,
    }  # fmt: skip
    data = {"name": "tiny", "in_channels": 1, "num_classes": 3, "resolution": 8, "head": {"part": "linear_head"}}
    return check(SearchSpace.from_dict(data | {"stages": [stage | changes]}))


DIGITS = small(load_space("digits"))


# Slices


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_slices(data: st.DataObject) -> None:
    full = data.draw(st.lists(st.integers(0, 6), max_size=4))
    shape = [data.draw(st.integers(0, size)) for size in full]
    axes = data.draw(
        st.lists(st.sampled_from(["leading", "centred", "trailing"]), min_size=len(full), max_size=len(full))
    )
    tensor = torch.arange(torch.Size(full).numel()).reshape(full)
    centred = tuple(axis for axis, kind in enumerate(axes) if kind == "centred")
    trailing = tuple(axis for axis, kind in enumerate(axes) if kind == "trailing")
    found = slice_like(tensor, shape, centred, trailing)
    assert tuple(found.shape) == tuple(shape)
    assert found.numel() == 0 or found.untyped_storage().data_ptr() == tensor.untyped_storage().data_ptr(), "a view"
    for index in itertools.product(*map(range, shape)):
        source = []
        for axis, kind in enumerate(axes):
            left = full[axis] - shape[axis]
            source.append(index[axis] + {"leading": 0, "centred": left // 2, "trailing": left}[kind])
        assert found[index] == tensor[tuple(source)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=3), st.lists(st.integers(0, 6), max_size=3))
def test_slices_that_do_not_fit_are_errors(full: list[int], shape: list[int]) -> None:
    tensor = torch.zeros(full)
    if len(full) == len(shape) and all(one <= other for one, other in zip(shape, full, strict=True)):
        assert tuple(slice_like(tensor, shape).shape) == tuple(shape)
    else:
        with pytest.raises(ValueError, match="does not fit"):
            slice_like(tensor, shape)


def test_the_middle_of_a_kernel() -> None:
    kernel = torch.arange(49).reshape(7, 7)
    assert slice_like(kernel, (3, 3), centred=(0, 1)).tolist() == [[16, 17, 18], [23, 24, 25], [30, 31, 32]]
    assert slice_like(kernel, (3, 3)).tolist() == [[0, 1, 2], [7, 8, 9], [14, 15, 16]]
    assert slice_like(kernel, (3, 2), trailing=(0,), centred=(1,)).tolist() == [[30, 31], [37, 38], [44, 45]]
    assert slice_like(kernel, (7, 7)) is kernel


# What options share


@pytest.mark.parametrize("head_dim", [4, 5])
def test_osra_weights_are_cut_from_the_end(head_dim: int) -> None:
    """At one width a smaller share of attention owns the last channels of a larger share, as it does of the residual stream;
    also where the size of a head does not divide them and so follows the ratio."""
    ratios = [0.25, 0.5, 0.75]
    space = tiny([{"part": "d_mixer", "attention_ratio": ratios, "head_dim": head_dim, "sr_ratio": 2}], depth=1)
    supernet = supernet_of(space)
    for width in (16, 32):
        found = {}
        for ratio in ratios:
            arch = member(space, width=width, attention_ratio=ratio)
            found[ratio] = {
                name.removeprefix("stages.0.blocks.0.mixer."): tensor
                for name, tensor in supernet.weights(arch).items()
                if ".mixer." in name
            }
        for fewer, more in itertools.combinations(ratios, 2):
            channels = round(fewer * width)
            for projection in ("query", "key", "value"):
                whole = found[more][f"osra.{projection}.weight"]
                assert_same(found[fewer][f"osra.{projection}.weight"], whole[-channels:, -channels:])
                assert_same(found[fewer][f"osra.{projection}.bias"], found[more][f"osra.{projection}.bias"][-channels:])
            for name in ("refine.weight", "refine.bias", "reductions.2.conv.weight", "reductions.2.norm1.running_var"):
                assert_same(found[fewer][f"osra.{name}"], found[more][f"osra.{name}"][-channels:])
            local = width - round(more * width)
            assert_same(found[more]["idconv.kernels"], found[fewer]["idconv.kernels"][:, :local])
            assert_same(found[more]["idconv.expand"], found[fewer]["idconv.expand"][:, :local, : max(1, local // 4)])


BY_HEAD = {"c_mhsa": ("attention.scores",), "partial_attention": ("head_mlps.",)}
"""Tensors with an axis of heads. All others know channels only."""


@pytest.mark.parametrize(
    "name", [n for n, part in registry.parts("mixer").items() if hasattr(part.Options(), "head_dim")]
)
def test_heads_only_group_channels(name: str) -> None:
    """At one width every size of heads has the same weights; at another width, their leading channels. So whatever reads
    heads as channels meets the same partners, also where a size does not divide the width and the next divisor stands in.
    """
    space = tiny([{"part": name, "head_dim": [3, 4, 16]}], width=[16, 24], depth=1)
    supernet = supernet_of(space)
    found = {
        (width, head_dim): {
            key.partition(".mixer.")[2]: tensor
            for key, tensor in supernet.weights(member(space, width=width, head_dim=head_dim)).items()
            if ".mixer." in key and not any(part in key for part in BY_HEAD.get(name, ()))
        }
        for width, head_dim in itertools.product((16, 24), (3, 4, 16))
    }
    assert found[16, 3]
    for (width, _), tensors in found.items():
        for key, tensor in tensors.items():
            whole = found[24, 3][key]
            assert tensor.data_ptr() == (whole if "osra." not in key else tensor).data_ptr(), key
            assert tensor.shape == found[width, 3][key].shape
            cut = slice_like(whole, tensor.shape, trailing=tuple(range(whole.dim())) if "osra." in key else ())
            assert_same(tensor, cut)
    for part in BY_HEAD.get(name, ()):
        small, large = (
            {bank for key, bank in supernet.bank_names(member(space, width=16, head_dim=size)).items() if part in key}
            for size in (4, 16)
        )
        assert small
        assert large
        assert not small & large


@pytest.mark.parametrize(
    ("mixer", "option", "one", "other", "apart"),
    [
        ("h_mhsa", "window_size", 1, 3, {"query", "value", "project"}),  # values are projected, or added to the stream
        ("ems", "operators", "gate", "g_mhsa", {"after", "last"}),  # what writes the stream, or what the fusion reads
        ("ems", "operators", "pyramid", "gate", {"fuse", "last"}),
        ("ems", "patch_sizes", [2, 4, 4, 6], [4, 2, 2, 3], {"kernels"}),
        ("c_mhsa", "patch_size", 2, 4, {"kernels"}),
        ("g_mhsa", "patch_size", 2, 4, {"kernels"}),
        ("d_mixer", "sr_ratio", 2, 4, {"reductions"}),
    ],
)
def test_what_means_another_thing_has_a_bank_of_its_own(
    mixer: str, option: str, one: Any, other: Any, apart: set[str]
) -> None:
    space = tiny([{"part": mixer, option: [one, other]}], width=[32], depth=1)
    supernet = Supernet(space)
    values = [tuple(value) if isinstance(value, list) else value for value in (one, other)]
    banks = [
        {bank for key, bank in supernet.bank_names(member(space, **{option: value})).items() if ".mixer." in key}
        for value in values
    ]
    own = [{bank for bank in found if apart & {*bank.split(".")}} for found in banks]
    assert own[0]
    assert own[1]
    assert not own[0] & own[1]
    assert banks[0] & banks[1], "the rest is shared"


def member(space: SearchSpace, **wanted: Any) -> Architecture:
    """The member with these values at every gene of that name, and the first choice elsewhere."""
    genes = []
    for gene in space.genes:
        key = gene.name.rpartition(".")[2]
        genes.append(gene.choices.index(wanted[key]) if key in wanted else 0)
    return space.decode(tuple(genes))


def test_small_kernels_are_the_middle_of_large_ones() -> None:
    space = tiny([{"part": "depthwise_conv", "kernel_size": [3, 5, 7]}], depth=1)
    supernet = supernet_of(space)
    inner, outer = (
        supernet.weights(member(space, width=width, kernel_size=kernel))["stages.0.blocks.0.mixer.conv.weight"]
        for width, kernel in ((16, 3), (32, 7))
    )
    assert_same(inner, outer[:16, :, 2:5, 2:5])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_subnetwork_is_its_extracted_network_at_odd_widths(batch: int) -> None:
    """Slices that begin and end anywhere: the products of a CPU library may depend on where rows lie in memory."""
    mixers = [{"part": "global_attention", "head_dim": 3}, {"part": "partial_attention", "head_dim": 3}]
    space = tiny(
        mixers, width=[9, 15, 33], ffn=[{"part": "mlp", "ratio": [0.7, 1.5]}, {"part": "ms_ffn", "ratio": 1.3}]
    )
    supernet, x = supernet_of(space), images(space, batch)
    for arch in members(space, 20):
        network = supernet.extract(arch)
        with torch.no_grad():
            assert_same(supernet(x, arch), network(x), f"outputs of {arch.to_json()}")
        assert_same(supernet(x, arch), network(x), f"outputs, with gradients wanted, of {arch.to_json()}")


def test_places_do_not_share() -> None:
    """Each place and each part in it has weights of its own; the bank's names say so."""
    supernet = Supernet(DIGITS)
    pointers = [tensor.data_ptr() for tensor in supernet.bank().values()]
    assert len(set(pointers)) == len(pointers)
    name = "stages.1.blocks.2.mixer.d_mixer.osra.query.weight"
    assert name in supernet.bank()
    assert name in dict(supernet.named_parameters())
    arch = next(a for a in members(DIGITS, 100) if [b.mixer.name for b in a.stages[1].blocks][2:] == ["d_mixer"])
    assert supernet.bank_names(arch)["stages.1.blocks.2.mixer.osra.query.weight"] == name


def test_the_bank_is_as_large_as_the_largest_option_needs() -> None:
    space = elastic_space("mixer", "depthwise_conv")
    bank = Supernet(space).bank()
    assert bank["stages.0.blocks.1.mixer.depthwise_conv.conv.weight"].shape == (32, 1, 7, 7)
    assert bank["stages.0.embedding.conv_downsampling.conv.weight"].shape == (32, 2, 1, 1)
    assert bank["stages.1.embedding.conv_downsampling.conv.weight"].shape == (32, 32, 1, 1)
    assert bank["head.linear_head.linear.weight"].shape == (3, 32)
    assert not any(name.startswith("stages.1.blocks.1") for name in bank)


def test_a_space_of_one_member_is_a_network() -> None:
    """With nothing to share the bank has exactly the parameters of the network."""
    space = tiny([{"part": "d_mixer", "head_dim": 4, "kernel_size": 3}], width=16, depth=2)
    assert space.size == 1
    arch = space.decode(())
    supernet = Supernet(space)
    assert sum(p.numel() for p in supernet.parameters()) == params(arch)
    assert {tuple(t.shape) for t in supernet.bank().values()} == {
        tuple(t.shape) for t in build(arch).state_dict().values()
    }
    assert supernet.smallest() == supernet.largest() == arch


def test_equal_blocks_share_a_skeleton_and_not_their_weights() -> None:
    arch = next(arch for arch in repeated(DIGITS) if len(arch.stages[1].blocks) == 3)
    stage = network_skeleton(arch, False).stages[1]
    assert stage.blocks[0] is stage.blocks[1] is stage.blocks[2]
    supernet, x = supernet_of(DIGITS), images(DIGITS)
    with torch.no_grad():
        before = supernet(x, arch)
        names = [name for name in supernet.bank_names(arch).values() if name.startswith("stages.1.blocks.1.")]
        for name in names:
            supernet.bank()[name].zero_()
        assert not torch.equal(before, supernet(x, arch))
        assert_same(supernet(x, arch), supernet.extract(arch)(x))


def test_init_options_start_the_weights() -> None:
    scale = {"part": "layer_scale", "init": 0.25}
    space = tiny([{"part": "depthwise_conv"}], scale=scale, norm={"part": "batch_norm"})
    bank = Supernet(space).bank()
    assert_same(bank["stages.0.blocks.1.scale2.layer_scale.weight"].detach(), torch.full((32,), 0.25))
    assert_same(bank["stages.0.blocks.1.norm2.batch_norm.norm.weight"].detach(), torch.ones(32))
    assert_same(bank["stages.0.blocks.1.norm2.batch_norm.norm.running_var"], torch.ones(32))
    assert bank["stages.0.blocks.1.norm2.batch_norm.norm.num_batches_tracked"].dtype == torch.long


def test_extremes() -> None:
    supernet = Supernet(DIGITS)
    low, high = macs(supernet.smallest()), macs(supernet.largest())
    assert all(low <= macs(arch) <= high for arch in members(DIGITS, 50))


# What a supernet survives


def outputs(supernet: Supernet, archs: list[Architecture]) -> list[Tensor]:
    x = images(supernet.space).to(next(supernet.parameters()).dtype)
    with torch.no_grad():
        return [supernet(x, arch) for arch in archs]


def all_same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


ARCHS = members(DIGITS, 4)


def test_deepcopy() -> None:
    supernet = supernet_of(DIGITS)
    before = outputs(supernet, ARCHS)
    other = copy.deepcopy(supernet)  # after a forward pass, when the bank is in memory
    assert all_same(before, outputs(other, ARCHS))
    randomise(other, 3)
    assert all_same(before, outputs(supernet, ARCHS))
    assert not all_same(before, outputs(other, ARCHS))
    own = {tensor.data_ptr() for tensor in other.state_dict().values()}
    assert {tensor.data_ptr() for tensor in other.bank().values()} == own


def test_state_dict_round_trip() -> None:
    supernet = supernet_of(DIGITS)
    file = io.BytesIO()
    torch.save(supernet.state_dict(), file)
    file.seek(0)
    other = Supernet(DIGITS, seed=5).eval()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert all_same(outputs(supernet, ARCHS), outputs(other, ARCHS))
    assert set(supernet.state_dict()) == set(supernet.bank())


def test_loading_by_assignment_changes_the_bank() -> None:
    supernet, other = supernet_of(DIGITS, seed=1), supernet_of(DIGITS)
    outputs(other, ARCHS)
    other.load_state_dict(supernet.state_dict(), assign=True)
    assert all_same(outputs(supernet, ARCHS), outputs(other, ARCHS))


def test_dtypes() -> None:
    """Moving makes new tensors: the bank is looked up anew, and extracted networks have the supernet's type."""
    supernet = supernet_of(DIGITS)
    before = outputs(supernet, ARCHS)
    supernet.to(torch.float64)
    assert all(tensor.dtype in (torch.float64, torch.long) for tensor in supernet.bank().values())
    exact = outputs(supernet, ARCHS)
    for low, high in zip(before, exact, strict=True):
        assert high.dtype == torch.float64
        assert not torch.equal(low.double(), high)
        torch.testing.assert_close(low.double(), high, atol=1e-3, rtol=1e-3)
    supernet.to(torch.float32)
    assert all_same(before, outputs(supernet, ARCHS))


def test_extraction_keeps_the_dtype() -> None:
    supernet = supernet_of(DIGITS).to(torch.float64)
    x = images(DIGITS).double()
    for arch, y in zip(ARCHS, outputs(supernet, ARCHS), strict=True):
        network = supernet.extract(arch)
        assert {p.dtype for p in network.parameters()} == {torch.float64}
        with torch.no_grad():
            assert_same(y, network(x))


def test_extraction_keeps_the_mode() -> None:
    supernet = supernet_of(DIGITS)
    assert not any(module.training for module in supernet.extract(ARCHS[0]).modules())
    assert all(module.training for module in supernet.train().extract(ARCHS[0]).modules())


def test_frozen_weights_stay_frozen_for_the_extracted_only() -> None:
    supernet = supernet_of(DIGITS)
    assert all(p.requires_grad and p.is_leaf and p.grad is None for p in supernet.extract(ARCHS[0]).parameters())


@pytest.mark.parametrize(
    "name", [name for name, value in vars(supernet_module).items() if hasattr(value, "cache_clear")]
)
def test_caches_may_forget(name: str) -> None:
    """They are bounded: in a large space one drops what another keeps."""
    supernet = supernet_of(DIGITS)
    archs = repeated(DIGITS)[:3]
    before = outputs(supernet, archs)
    try:
        getattr(supernet_module, name).cache_clear()
        for arch, y in reversed(list(zip(archs, before, strict=True))):
            assert_same(outputs(supernet, [arch])[0], y)
        calibrate(supernet, archs[0], [images(DIGITS)])
        assert all_same(outputs(supernet, ARCHS), outputs(supernet, ARCHS))
    finally:
        for value in vars(supernet_module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def test_an_error_inside_leaves_the_skeleton_clean() -> None:
    supernet = supernet_of(DIGITS)
    before = outputs(supernet, ARCHS[:1])
    with pytest.raises(Exception, match=r"."):
        supernet(noise(1, 5, 16, 16), ARCHS[0])  # five channels
    assert all(tensor.is_meta for tensor in network_skeleton(ARCHS[0], False).state_dict().values())
    assert all_same(before, outputs(supernet, ARCHS[:1]))


def test_skeletons_hold_no_weights_between_runs() -> None:
    supernet = supernet_of(DIGITS)
    outputs(supernet, ARCHS)
    for arch in ARCHS:
        calibrate(supernet, arch, [images(DIGITS)])
        for training in (False, True):
            network = network_skeleton(arch, training)
            assert all(tensor.is_meta for tensor in network.state_dict().values())
            assert all(module.training == training for module in network.modules())


def test_two_supernets_share_skeletons_and_nothing_else() -> None:
    one, other = supernet_of(DIGITS, seed=1), supernet_of(DIGITS, seed=2)
    alone = outputs(one, ARCHS), outputs(other, ARCHS)
    x = images(DIGITS)
    with torch.no_grad():
        for i, arch in enumerate(ARCHS):
            assert_same(one(x, arch), alone[0][i])
            assert_same(other(x, arch), alone[1][i])


def test_given_buffers_are_used_and_updated() -> None:
    arch = next(a for a in members(DIGITS, 30) if a.stages[0].blocks[0].mixer.name == "d_mixer")
    supernet, x = supernet_of(DIGITS), images(DIGITS)
    network = supernet.extract(arch)
    buffers = {name: tensor.clone() for name, tensor in randomise(network, 4).named_buffers()}
    before = state_of(supernet)
    network.load_state_dict({**state_of(supernet.extract(arch)), **buffers})
    with torch.no_grad():
        assert_same(supernet(x, arch, buffers), network(x))
        supernet.train()(x, arch, buffers)
        network.train()(x)
    for name, tensor in network.named_buffers():
        assert_same(buffers[name], tensor, name)
    for name, tensor in supernet.state_dict().items():
        assert_same(tensor, before[name], name)


def test_autocast() -> None:
    supernet, x = supernet_of(DIGITS), images(DIGITS)
    for arch in ARCHS:
        network = supernet.extract(arch)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert_same(supernet(x, arch), network(x))


def test_other_resolutions_and_batches() -> None:
    supernet = supernet_of(DIGITS)
    for batch, height, width in ((1, 16, 16), (3, 9, 21), (1, 1, 1)):
        x = noise(batch, DIGITS.in_channels, height, width)
        for arch in ARCHS:
            with torch.no_grad():
                y = supernet(x, arch)
                assert y.shape == (batch, DIGITS.num_classes)
                assert_same(y, supernet.extract(arch)(x))


@pytest.mark.parametrize("runner", ["plain", "checkpointed"])
def test_pieces_may_be_recomputed(runner: str) -> None:
    """Activation checkpointing runs a piece again in the backward pass, when nothing else is borrowed any more."""
    from torch.utils.checkpoint import checkpoint

    supernet, x = supernet_of(DIGITS).train(), images(DIGITS)
    arch = ARCHS[1]
    plain: Callable[[str, nn.Module, Tensor], Tensor] = supernet.runner(arch)

    def again(place: str, module: nn.Module, value: Tensor) -> Tensor:
        return checkpoint(plain, place, module, value, use_reentrant=False)

    run = plain if runner == "plain" else again
    buffers = {name: tensor.clone() for name, tensor in supernet.named_buffers()}
    network_skeleton(arch, True)(x, run=run).square().sum().backward()
    found = {name: None if p.grad is None else p.grad.clone() for name, p in supernet.named_parameters()}
    supernet.zero_grad()
    for name, tensor in supernet.named_buffers():
        tensor.copy_(buffers[name])
    supernet(x, arch).square().sum().backward()
    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is None) == (found[name] is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, found[name])


def test_generator_is_left_alone_by_extraction() -> None:
    supernet = supernet_of(DIGITS)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    supernet.extract(ARCHS[0])
    supernet.smallest()
    assert torch.equal(torch.get_rng_state(), state)


def test_members_of_other_spaces_are_refused() -> None:
    """A stranger is larger than the bank, or its parts have no place in it."""
    supernet = supernet_of(DIGITS)
    rng = random.Random(0)
    arch = DIGITS.sample(rng)
    wide = dataclasses.replace(arch, stages=(dataclasses.replace(arch.stages[0], width=64), *arch.stages[1:]))
    with pytest.raises(ValueError, match="does not fit"):
        supernet(images(DIGITS), wide)
    foreign = dataclasses.replace(
        arch, stages=(dataclasses.replace(arch.stages[0], embedding=Part.of("conv_downsampling")), *arch.stages[1:])
    )
    with pytest.raises(KeyError, match="conv_downsampling"):
        supernet(images(DIGITS), foreign)

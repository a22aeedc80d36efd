"""Laws 3 and 5 for every named space and around every part; and what a supernet survives."""

import copy
import dataclasses
import io
import random
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Part
from search_spaces.named import load_space
from search_spaces.network import decayed
from search_spaces.registry import allocate
from search_spaces.space import SearchSpace
from search_spaces.testing import (
    assert_same,
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
from supernet.supernet import Supernet, network_skeleton
from supernet.testing import SupernetLaws, images, repeated, state_of, supernet_of
from tests.often import often


@pytest.mark.parametrize("space", often(named_spaces()), ids=name_of)
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


DIGITS = small(load_space("digits"))


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


@pytest.mark.parametrize("assign", [True, False])
def test_one_without_values_takes_those_of_another(assign: bool) -> None:
    supernet, other = supernet_of(DIGITS, seed=1).train(), Supernet.without_values(DIGITS)
    assert all(tensor.is_meta for tensor in other.state_dict().values())
    assert decayed(other) == decayed(supernet)
    copies = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    if not assign:
        allocate(other)
    other.load_state_dict(copies, assign=assign)
    x = images(DIGITS)
    for one in (supernet, other):
        for arch in ARCHS:
            one(x, arch).square().sum().backward()  # statistics move too
    assert list(supernet.state_dict()) == list(other.state_dict())
    assert all_same(list(supernet.state_dict().values()), list(other.state_dict().values()))
    for (name, parameter), (same, twin) in zip(supernet.named_parameters(), other.named_parameters(), strict=True):
        assert name == same
        assert (parameter.grad is None) == (twin.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, cast(Tensor, twin.grad))


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

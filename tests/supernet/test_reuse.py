"""Shared leading units: the statistics and logits of the plain procedure, bit for bit, whatever was kept and whatever was evicted."""

import itertools

import pytest
import torch
from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, elastic_spaces, members, name_of, named_spaces
from supernet.calibration import calibrate
from supernet.reuse import PrefixCache
from supernet.supernet import Supernet, network_skeleton
from supernet.testing import images, repeated, state_of, supernet_of

ROOM = 2**30


def relatives(space: SearchSpace, count: int = 3) -> list[Architecture]:
    """Members, and between each two of them two that begin as one and end as the other."""
    found = members(space, count, seed=3)
    for one, other in itertools.pairwise(list(found)):
        front, back = space.encode(one), space.encode(other)
        cuts = (len(front) // 2, len(front) - 2)
        found += [space.decode(front[:cut] + back[cut:]) for cut in cuts]
    return found


def batches(space: SearchSpace) -> tuple[list[Tensor], list[Tensor]]:
    """Two to calibrate on, and two to evaluate, the last of which is smaller."""
    return [images(space, 3, seed=seed) for seed in (1, 2)], [images(space, size, seed=size) for size in (3, 2)]


@torch.no_grad()
def assert_plain(cache: PrefixCache, supernet: Supernet, arch: Architecture, x: list[Tensor]) -> None:
    """The cache's network has the statistics and the logits that `calibrate` and the supernet give."""
    buffers = calibrate(supernet, arch, cache.calibration)
    network = cache.calibrated(arch)
    assert network.buffers.keys() == buffers.keys()
    for name, tensor in buffers.items():
        assert_same(network.buffers[name], tensor, name)
    for number, batch in enumerate(x):
        assert_same(network(number, batch), supernet(batch, arch, buffers))


LARGE = [pytest.param(space, marks=pytest.mark.slow) for space in named_spaces()[1:]]
"""Every part stands in a small space of its own too."""


@pytest.mark.parametrize("space", [named_spaces()[0], *elastic_spaces(), *LARGE], ids=name_of)
def test_equals_the_plain_procedure(space: SearchSpace) -> None:
    supernet, (calibration, x) = supernet_of(space), batches(space)
    before = state_of(supernet)
    cache = PrefixCache(supernet, calibration, ROOM)
    archs = relatives(space, 2)[2:]
    for arch in (*archs, *repeated(space)[:1], archs[0]) if space in named_spaces() else (*archs, archs[0]):
        assert_plain(cache, supernet, arch, x)
    assert cache.units_kept > 0
    for name, tensor in supernet.state_dict().items():
        assert_same(tensor, before[name], name)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_limit_is_kept_and_results_do_not_depend_on_it(share: float) -> None:
    space = named_spaces()[0]
    supernet, (calibration, x) = supernet_of(space), batches(space)
    archs = relatives(space, 2) * 2
    whole = PrefixCache(supernet, calibration, ROOM)
    for arch in archs:
        assert_plain(whole, supernet, arch, x)
    cache = PrefixCache(supernet, calibration, int(share * whole.size))
    for arch in archs:
        assert_plain(cache, supernet, arch, x)
        assert cache.size <= cache.limit
        assert cache.size == sum(kept.size for kept in cache._kept.values())
    assert (cache.units_kept == 0) == (share == 0)
    assert cache.units_kept < whole.units_kept


def test_what_was_used_least_recently_goes_first() -> None:
    space = named_spaces()[0]
    supernet, (calibration, x) = supernet_of(space), batches(space)
    one, other, third = members(space, 5, seed=8)[2:]
    assert len({arch.stages[0] for arch in (one, other, third)}) == 3

    def kept_for(cache: PrefixCache, arch: Architecture) -> int:
        before = cache.units_kept
        assert_plain(cache, supernet, arch, x)
        return cache.units_kept - before

    cache = PrefixCache(supernet, calibration, ROOM)
    for arch in (one, one, other, other, third):  # kept when they come the second time
        kept_for(cache, arch)
    cache.limit = cache.size  # so that the third one's maps take the place of others
    first_used = kept_for(cache, one)
    kept_for(cache, third)
    assert kept_for(cache, one) == first_used  # used after the other one
    assert kept_for(cache, other) < first_used


def test_nothing_is_kept_of_prefixes_that_come_once() -> None:
    space = named_spaces()[0]
    supernet, (calibration, x) = supernet_of(space), batches(space)
    arch = members(space, 4)[3]
    cache = PrefixCache(supernet, calibration, ROOM)
    assert_plain(cache, supernet, arch, x)
    assert len(cache._kept) == 1  # its first unit
    assert_plain(cache, supernet, arch, x)
    assert len(cache._kept) > 1
    before = cache.units_run
    assert_plain(cache, supernet, arch, x)
    assert cache.units_run - before <= len(x) * 1 + len(
        calibration
    )  # heads, and what stands behind the last statistics


def test_batch_norms_are_left_in_evaluation_mode() -> None:
    space = named_spaces()[0]
    supernet, (calibration, _) = supernet_of(space), batches(space)
    for arch in members(space, 3):
        PrefixCache(supernet, calibration, ROOM).calibrated(arch)
        assert not any(module.training for module in network_skeleton(arch, False).modules())

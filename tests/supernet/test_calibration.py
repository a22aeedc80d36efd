"""Each candidate's own statistics: the plain average over batches, found without touching anything."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, elastic_space, members, name_of, named_spaces, noise
from supernet.calibration import batch_statistics, calibrate, recompute
from supernet.supernet import Supernet, network_skeleton
from supernet.testing import images, repeated, state_of, supernet_of
from tests.often import often

NORMED = often(space for space in named_spaces() if space.name != "hat_net")
"""HAT-Net has no batch norm, and so nothing to recompute."""


def batches(space: SearchSpace, sizes: tuple[int, ...] = (4, 4, 4)) -> list[Tensor]:
    return [images(space, size, seed=i) for i, size in enumerate(sizes)]


def reference(supernet: Supernet, arch: Architecture, data: list[Tensor]) -> dict[str, Tensor]:
    """Means and variances of what reaches each norm of a stand-alone network in training, averaged over its calls."""
    network = supernet.extract(arch).train()
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def look(name: str, x: Tensor) -> None:
        x = x.double()
        mean = x.mean((0, 2, 3))
        count = x.numel() // x.shape[1]
        variance = (x - mean[:, None, None]).square().sum((0, 2, 3)) / (count - 1)
        seen.setdefault(name, []).append((mean, variance))

    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, args, name=name: look(name, args[0]))
    with torch.no_grad():
        for x in data:
            network(x)
    found = {}
    for name, pairs in seen.items():
        found[f"{name}.running_mean"] = torch.stack([mean for mean, _ in pairs]).mean(0).float()
        found[f"{name}.running_var"] = torch.stack([variance for _, variance in pairs]).mean(0).float()
        found[f"{name}.num_batches_tracked"] = torch.tensor(len(pairs))
    return found


@pytest.mark.parametrize("space", NORMED, ids=name_of)
def test_statistics_are_the_plain_average(space: SearchSpace) -> None:
    supernet, names = supernet_of(space), set()
    for arch in members(space, 3) + repeated(space)[:2]:
        found, wanted = calibrate(supernet, arch, batches(space)), reference(supernet, arch, batches(space))
        assert found.keys() == wanted.keys()
        names |= found.keys()
        for name, tensor in wanted.items():
            torch.testing.assert_close(
                found[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
            )
    assert names  # some member has batch norms


def test_batches_weigh_alike_whatever_their_size() -> None:
    space = named_spaces()[0]
    supernet, arch = supernet_of(space), members(space, 3)[2]
    data = batches(space, (2, 9, 4))
    found = calibrate(supernet, arch, data)
    for name, tensor in reference(supernet, arch, data).items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("space", NORMED, ids=name_of)
def test_calibration_touches_nothing(space: SearchSpace) -> None:
    supernet = supernet_of(space)
    before = state_of(supernet)
    archs = members(space, 3)
    for arch in archs:
        buffers = calibrate(supernet, arch, batches(space))
        own = {tensor.data_ptr() for tensor in buffers.values()}
        assert not own & {tensor.data_ptr() for tensor in supernet.bank().values()}
        assert len(own) == len(buffers)
    for name, tensor in supernet.state_dict().items():
        assert_same(tensor, before[name], name)
    assert all(p.grad is None for p in supernet.parameters())
    for arch in archs:
        for module in network_skeleton(arch, False).modules():
            assert not module.training
            if isinstance(module, nn.BatchNorm2d):
                assert module.momentum == 0.1
                assert all(tensor.is_meta for tensor in module.state_dict().values())


@pytest.mark.parametrize("space", NORMED, ids=name_of)
def test_calibration_does_not_depend_on_what_was_calibrated_before(space: SearchSpace) -> None:
    supernet, archs = supernet_of(space), members(space, 3)
    alone = {arch: calibrate(supernet_of(space), arch, batches(space)) for arch in archs}
    for order in (archs, archs[::-1]):
        for arch in order:
            for name, tensor in calibrate(supernet, arch, batches(space)).items():
                assert_same(tensor, alone[arch][name], name)
    for arch in archs:  # and a supernet in training gives the same
        for name, tensor in calibrate(supernet.train(), arch, batches(space)).items():
            assert_same(tensor, alone[arch][name], name)


def test_calibrated_statistics_are_the_network_s_own() -> None:
    """They fit an extracted network by name, and evaluation with them is close to evaluation with the batch's statistics."""
    space = named_spaces()[0]
    supernet, x = supernet_of(space), images(space, 64)
    for arch in members(space, 4):
        buffers = calibrate(supernet, arch, [x])
        network = supernet.extract(arch, buffers)
        assert {name for name, _ in network.named_buffers()} == set(buffers)
        for name, tensor in network.named_buffers():
            assert_same(tensor, buffers[name], name)
            assert tensor.data_ptr() != buffers[name].data_ptr()
        with torch.no_grad():
            y = network(x)
            assert_same(supernet.eval()(x, arch, buffers), y)
            wanted = network.train()(x)
            assert (y - wanted).norm() < (supernet(x, arch) - wanted).norm()


def test_a_network_without_batch_norm_needs_none() -> None:
    space = elastic_space("mixer", "global_attention")
    supernet = supernet_of(space).train()
    for arch in members(space, 3):
        assert calibrate(supernet, arch, iter(())) == {}


def test_an_error_inside_ends_the_averaging() -> None:
    space = named_spaces()[0]
    supernet, arch = supernet_of(space), members(space, 1)[0]

    def failing() -> list[Tensor]:
        raise OSError("no more images")

    with pytest.raises(OSError, match="no more images"):
        calibrate(supernet, arch, (x for x in [*batches(space)[:1], None] if x is not None or failing()))
    skeleton = network_skeleton(arch, False)
    assert not any(module.training for module in skeleton.modules())


def test_only_batch_norms_are_in_training() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2, momentum=0.3), nn.Dropout()).eval()
    with batch_statistics(module):
        assert [child.training for child in module] == [False, True, False]
        assert module[1].momentum is None
    assert [child.training for child in module] == [False, False, False]
    assert module[1].momentum == 0.3


def test_statistics_are_recomputed_for_the_weights_there_are() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train()
    for seed in range(3):
        network(noise(8, 3, 4, 4, seed=seed))
    batches = [noise(8, 3, 4, 4, seed=seed) for seed in (5, 6)]
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    recompute(network, batches)
    assert not any(module.training for module in network.modules())
    with torch.no_grad():
        maps = [network[0](x) for x in batches]
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, torch.stack([y.mean((0, 2, 3)) for y in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([y.var((0, 2, 3)) for y in maps]).mean(0))
    assert norm.momentum == 0.1
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())


def test_nothing_is_drawn_without_batch_norm() -> None:
    def images() -> Iterator[Tensor]:
        raise AssertionError("drawn")
        yield

    recompute(nn.Conv2d(3, 4, 1), images())

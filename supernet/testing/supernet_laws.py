"""What the supernet of every space promises."""

import copy
import math
from functools import cache

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.network import Network, build
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, members, no_shape_checks, noise, randomise
from supernet.calibration import calibrate
from supernet.offering import of_network
from supernet.supernet import Supernet
from supernet.taking import take


def supernet_of(space: SearchSpace, seed: int = 0) -> Supernet:
    """A supernet with random weights and statistics, in evaluation mode, of this test's own."""
    return copy.deepcopy(_supernet(space, seed))


@cache
def _started(space: SearchSpace) -> Supernet:
    """As it starts, for seed 0. A large one takes seconds to make; nothing may change this one."""
    return Supernet(space)


@cache
def _supernet(space: SearchSpace, seed: int) -> Supernet:
    supernet = copy.deepcopy(_started(space))
    randomise(supernet, seed)
    return supernet.eval()


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def images(space: SearchSpace, batch: int = 2, seed: int = 7) -> Tensor:
    return noise(batch, space.in_channels, space.resolution, space.resolution, seed=seed)


@torch.no_grad()
def borrowed(supernet: Supernet, arch: Architecture) -> dict[str, Tensor]:
    """For every bank tensor, where `arch` borrows from it: a mask of its shape."""
    marks = copy.deepcopy(supernet)
    for tensor in marks.bank().values():
        tensor.zero_()
    for tensor in marks.weights(arch).values():
        tensor.fill_(1)
    return {name: tensor.bool() for name, tensor in marks.bank().items()}


def repeated(space: SearchSpace) -> list[Architecture]:
    """Deep members whose blocks are all alike, one for each mixer and each FFN: blocks of a stage share one skeleton."""
    found = []
    for place in (".mixer", ".ffn"):
        for index in range(max((len(gene.choices) for gene in space.genes if gene.name.endswith(place)), default=1)):
            genes = []
            for gene in space.genes:
                last = len(gene.choices) - 1
                genes.append(last if gene.chosen == "depth" else min(index, last) if gene.name.endswith(place) else 0)
            found.append(space.decode(tuple(genes)))
    return found


class SupernetLaws:
    """Laws 3 and 5, for a space (the argument `space`)."""

    num_members = 12

    def archs(self, space: SearchSpace) -> list[Architecture]:
        return members(space, self.num_members) + repeated(space)

    def test_a_subnetwork_is_its_extracted_network(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        for arch in self.archs(space):
            with no_shape_checks(), torch.no_grad():  # they double the time of so many runs; the other laws have them
                supernet.eval()
                buffers = calibrate(supernet, arch, [images(space, 2, seed=11)])
                network = supernet.extract(arch, buffers)
                assert isinstance(network, Network)
                y = supernet(x, arch, buffers)
                assert_same(y, network(x), f"evaluation outputs of {arch.to_json()}")
                assert y.isfinite().all()
                supernet.train()
                torch.manual_seed(3)
                y = supernet(x, arch)
                network.train()
                torch.manual_seed(3)
                assert_same(y, network(x), f"training outputs of {arch.to_json()}")

    def test_empty_batch(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space, 2)[:0]
        for arch in members(space, 2):
            with torch.no_grad():
                y = supernet(x, arch)
                assert_same(y, supernet.extract(arch)(x))
            assert y.shape == (0, space.num_classes)

    def test_extraction_copies_and_taking_is_its_inverse(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        arch = members(space, 3)[2]
        network = supernet.extract(arch)
        again = build(arch, seed=4).eval()
        again.load_state_dict(network.state_dict())  # the plain network has the same names and shapes
        with torch.no_grad():
            before = network(x)
            assert_same(before, supernet(x, arch))
            assert_same(before, again(x))
            randomise(supernet, 8)
            assert_same(before, network(x))
            assert not torch.equal(before, supernet(x, arch))
            others, offer = state_of(supernet), of_network(network, space)
            assert (offer.member, offer.arch) == (True, arch)
            slices = {name: tensor.clone() for name, tensor in supernet.weights(arch).items()}
            take(supernet, offer)
            assert_same(before, supernet(x, arch))
            for name, tensor in supernet.weights(arch).items():
                tensor.copy_(slices[name])
        buffers = dict(supernet.named_buffers())
        for name, tensor in supernet.state_dict().items():  # what the network does not have
            kept = tensor == others[name]
            zeroed = name not in buffers and name.endswith("weight")
            assert kept.all() or (zeroed and (kept | (tensor == 0)).all()), name

    def test_gradients_and_influence_stay_in_the_slices(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space), images(space)
        for arch in members(space, 3):
            supernet.train()
            supernet.zero_grad()
            torch.manual_seed(0)
            supernet(x, arch).square().sum().backward()
            mask = borrowed(supernet, arch)
            for name, parameter in supernet.named_parameters():
                if not mask[name].any():
                    assert parameter.grad is None, name
                elif parameter.grad is not None:
                    assert not parameter.grad[~mask[name]].any(), name
            network = supernet.extract(arch).train()
            network.zero_grad()
            torch.manual_seed(0)
            network(x).square().sum().backward()
            bank = supernet.bank()
            where = supernet.bank_names(arch)
            for name, parameter in network.named_parameters():
                grad = bank[where[name]].grad
                assert (grad is None) == (parameter.grad is None), name
                if grad is not None:
                    inside = grad[mask[where[name]]].reshape(parameter.shape)
                    torch.testing.assert_close(inside, parameter.grad, msg=lambda text, name=name: f"{name}: {text}")

            supernet.eval()
            with torch.no_grad():
                before = supernet(x, arch)
                for name, tensor in bank.items():
                    if tensor.is_floating_point():
                        tensor[~mask[name]] = math.nan
                assert_same(before, supernet(x, arch))
            randomise(supernet, 1)

    def test_statistics_update_in_the_slices_only(self, space: SearchSpace) -> None:
        supernet, x = supernet_of(space).train(), images(space)
        for arch in members(space, 3):
            network, before, mask = supernet.extract(arch), state_of(supernet), borrowed(supernet, arch)
            torch.manual_seed(0)
            supernet(x, arch)
            torch.manual_seed(0)
            network(x)
            bank, where = supernet.bank(), supernet.bank_names(arch)
            for name, tensor in supernet.named_buffers():
                assert_same(tensor[~mask[name]], before[name][~mask[name]], name)
            for name, tensor in supernet.named_parameters():
                assert_same(tensor, before[name], name)
            for name, tensor in network.named_buffers():
                assert_same(bank[where[name]][mask[where[name]]].reshape(tensor.shape), tensor, name)
                if tensor.dim():
                    assert not torch.equal(tensor, before[where[name]][mask[where[name]]].reshape(tensor.shape)), name

    def test_seeds(self, space: SearchSpace) -> None:
        one, generator = _started(space), torch.get_rng_state()
        same, other = Supernet(space, 0), Supernet(space, 1)
        assert torch.equal(torch.get_rng_state(), generator)
        bank, again, third = one.bank(), same.bank(), other.bank()
        assert bank.keys() == again.keys() == third.keys()
        assert all(torch.equal(bank[name], again[name]) for name in bank)
        drawn = [name for name, tensor in bank.items() if tensor.is_floating_point() and len(tensor.unique()) > 2]
        assert drawn
        assert not any(torch.equal(bank[name], third[name]) for name in drawn)

    def test_every_element_starts_as_its_part_starts_it(self, space: SearchSpace) -> None:
        """What a constructor fills with one number has such a number in every slice; what it draws is drawn, not left at 0."""
        supernet, archs = _started(space), members(space, 6)
        fills: dict[str, set[float]] = {}  # one bank tensor may serve several options, each with a number of its own
        drawn: set[str] = set()
        for seed, arch in enumerate(archs):
            where = supernet.bank_names(arch)
            for name, tensor in build(arch, seed).state_dict().items():
                if (tensor == tensor.flatten()[0]).all():
                    fills.setdefault(where[name], set()).add(float(tensor.flatten()[0]))
                else:
                    drawn.add(where[name])
        assert drawn
        for arch in archs:
            where = supernet.bank_names(arch)
            for name, tensor in supernet.weights(arch).items():
                if where[name] not in drawn:
                    assert set(tensor.flatten().tolist()) <= fills[where[name]], name
                else:
                    assert tensor.all(), name
                    assert tensor.numel() == 1 or tensor.std() > 0, name

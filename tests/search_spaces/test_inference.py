"""The form for inference: equal outputs for whole networks, and the network it was made from as before."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from search_spaces.inference import inference_form
from search_spaces.network import Network
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.scales.layer_scale import LayerScale
from tests.contracts import noise, tame

NAMES = ("emsnet_xxtiny", "hat_net_tiny", "linglo_b0", "mat_1", "partialformer_b0", "transxnet_tiny")


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_equal(name: str) -> None:
    arch = dataclasses.replace(paper_network(name).arch, num_classes=10, resolution=64)
    network = Network(complete(arch)).eval()
    tame(network)
    state = copy.deepcopy(network.state_dict())
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        y = network(x)
        fast = inference_form(network)
        for image in (x, x.contiguous(memory_format=torch.channels_last)):
            assert (fast(image) - y).abs().max() <= 1e-4 * y.abs().max()
        assert torch.equal(network(x), y)
    assert all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_is_folded_is_gone() -> None:
    arch = dataclasses.replace(paper_network("transxnet_tiny").arch, num_classes=10)
    network = Network(complete(arch)).eval()
    fast = inference_form(network)
    assert (
        sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) > 160
    )  # one a scale, where the authors have one
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert sum(isinstance(module, LayerScale) for module in fast.modules()) == 18  # those behind the mixers
    assert sum(isinstance(module, LayerScale) for module in network.modules()) == 36

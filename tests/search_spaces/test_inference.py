"""The form for inference: equal outputs for whole networks, and the network it was made from as before."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from search_spaces import folding
from search_spaces.architecture import Part
from search_spaces.inference import inference_form
from search_spaces.network import Network
from search_spaces.papers import paper_network
from search_spaces.registry import complete, make
from search_spaces.scales.layer_scale import LayerScale
from search_spaces.testing import noise, tame

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


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_image(name: str) -> None:
    arch = dataclasses.replace(paper_network(name).arch, num_classes=10, resolution=64)
    network = Network(complete(arch)).eval()
    tame(network)
    x = noise(2, 3, 64, 64).requires_grad_()
    forms = (network, inference_form(network))
    expected, found = (torch.autograd.grad(form(x).square().sum(), x)[0] for form in forms)
    assert (found - expected).abs().max() <= 1e-3 * expected.abs().max()


def test_large_maps_in_pieces_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    ffn = make("ffn", Part.of("ms_ffn"), 8).eval()
    tame(ffn)
    fast, x = ffn.for_inference(), noise(5, 8, 6, 7)
    pieces: list[int] = []
    convolve = fast.last.forward
    monkeypatch.setattr(fast.last, "forward", lambda y: (pieces.append(len(y)), convolve(y))[1])
    with torch.no_grad():
        whole = fast(x)
        monkeypatch.setattr(folding, "PIECE", 2 * 32 * 6 * 7)
        assert (fast(x) - whole).abs().max() <= 1e-6 * whole.abs().max()
        monkeypatch.setattr(folding, "PIECE", 1)
        assert (fast(x) - whole).abs().max() <= 1e-6 * whole.abs().max()
    assert pieces == [5, 2, 2, 1, 1, 1, 1, 1, 1]


@pytest.mark.slow  # the parts' forms are exported for any batch by the laws of parts
@pytest.mark.parametrize("name", ["hat_net_tiny", "transxnet_tiny"])
def test_exported_for_any_batch(name: str) -> None:
    arch = dataclasses.replace(paper_network(name).arch, num_classes=10, resolution=64)
    network = Network(complete(arch)).eval()
    tame(network)
    fast = inference_form(network)
    with torch.no_grad():
        exported = torch.export.export(
            fast, (noise(2, 3, 64, 64),), dynamic_shapes=({0: torch.export.Dim("b", min=2)},)
        )
        x = noise(5, 3, 64, 64, seed=1)
        y = fast(x)
        assert (exported.module()(x) - y).abs().max() <= 1e-5 * y.abs().max()


NORMS = {
    "emsnet_xxtiny": 5,
    "hat_net_tiny": 0,
    "linglo_b0": 40,
    "mat_1": 7,
    "partialformer_b0": 4,
    "transxnet_tiny": 268,
}
"""Batch norms; in TransXNet one a scale, where the authors have one for all."""


@pytest.mark.parametrize("name", NAMES)
def test_what_is_folded_is_gone(name: str) -> None:
    network = Network(complete(dataclasses.replace(paper_network(name).arch, num_classes=10))).eval()
    fast = inference_form(network)
    before, after = (sum(isinstance(m, nn.BatchNorm2d) for m in form.modules()) for form in (network, fast))
    assert (before, after) == (NORMS[name], 0)
    if name == "transxnet_tiny":
        assert sum(isinstance(module, LayerScale) for module in fast.modules()) == 18  # those behind the mixers
        assert sum(isinstance(module, LayerScale) for module in network.modules()) == 36


@pytest.mark.parametrize("name", NAMES)
def test_on_another_device_and_in_another_precision(name: str) -> None:
    network = Network(complete(dataclasses.replace(paper_network(name).arch, num_classes=10, resolution=64))).eval()
    tame(network)
    x = noise(2, 3, 64, 64)
    with torch.no_grad():
        y = network(x)
        assert inference_form(copy.deepcopy(network).to("meta"))(x.to("meta")).shape == y.shape
        if torch.cuda.is_available():
            assert (
                inference_form(copy.deepcopy(network).cuda())(x.cuda()).cpu() - y
            ).abs().max() <= 1e-2 * y.abs().max()
        half = inference_form(copy.deepcopy(network).bfloat16())(x.bfloat16())
        with torch.autocast("cpu", torch.bfloat16):
            mixed = inference_form(network)(x)
    assert half.dtype == torch.bfloat16
    for found in (half, mixed):
        assert (found.float() - y).abs().mean() <= 0.1 * y.abs().mean()

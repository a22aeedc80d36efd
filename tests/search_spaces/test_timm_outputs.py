"""What models of timm compute: the outputs of our networks, also for empty batches, under hooks and counters, and in merged and fast forms.

Shapes of all networks are checked on the meta device, numbers on the smallest of each family.
"""

import pytest
import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.inference import inference_form
from search_spaces.network import Network
from search_spaces.reparameterisation import reparameterise
from search_spaces.testing import noise, randomise
from tests.search_spaces.models_of_timm import SIZE, SMALLEST, images, meta, small, smallest, smallest_first


@smallest
def test_same_outputs_as_our_network(name: str) -> None:
    model = small(name, num_classes=7)
    ours = Network(model.arch).eval()
    ours.load_state_dict(model.state_dict())
    x = noise(2, 3, SIZE, SIZE)
    with torch.no_grad():
        y = model(x)
        assert torch.equal(y, ours(x))
        assert torch.equal(y, model.forward_head(model.forward_features(x)))
        pooled = model.forward_head(model.forward_features(x), pre_logits=True)
        assert torch.equal(y, model.get_classifier()(pooled))
        model.reset_classifier(0)
        assert torch.equal(model(x), pooled)
        model.reset_classifier(0, "")
        assert torch.allclose(model(x).mean(dim=(2, 3)), pooled, atol=1e-5)


@smallest_first
def test_forward(name: str) -> None:
    """With the weights that it starts with."""
    model = timm.create_model(name, num_classes=7, img_size=SIZE).eval()
    with torch.no_grad():
        y = model(noise(1, 3, SIZE, SIZE))
    assert y.shape == (1, 7)
    assert y.isfinite().all()


@smallest_first
def test_flop_counter(name: str) -> None:
    """torch's own counter hooks every module and its inputs."""
    model, counts = meta(name, img_size=SIZE), set()
    for grad in (False, True) if name in SMALLEST else (False,):
        with torch.set_grad_enabled(grad), FlopCounterMode(display=False) as counter:
            model(images(SIZE))
        counts.add(counter.get_total_flops())
    assert len(counts) == 1
    assert counts.pop() > 1e6


@pytest.mark.parametrize("name", ["transxnet_tiny"])
def test_outputs_can_be_hooked_and_written_into(name: str) -> None:
    """At the size of its tables: torch.func, hooks that change an output in place, and the FLOP counter after extraction."""
    model, x = small(name), noise(1, 3, SIZE, SIZE)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False):
        y = Network(model.arch).eval()(x)
    assert y.isfinite().all()
    expected = model(x)
    assert torch.equal(torch.func.functional_call(model, state, (x,)), expected)
    table = model.stages[0].position_bias
    handle = table.register_forward_hook(lambda module, inputs, output: output.mul_(2))
    changed = model(x)
    changed.sum().backward()
    handle.remove()
    assert not torch.equal(changed, expected)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@smallest_first
def test_empty_batch_shapes(name: str) -> None:
    x = torch.empty(0, 3, SIZE, SIZE, device="meta")
    model = meta(name)
    assert model(x).shape == (0, 1000)
    assert model.forward_features(x).shape == (0, model.num_features, 2, 2)
    if name in SMALLEST:
        assert [map_.shape[0] for map_ in meta(name, features_only=True)(x)] == [0, 0, 0, 0]


@smallest
def test_empty_batch(name: str) -> None:
    model, x = small(name), noise(2, 3, SIZE, SIZE)[:0]
    with torch.no_grad():
        for form in (model, inference_form(model), reparameterise(model)):
            assert form(x).shape == (0, 7)
            assert form(x.contiguous(memory_format=torch.channels_last)).shape == (0, 7)
            with torch.autocast("cpu", torch.bfloat16):
                assert form(x).shape == (0, 7)
    model.set_grad_checkpointing()
    for training in (False, True):
        y = model.train(training)(x)
        assert y.shape == (0, 7)
        y.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("num_classes", [7, pytest.param(0, marks=pytest.mark.slow)])
def test_merged_and_fast_forms_stay_timm_models(name: str, num_classes: int) -> None:
    network = randomise(timm.create_model(name, num_classes=num_classes)).eval()
    x = noise(2, 3, SIZE, SIZE)
    with torch.no_grad():
        y, maps = network(x), network.forward_features(x)
        for form in (reparameterise(network), inference_form(network)):
            assert type(form) is type(network)
            assert (form(x) - y).abs().max() <= 1e-4 * y.abs().max()
            assert (form.forward_features(x) - maps).abs().max() <= 1e-4 * maps.abs().max()

"""Models of timm in training: gradients, checkpointing, drop rates, and the groups of parameters that optimizers are given."""

from collections import Counter

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

from search_spaces.network import DropPath, ResidualBlock
from search_spaces.testing import noise
from tests.search_spaces.models_of_timm import SIZE, meta, run_script, small, smallest


@smallest
def test_backward(name: str) -> None:
    """Every parameter gets a gradient; HAT-Net's norms that nothing reads get zero."""
    model = timm.create_model(name, num_classes=42, img_size=SIZE, drop_path_rate=0.1).train()
    y = model(noise(2, 3, SIZE, SIZE))
    y.mean().backward()
    assert y.shape == (2, 42)
    assert y.isfinite().all()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
    unused = [p.grad for key, p in model.named_parameters() if ".unused_norm." in key]
    assert len(unused) == (26 if name == "hat_net_tiny" else 0)
    assert not any(gradient.any() for gradient in unused)


@smallest
def test_checkpointing_changes_nothing(name: str) -> None:
    """Outputs, gradients and running statistics are equal, and every block, and nothing else, is computed twice."""
    results = []
    for enable in (False, True):
        model = small(name, drop_path_rate=0.5, drop_rate=0.5).train()
        model.set_grad_checkpointing(enable)
        assert model.grad_checkpointing is enable
        calls: Counter[str] = Counter()
        for place, module in model.named_modules():
            if isinstance(module, ResidualBlock) or place == "stages.0.embedding":
                module.register_forward_pre_hook(lambda *_, place=place, calls=calls: calls.update([place]))
        torch.manual_seed(0)
        x = noise(2, 3, SIZE, SIZE).requires_grad_()
        y = model(x)
        y.square().sum().backward()
        assert calls.pop("stages.0.embedding") == 1
        assert set(calls.values()) == {1 + enable}
        assert len(calls) == model.arch.depth
        gradients = {key: parameter.grad for key, parameter in model.named_parameters() if parameter.grad is not None}
        results.append({"y": y, "x": x.grad, **gradients, **dict(model.named_buffers())})
    assert results[0].keys() == results[1].keys()
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key
    with torch.no_grad():
        y = model.eval()(x)
        model.set_grad_checkpointing(False)
        assert torch.equal(model(x), y)


COMPILED = """
import search_spaces, timm, torch

results = []
for enable in (False, True):
    torch.manual_seed(0)
    model = timm.create_model("linglo_b0", num_classes=3).train()
    model.set_grad_checkpointing(enable)
    torch.compile(model, backend="aot_eager", fullgraph=True)(torch.randn(2, 3, 64, 64)).square().sum().backward()
    results.append([p.grad for p in model.parameters()] + [b for b in model.buffers()])
for one, other in zip(*results, strict=True):
    assert torch.allclose(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))
"""


@pytest.mark.slow
def test_checkpointing_of_a_compiled_model() -> None:
    """Running statistics are gathered once there too. (The shape checks of the tests cannot be compiled: another process.)"""
    run_script(COMPILED)


@smallest
def test_drop_rates(name: str) -> None:
    def rates(model: nn.Module) -> list[float]:
        return [module.rate for module in model.modules() if isinstance(module, DropPath)]

    model = meta(name)
    assert model.drop_rate == (0.2 if name == "hat_net_tiny" else 0.0)
    assert set(rates(model)) == {0.0}
    model = meta(name, drop_path_rate=0.3, drop_rate=0.4)
    depth = model.arch.depth
    assert rates(model) == pytest.approx([0.3 * b / (depth - 1) for b in range(depth)])
    assert model.drop_rate == 0.4


def test_dropout_stands_before_the_classifier() -> None:
    model = small("linglo_b0", drop_rate=0.5)
    map_ = noise(2, model.num_features, 2, 2)
    kept = model.forward_head(map_, pre_logits=True)
    dropped = model.train().forward_head(map_, pre_logits=True)
    assert (kept != 0).all()
    assert 0.4 < (dropped == 0).float().mean() < 0.6


@smallest
def test_groups_for_rates_by_depth(name: str) -> None:
    """Stem, each block with what stands before its stage, head."""
    model = meta(name)
    depths = [len(stage.blocks) for stage in model.arch.stages]
    groups = group_parameters(model, model.group_matcher())
    assert len(groups) == sum(depths) + 2
    coarse = group_parameters(model, model.group_matcher(coarse=True))
    assert len(coarse) == 4 + 2
    for found in (groups, coarse):
        assert all(key.startswith("stages.0.embedding.") for key in found[0])
        assert all(key.startswith("head.") for key in found[len(found) - 1])
    assert any(key.startswith("stages.1.embedding.") for key in groups[depths[0] + 1])
    assert all(
        key.startswith(("stages.1.blocks.0.", "stages.1.embedding.", "stages.1.position_bias."))
        for key in groups[depths[0] + 1]
    )
    scales = {group["lr_scale"] for group in param_groups_layer_decay(model, layer_decay=0.5)}
    assert scales == {0.5**n for n in range(sum(depths) + 2)}


@smallest
def test_what_does_not_decay(name: str) -> None:
    model = meta(name)
    own = model.no_weight_decay()
    parameters = dict(model.named_parameters())
    assert own <= parameters.keys()
    endings = {
        "transxnet_tiny": {"biases", "expand_bias", "56_by_7", "28_by_7", "14_by_7", "7_by_7"},
        "mat_1": set(), "partialformer_b0": {"bias1"}, "linglo_b0": set(), "hat_net_tiny": set(),
        "emsnet_xxtiny": set(),
    }  # fmt: skip
    assert {key.rpartition(".")[2] for key in own} == endings[name]
    optimizer = create_optimizer_v2(model, opt="adamw", lr=1e-3, weight_decay=0.05)
    decays = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    kept = {key for key, parameter in parameters.items() if id(parameter) not in decays}
    assert kept == own | {key for key, parameter in parameters.items() if parameter.dim() < 2}

"""The papers' networks as models of timm: what timm's own tests ask of a model, and that the weights fit ours.

Shapes of all networks are checked on the meta device, numbers on the smallest of each family. torch.jit.script is not
supported; torch.jit.trace, torch.export and, with parts as leaves, torch.fx are.
"""

import inspect
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import get_notrace_functions, get_notrace_modules
from timm.models import (
    FeatureInfo,
    group_parameters,
    is_model_pretrained,
    list_models,
    model_entrypoint,
)
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.network import DropPath, Network, ResidualBlock, build
from search_spaces.papers import paper_network, paper_networks
from search_spaces.registry import complete
from search_spaces.reparameterisation import reparameterise
from search_spaces.testing import no_shape_checks, noise, randomise
from tests.command_line import environment

NAMES = [network.name for network in paper_networks()]
SMALLEST = ["emsnet_xxtiny", "hat_net_tiny", "linglo_b0", "mat_1", "partialformer_b0", "transxnet_tiny"]
CONV_HEADS = ("mat", "partialformer")
SIZE = 64
STRIDES = [4, 8, 16, 32]

every = pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("_e2")])
"""The other reading of PartialFormer is the same parts with other options."""
smallest = pytest.mark.parametrize("name", SMALLEST)
smallest_first = pytest.mark.parametrize(
    "name", [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)


def meta(name: str, **options: Any) -> Any:
    """A model without numbers, in evaluation mode."""
    with torch.device("meta"):
        return timm.create_model(name, **options).eval()


def images(size: int, batch: int = 1, channels: int = 3) -> Tensor:
    return torch.empty(batch, channels, size, size, device="meta")


def small(name: str, size: int = SIZE, **options: Any) -> Any:
    """A model with random weights and statistics, for small images, in evaluation mode."""
    model = timm.create_model(name, img_size=size, **{"num_classes": 7, **options}).eval()
    randomise(model)
    return model


def paper_arch(name: str, **changes: Any) -> Architecture:
    return complete(replace(paper_network(name).arch, **changes))


def run_script(text: str) -> None:
    """Runs a program in an interpreter of its own."""
    run = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment())
    assert run.returncode == 0, run.stderr


# Registering

ORDERS = """
import os, sys

def child(*lines):
    process = os.fork()
    if not process:
        exec("\\n".join(lines))
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0, lines

child("import search_spaces", "assert not {'torch', 'timm', 'numpy', 'search_spaces.network'} & set(sys.modules)")
import torchvision, warnings  # what timm takes longest to import
assert "timm" not in sys.modules
warnings.simplefilter("error")
for order in ("search_spaces, timm", "timm, search_spaces", "search_spaces.timm_models, timm"):
    child("import " + order, "assert len(timm.list_models(module='timm_models')) == 23")
"""


@pytest.mark.slow
def test_any_order_of_imports() -> None:
    """And `search_spaces` alone imports nothing heavy."""
    run_script(ORDERS)


def test_models_are_listed() -> None:
    assert sorted(list_models(module="timm_models")) == sorted(NAMES)
    assert sorted(list_models("transxnet_*")) == ["transxnet_base", "transxnet_small", "transxnet_tiny"]
    assert list_models(module="timm_models", pretrained=True) == []
    assert set(NAMES) <= set(list_models(name_matches_cfg=True))


@every
def test_entrypoint(name: str) -> None:
    create = model_entrypoint(name)
    network = paper_network(name)
    assert create.__name__ == name
    doc = inspect.getdoc(create)
    assert doc is not None
    assert network.source in doc
    assert f"drop_path_rate={network.drop_path}" in doc
    assert getattr(sys.modules[create.__module__], name) is create


@smallest
def test_no_weights_are_published(name: str) -> None:
    assert not is_model_pretrained(name)
    with pytest.raises(RuntimeError, match=f"No pretrained weights exist for {name}. Use `pretrained=False`"):
        meta(name, pretrained=True)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="patch_size"):
        meta("mat_1", patch_size=4)


def test_hat_net_takes_other_grids() -> None:
    """As for dense prediction: the same weights, other outputs; and every other network refuses them."""
    model = small("hat_net_tiny")
    other = small("hat_net_tiny", window_sizes=(8, 8, 8), pool_sizes=(16, 8, 4))
    other.load_state_dict(model.state_dict())
    mixers = [stage.blocks[0].mixer for stage in other.arch.stages]
    assert [(mixer.values()["window_size"], mixer.values()["pool_size"]) for mixer in mixers] == [
        (8, 16),
        (8, 8),
        (8, 4),
        (1, 1),
    ]
    x = noise(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert not torch.equal(model(x), other(x))
        assert torch.equal(model(x), small("hat_net_tiny", window_sizes=(8, 7, 7), pool_sizes=(8, 4, 2))(x))
    for name, wrong in (("hat_net_tiny", (8, 8)), ("hat_net_tiny", (8, 8, 1)), ("mat_1", (8, 8, 8))):
        with pytest.raises(InputError, match="window_sizes are"):
            meta(name, window_sizes=wrong)


# Configuration


@smallest_first
def test_default_cfg(name: str) -> None:
    """Shapes as the configuration says, with and without classifier and pooling; names that are in the state dict."""
    model = meta(name)
    cfg, state = model.default_cfg, model.state_dict()
    assert cfg is model.pretrained_cfg
    assert model.arch == paper_arch(name)
    assert (cfg["architecture"], cfg["url"], cfg["license"]) == (name, "", "apache-2.0")
    assert (cfg["input_size"], cfg["pool_size"], cfg["num_classes"]) == ((3, 224, 224), (7, 7), 1000)
    assert cfg["interpolation"] == "bicubic"
    assert cfg["crop_pct"] == (0.95 if name == "transxnet_base" else 0.9 if "transxnet" in name else 0.875)
    assert f"{cfg['classifier']}.weight" in state
    assert state[f"{cfg['first_conv']}.weight"].shape[1] == 3
    assert model.get_submodule(cfg["classifier"]) is model.get_classifier()

    widths = [stage.width for stage in paper_network(name).arch.stages]
    info = FeatureInfo(model.feature_info, 4)
    assert (info.channels(), info.reduction()) == (widths, STRIDES)
    features = torch.empty(1, model.num_features, 7, 7, device="meta")
    if name in SMALLEST:
        last, maps = model.forward_intermediates(images(224))
        assert last.shape == features.shape
        assert [tuple(map_.shape) for map_ in maps] == [
            (1, c, 224 // n, 224 // n) for c, n in zip(widths, STRIDES, strict=True)
        ]
    before = model.forward_head(features, pre_logits=True)
    assert before.shape == (1, model.head_hidden_size)
    assert model.head_hidden_size == (1280 if name.startswith(CONV_HEADS) else model.num_features)
    assert model.forward_head(features).shape == (1, 1000)

    pooled = (1, model.head_hidden_size)
    model.reset_classifier(0)
    for without in (model, meta(name, num_classes=0)):
        assert without.num_classes == 0
        assert without.forward_head(features).shape == pooled
        assert isinstance(without.get_classifier(), nn.Identity)
    model.reset_classifier(0, "")
    for unpooled in (model, meta(name, num_classes=0, global_pool="")):
        assert unpooled.forward_head(features).shape == (*pooled, 7, 7)
    model.reset_classifier(5, "avg")
    assert model.forward_head(features).shape == (1, 5)
    assert model.state_dict().keys() == state.keys()


@every
def test_weights_are_those_of_our_networks(name: str) -> None:
    """The same names and shapes, whatever the classes and channels."""
    model = meta(name, num_classes=5, in_chans=1)
    assert model.arch == paper_arch(name, num_classes=5, in_channels=1)
    with torch.device("meta"):
        ours = Network(model.arch).state_dict()
    assert {key: value.shape for key, value in model.state_dict().items()} == {
        key: value.shape for key, value in ours.items()
    }


@smallest
def test_image_size(name: str) -> None:
    model = meta(name, img_size=100)
    assert model.arch.resolution == 100
    found = {key: tuple(value.shape) for key, value in model.state_dict().items() if ".tables." in key}
    if name.startswith("transxnet"):
        heads = [dict(stage.position_bias.options)["num_heads"] for stage in model.arch.stages]
        assert found == {
            f"stages.{s}.position_bias.tables.{side}_by_4": (heads[s], side**2, 16)
            for s, side in enumerate((25, 13, 7, 4))
        }
    else:
        assert not found
    assert meta(name, img_size=(100, 100)).arch == model.arch
    assert model(images(65)).shape == (1, 1000)


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


# Training


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


@pytest.mark.parametrize(
    "options",
    [
        {"drop_rate": 1.0}, {"drop_path_rate": -0.1}, {"global_pool": "max"}, {"global_pool": ""}, {"img_size": 0},
        {"img_size": (64, 96)},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        meta("mat_1", **options)


def test_bad_resets() -> None:
    model = meta("mat_1")
    with pytest.raises(InputError, match="global_pool is 'max'"):
        model.reset_classifier(5, "max")
    with pytest.raises(InputError, match="global_pool is '' with 5 classes"):
        model.reset_classifier(5, "")
    assert model(images(SIZE)).shape == (1, 1000)


def test_reset_keeps_type_place_and_mode() -> None:
    model = timm.create_model("emsnet_xxtiny", num_classes=3).eval().to(torch.float64)
    model.reset_classifier(4)
    assert model.get_classifier().weight.dtype == torch.float64
    assert not model.get_classifier().training
    assert 0 < model.get_classifier().weight.std() < 0.03


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


# Features


@smallest
def test_features_only(name: str) -> None:
    """Of all stages or some; what they do not need is removed."""
    widths = [stage.width for stage in paper_network(name).arch.stages]
    model = meta(name, features_only=True)
    assert (model.feature_info.channels(), model.feature_info.reduction()) == (widths, STRIDES)
    sides = [math.ceil(90 / stride) for stride in STRIDES]
    expected = [(1, c, n, n) for c, n in zip(widths, sides, strict=True)]
    assert [tuple(map_.shape) for map_ in model(images(90))] == expected
    model = meta(name, features_only=True, out_indices=(0, -2), in_chans=2)
    assert model.feature_info.channels() == [widths[0], widths[2]]
    assert model.feature_info.reduction() == [4, 16]
    assert [map_.shape[1] for map_ in model(images(96, channels=2))] == [widths[0], widths[2]]
    assert not [key for key in model.state_dict() if "stages.3." in key or key.startswith("model.head.")]
    assert meta(name, features_only=True, out_indices=2).feature_info.channels() == widths[2:]


@smallest
def test_features_are_the_maps_of_the_network(name: str) -> None:
    """By forward_intermediates, features_only, and hooks; every parameter that is left gets a gradient."""
    model = small(name)
    x = noise(2, 3, SIZE, SIZE)
    with torch.no_grad():
        last, maps = model.forward_intermediates(x)
        info = FeatureInfo(model.feature_info, len(model.feature_info))
        assert [map_.shape[1] for map_ in maps] == info.channels()
        assert [SIZE // map_.shape[2] for map_ in maps] == info.reduction() == STRIDES
        assert torch.equal(last, model.forward_features(x))
        assert torch.equal(last, maps[-1])
        normed = model.forward_intermediates(x, norm=True, intermediates_only=True)
        assert torch.equal(normed[-1], model.head.norm(maps[-1]))
        assert all(torch.equal(a, b) for a, b in zip(normed[:-1], maps[:-1], strict=True))
        two = model.forward_intermediates(x, indices=[-3, 0], intermediates_only=True)
        assert [map_.shape[1] for map_ in two] == info.channels([1, 0])
        early, two = model.forward_intermediates(x, indices=[0, 1], stop_early=True)
        assert torch.equal(early, two[1])
        assert torch.equal(early, maps[1])
        state = model.state_dict()
        getter = timm.create_model(name, features_only=True, img_size=SIZE).eval()
        missing, unexpected = getter.model.load_state_dict(state, strict=False)
        assert missing == []
        assert all(key.startswith("head.") for key in unexpected)
        assert all(torch.equal(a, b) for a, b in zip(getter(x), maps, strict=True))
        hooked = timm.create_model(name, features_only=True, img_size=SIZE, feature_cls="hook").eval()
        hooked.body.load_state_dict(state, strict=False)
        assert all(torch.equal(a, b) for a, b in zip(hooked(x), maps, strict=True))
    sum(map_.sum() for map_ in getter.train()(x)).backward()
    assert all(p.grad is not None for p in getter.parameters())


@pytest.mark.parametrize("name", ["linglo_b0", "mat_1"])
def test_pruning(name: str) -> None:
    """What is left is a network of its own architecture; without the last stage, the head goes too."""
    x = noise(2, 3, SIZE, SIZE)
    for options, stages in (({"indices": 1}, 4), ({"indices": 1, "prune_norm": True}, 4), ({"indices": [1]}, 2)):
        model = small(name)
        with torch.no_grad():
            maps = model.forward_intermediates(x, intermediates_only=True)
            normed = model.head.norm(maps[-1])
            assert model.prune_intermediate_layers(**options) == [stages - 1]
            assert len(model.stages) == stages
            assert model.num_features == model.head_hidden_size == maps[stages - 1].shape[1]
            assert torch.equal(model.forward_features(x), maps[stages - 1])
            kept = stages == 4 and "prune_norm" not in options
            assert torch.equal(model(x), normed if kept else maps[stages - 1])
            model.reset_classifier(3, "avg")
            ours = Network(model.arch).eval()
            ours.load_state_dict(model.state_dict())
            assert torch.equal(model(x), ours(x))
    model = small(name)
    before = model(x)
    model.prune_intermediate_layers([3], prune_head=False)
    assert torch.equal(model(x), before)
    model.prune_intermediate_layers([3], prune_norm=True, prune_head=False)
    assert model(x).shape == before.shape
    assert Network(model.arch).state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("indices", [0, 5, -1, (), (4,), (0, -5)], ids=str)
def test_no_such_stage(indices: Any) -> None:
    with pytest.raises(InputError, match="indices are"):
        meta("mat_1").forward_intermediates(images(SIZE), indices)
    with pytest.raises(InputError, match="indices are"):
        meta("mat_1", features_only=True, out_indices=indices)


def test_no_such_format() -> None:
    with pytest.raises(InputError, match="output_fmt is 'NHWC'"):
        meta("mat_1").forward_intermediates(images(SIZE), output_fmt="NHWC")


# Weights


@pytest.mark.parametrize("name", ["transxnet_tiny", "mat_1"])
def test_weights_of_another_image_size(name: str, tmp_path: Path) -> None:
    """They give what the network of the first size gives at the second."""
    source = small(name)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth"), "num_classes": 7}
    target = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, img_size=96).eval()
    x = noise(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(target(x), source(x), atol=1e-5)
    if name == "transxnet_tiny":
        assert target.state_dict().keys() != source.state_dict().keys()


def test_weights_of_other_channels_and_classes(tmp_path: Path) -> None:
    """timm sums the first convolution over channels and leaves the classifier out."""
    source = small("hat_net_tiny")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    overlay = {"file": str(tmp_path / "weights.pth"), "num_classes": 7}
    for options in ({"num_classes": 3}, {"num_classes": 0}, {"features_only": True}):
        target = timm.create_model(
            "hat_net_tiny", pretrained=True, pretrained_cfg_overlay=overlay, in_chans=1, **options
        ).eval()
        x = noise(1, 1, SIZE, SIZE)
        with torch.no_grad():
            maps = target(x) if "features_only" in options else [target.forward_features(x)]
            expected = source.forward_features(x.expand(-1, 3, -1, -1))
            assert torch.allclose(maps[-1], expected, atol=1e-4 * float(expected.abs().max()))


def test_load_checkpoint(tmp_path: Path) -> None:
    """A file of a network of ours, as `timm.create_model(checkpoint_path=...)` takes it."""
    ours = randomise(build(paper_arch("linglo_b0", num_classes=7))).eval()
    torch.save({"state_dict": ours.state_dict()}, tmp_path / "weights.pth")
    model = timm.create_model("linglo_b0", num_classes=7, checkpoint_path=str(tmp_path / "weights.pth")).eval()
    x = noise(1, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(model(x), ours(x))


# Export


@pytest.mark.parametrize(
    "name", [name if name == "linglo_b0" else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)
def test_export(name: str) -> None:
    """torch.export at a fixed size."""
    model = small(name)
    x = noise(1, 3, SIZE, SIZE)
    program = torch.export.export(model, (x,))
    with torch.no_grad():
        assert torch.allclose(program.module()(x), model(x), atol=1e-5)


SMALLEST_SIDE = {
    "emsnet_xxtiny": 257,
    "hat_net_tiny": 113,
    "linglo_b0": 33,
    "mat_1": 225,
    "partialformer_b0": 65,
    "transxnet_tiny": 33,
}
"""Where a range of dynamic image sides may start; search_spaces/README.md has the table and the reason."""

quickest = pytest.mark.parametrize(
    "name", [name if name == "linglo_b0" else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)


def check_program(model: Any, dynamic: dict[int, Any], shapes: list[tuple[int, int, int]]) -> None:
    """Exports for the first shape (batch, height, width), and runs the program at all of them."""
    with torch.no_grad(), no_shape_checks():
        batch, height, width = shapes[0]
        x = noise(batch, 3, height, width)
        program = torch.export.export(model, (x,), dynamic_shapes=(dynamic,), strict=False).module()
        for batch, height, width in shapes:
            x = noise(batch, 3, height, width, seed=height)
            y = model(x)
            assert (program(x) - y).abs().max() <= 1e-4 * y.abs().max()


@quickest
def test_export_for_any_size(name: str) -> None:
    side = SMALLEST_SIDE[name]
    dim = torch.export.Dim
    dynamic = {0: dim("b"), 2: dim("h", min=side, max=1024), 3: dim("w", min=side, max=1024)}
    check_program(
        small(name), dynamic, [(2, side + 32, side + 64), (3, side, side), (1, side + 63, side + 1), (2, 384, 256 + 32)]
    )


@quickest
def test_ranges_start_where_the_readme_says(name: str) -> None:
    """And one below, a map or a grid of windows has a single row."""
    side = SMALLEST_SIDE[name] - 1
    readme = (Path(__file__).parents[2] / "search_spaces" / "README.md").read_text()
    family = paper_network(name).family
    assert re.search(rf"\| {family} .*\| {side + 1} \|", readme)
    dynamic = {2: torch.export.Dim("h", min=side), 3: torch.export.Dim("w", min=side)}
    with pytest.raises((AssertionError, torch._dynamo.exc.UserError), match=r"Guard failed|Constraints violated"):
        check_program(small(name), dynamic, [(2, side + 33, side + 65), (2, side, side)])


@pytest.mark.parametrize("form", ["reparameterised", "inference", "height", "features"])
def test_export_of_other_forms_for_any_size(form: str) -> None:
    """Merged forms, the map before the head, and a dynamic height beside a static width."""
    model = small("linglo_b0", **({"num_classes": 0, "global_pool": ""} if form == "features" else {}))
    if form in ("reparameterised", "inference"):
        model = (reparameterise if form == "reparameterised" else inference_form)(model)
    dim = torch.export.Dim
    dynamic: dict[int, Any] = {2: dim("h", min=33, max=512), 3: dim("w", min=33, max=512)}
    if form == "height":
        dynamic = {2: dim.DYNAMIC}
    check_program(model, dynamic, [(2, 65, 97), (2, 33, 97), (2, 100, 97)])


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::FutureWarning")
@quickest
def test_jit_trace(name: str) -> None:
    model, x = small(name), noise(2, 3, SIZE, SIZE)
    with torch.no_grad(), no_shape_checks():
        traced = torch.jit.trace(model, (x,))
        y = model(x)
        assert (traced(x) - y).abs().max() <= 1e-5 * y.abs().max()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_jit_script_is_not_supported() -> None:
    """As README.md says."""
    with pytest.raises(Exception, match="annotation"):
        torch.jit.script(Network(paper_arch("linglo_b0")))


# Hooks, empty batches


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


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained by tracing")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALLEST)
def test_fx(name: str, training: bool) -> None:
    """The graph that torchvision's feature extraction traces, at two sizes."""
    model = timm.create_model(name, num_classes=7, drop_path_rate=0.5 * training).train(training)
    tracer = {"leaf_modules": [*get_notrace_modules()], "autowrap_functions": [*get_notrace_functions()]}
    with no_shape_checks():
        train, evaluation = ([names[-1]] for names in get_graph_node_names(model, tracer_kwargs=tracer))
        graph = create_feature_extractor(
            model, train_return_nodes=train, eval_return_nodes=evaluation, tracer_kwargs=tracer
        )
    graph.train(training)
    for size in (SIZE, 96):
        x = noise(2, 3, size, size)
        torch.manual_seed(0)
        (y,) = graph(x).values()
        torch.manual_seed(0)
        assert torch.equal(y, model(x))
    y.sum().backward()
    assert all(p.grad is not None for p in graph.parameters())
    assert len(list(graph.parameters())) == len(list(model.parameters()))


@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.parametrize("num_classes", [7, 0])
def test_merged_and_fast_forms_stay_timm_models(name: str, num_classes: int) -> None:
    network = randomise(timm.create_model(name, num_classes=num_classes)).eval()
    x = noise(2, 3, SIZE, SIZE)
    with torch.no_grad():
        y, maps = network(x), network.forward_features(x)
        for form in (reparameterise(network), inference_form(network)):
            assert type(form) is type(network)
            assert (form(x) - y).abs().max() <= 1e-4 * y.abs().max()
            assert (form.forward_features(x) - maps).abs().max() <= 1e-4 * maps.abs().max()

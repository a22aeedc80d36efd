"""The papers' networks as models of timm: how they are registered and configured, and that the weights fit ours.

Shapes of all networks are checked on the meta device. What timm's own tests ask besides is in the other files `test_timm_*.py`.
"""

import inspect
import sys
from typing import Any

import pytest
import timm
import torch
from timm.models import FeatureInfo, is_model_pretrained, list_models, model_entrypoint
from torch import nn

from search_spaces.errors import InputError
from search_spaces.network import Network
from search_spaces.papers import paper_network
from search_spaces.testing import noise
from tests.search_spaces.models_of_timm import (
    NAMES,
    SIZE,
    SMALLEST,
    STRIDES,
    every,
    images,
    meta,
    paper_arch,
    run_script,
    small,
    smallest,
    smallest_first,
)

CONV_HEADS = ("mat", "partialformer")


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

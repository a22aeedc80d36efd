"""Features of models of timm: the maps of all stages or some, by every way that timm has to them, and pruned models."""

import math
from typing import Any

import pytest
import timm
import torch
from timm.models import FeatureInfo

from search_spaces.errors import InputError
from search_spaces.network import Network
from search_spaces.papers import paper_network
from search_spaces.testing import noise
from tests.search_spaces.models_of_timm import SIZE, STRIDES, images, meta, small, smallest


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

"""Pyramids under decoders: our own segmenter on generated data, timm's `output_stride`, and segmentation-models-pytorch where it is installed."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import search_spaces.timm_models  # noqa: F401  # registers the networks
from nas.downstream.example import BATCH, CLASSES, REACHED, drawn, learned
from nas.downstream.segmentation import IGNORED, Segmenter, backbone_of, intersection_over_union, mean_of_known
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, WEIGHTS, save_tensors
from search_spaces.errors import InputError
from search_spaces.network import build
from search_spaces.output_strides import with_output_stride
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.timm_sizes import reductions

SMALL = "emsnet_xxtiny"


def test_intersection_over_union_by_hand() -> None:
    labels = torch.tensor([[[0, 0, 1, 1], [2, 2, IGNORED, 1]]])
    predicted = torch.tensor([[[0, 1, 1, 1], [0, 2, 2, 1]]])
    shares = intersection_over_union([(predicted, labels), (predicted, labels)], 4)
    assert shares[:3] == pytest.approx([1 / 3, 3 / 4, 1 / 2])
    assert math.isnan(shares[3])
    assert mean_of_known(shares) == pytest.approx((1 / 3 + 3 / 4 + 1 / 2) / 3)


def test_drawn_images_depend_on_their_generator_alone() -> None:
    images, labels = drawn(4, torch.Generator().manual_seed(0))
    again, _ = drawn(4, torch.Generator().manual_seed(0))
    assert torch.equal(images, again)
    assert set(labels.unique().tolist()) <= set(range(len(CLASSES)))
    assert (labels > 0).float().mean() > 0.05


@pytest.mark.parametrize("head", ["semantic_fpn", pytest.param("upernet", marks=pytest.mark.slow)])
def test_a_segmenter_has_the_size_of_the_image_and_learns(head: str) -> None:
    torch.manual_seed(0)
    model = Segmenter.of(SMALL, 4, head)
    images, labels = drawn(2, torch.Generator().manual_seed(0))
    labels[0, :3] = IGNORED
    model.loss(images, labels).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    with torch.no_grad():
        assert model.eval()(images[:, :, :48]).shape == (2, 4, 48, 64)


def test_a_folder_is_a_backbone_with_its_weights(tmp_path: Path) -> None:
    network = build(paper_network(SMALL).arch, seed=0).eval()
    store = RunStore(tmp_path / "net")
    save_tensors(store, WEIGHTS, network.state_dict(), {"digest": network.arch.digest})
    store.write_text(ARCH, network.arch.to_json())
    backbone, widths = backbone_of(str(store.folder))
    assert widths == [stage.width for stage in network.arch.stages]
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = backbone.eval()(x)
        expected = x
        for s in range(len(network.stages)):
            expected = network.forward_stage(s, expected)
    assert [tuple(one.shape) for one in maps] == [
        (1, width, 64 // stride, 64 // stride) for width, stride in zip(widths, (4, 8, 16, 32), strict=True)
    ]
    assert torch.equal(maps[-1], expected)


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(InputError, match="no backbone 'mat_77'"):
        backbone_of("mat_77")
    with pytest.raises(InputError, match="unknown head 'unet'"):
        Segmenter.of(SMALL, 4, "unet")
    with pytest.raises(InputError, match="have strides"):
        backbone_of("vit_tiny_patch16_224")


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("hat_net_tiny", marks=pytest.mark.slow),
        pytest.param("transxnet_tiny", marks=pytest.mark.slow),
        "linglo_b0",
    ],
)
def test_an_output_stride_moves_maps_and_no_weights(name: str, stride: int) -> None:
    """But for position tables, which belong to a map; and a stage before the first that is moved computes what it did."""
    before = timm.create_model(name, features_only=True).eval()
    after: Any = timm.create_model(name, features_only=True, output_stride=stride).eval()
    state = before.state_dict()
    tables = {key for key in state.keys() ^ after.state_dict().keys() if ".tables." in key}
    assert state.keys() ^ after.state_dict().keys() == tables
    assert all(tensor.shape == state[key].shape for key, tensor in after.state_dict().items() if key in state)
    after.load_state_dict(state, strict=False)
    assert after.feature_info.reduction() == [min(reduction, stride) for reduction in (4, 8, 16, 32)]
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps, usual = after(x), before(x)
    assert [one.shape[-1] for one in maps] == [64 // min(reduction, stride) for reduction in (4, 8, 16, 32)]
    for one, other, reduction in zip(maps, usual, (4, 8, 16, 32), strict=True):
        assert reduction > stride or torch.equal(one, other)


def test_output_strides_that_cannot_be_are_refused() -> None:
    arch = complete(paper_network("mat_1").arch)
    assert with_output_stride(arch, 32) == arch
    with pytest.raises(InputError, match="output_stride is 2"):
        with_output_stride(arch, 2)
    with pytest.raises(InputError, match="bilinear_embedding, which always"):
        with_output_stride(arch, 16)
    assert reductions(with_output_stride(paper_network("linglo_b0").arch, 16)) == [4, 8, 16, 16]


@pytest.mark.slow
def test_the_example_reaches_what_it_states() -> None:
    _, shares = learned()
    assert mean_of_known(shares) > REACHED
    assert BATCH == 8


DECODERS = {"Unet": {}, "FPN": {}, "UPerNet": {}, "DeepLabV3Plus": {"encoder_output_stride": 16}}
"""Of segmentation-models-pytorch. The last asks for maps at stride 16 at most."""

UNDER_DECODERS = [
    (name, decoder)
    for name in ("hat_net_tiny", "transxnet_tiny", "linglo_b0", "mat_1")
    for decoder in DECODERS
    if (name, decoder) != ("mat_1", "DeepLabV3Plus")  # whose embeddings always halve the map
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "decoder"), UNDER_DECODERS)
def test_decoders_of_segmentation_models_pytorch_train(name: str, decoder: str) -> None:
    """`pip install segmentation-models-pytorch`; five steps on a batch lower its loss."""
    pytest.importorskip("segmentation_models_pytorch")
    smp = importlib.import_module("segmentation_models_pytorch")
    torch.manual_seed(0)
    model = getattr(smp, decoder)(f"tu-{name}", encoder_weights=None, classes=4, **DECODERS[decoder])
    images, labels = drawn(4, torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.005)
    losses = []
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]

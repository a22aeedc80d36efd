"""Weights in files for models of timm: of another image size, of other channels and classes, and of a network of ours."""

from pathlib import Path

import pytest
import timm
import torch

from search_spaces.network import build
from search_spaces.testing import noise, randomise
from tests.search_spaces.models_of_timm import SIZE, paper_arch, small


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

"""What stands on a backbone's maps in object detection, segmentation and keypoint estimation, as papers have it.

The heads have the default sizes of the toolboxes that the papers used (mmdetection, mmsegmentation, mmpose). Where torchvision has the
same layers, they are torchvision's. torchvision is imported in this folder and in the reading of images only.

Each head takes the maps of the four stages, strides 4, 8, 16 and 32, first to last, and gives what its task predicts. Detectors give the
raw predictions of their layers, for boxes and masks of any content: matching, sampling and suppression own no weights.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.ssdlite import SSDLiteHead
from torchvision.ops import Conv2dNormActivation, FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

Maps = Sequence[Tensor]
"""Of the stages, each (b, c, h, w)."""

PYRAMID = 256
"""Channels of a feature pyramid."""


def conv_bn(in_dim: int, dim: int, kernel_size: int) -> nn.Sequential:
    """Convolution that keeps the size of the map, batch norm and ReLU."""
    conv = nn.Conv2d(in_dim, dim, kernel_size, padding=kernel_size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(dim), nn.ReLU(inplace=True))


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """A map at another size, bilinear."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _named(maps: Maps) -> OrderedDict[str, Tensor]:
    return OrderedDict((str(number), one) for number, one in enumerate(maps))


class RetinaNet(nn.Module):
    """RetinaNet's pyramid and heads (arXiv:1708.02002): strides 8 to 128, nine anchors, four convolutions for classes and four for boxes.

    Args:
        widths: channels of the four maps.
    """

    def __init__(self, widths: Sequence[int], num_classes: int = 80) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(widths[1:]), PYRAMID, LastLevelP6P7(widths[3], PYRAMID))
        self.head = RetinaNetHead(PYRAMID, 9, num_classes)

    def forward(self, maps: Maps) -> dict[str, Tensor]:
        """Scores (b, anchors, classes) and boxes (b, anchors, 4)."""
        return self.head(list(self.pyramid(_named(maps[1:])).values()))


class MaskRCNN(nn.Module):
    """Mask R-CNN's layers (arXiv:1703.06870) on a pyramid of strides 4 to 64.

    Boxes and masks have one output for each class of objects, as in mmdetection; torchvision's have one for the background too.

    Args:
        widths: channels of the four maps.
        boxes, masks: how many proposals are classified, and how many objects get a mask, for each forward pass.
    """

    def __init__(self, widths: Sequence[int], num_classes: int = 80, boxes: int = 1000, masks: int = 100) -> None:
        super().__init__()
        self.boxes, self.masks = boxes, masks
        self.pyramid = FeaturePyramidNetwork(list(widths), PYRAMID, LastLevelMaxPool())
        self.proposals = RPNHead(PYRAMID, 3)
        self.box_head = TwoMLPHead(PYRAMID * 7 * 7, 1024)
        self.box_classes = nn.Linear(1024, num_classes + 1)
        self.box_offsets = nn.Linear(1024, 4 * num_classes)
        self.mask_head = MaskRCNNHeads(PYRAMID, (256,) * 4, 1)
        self.mask_classes = MaskRCNNPredictor(256, 256, num_classes)

    def forward(self, maps: Maps) -> dict[str, Tensor]:
        """Proposals on every level; classes and offsets of the boxes; masks (masks, classes, 28, 28). The regions are zeros: what
        they hold makes no difference to the layers that run.
        """
        levels = list(self.pyramid(_named(maps)).values())
        objectness, _ = self.proposals(levels)
        box = self.box_head(levels[0].new_zeros(self.boxes, PYRAMID, 7, 7))
        mask = self.mask_classes(self.mask_head(levels[0].new_zeros(self.masks, PYRAMID, 14, 14)))
        return {
            "objectness": objectness[0],
            "classes": self.box_classes(box),
            "offsets": self.box_offsets(box),
            "masks": mask,
        }


def _smaller(in_dim: int, dim: int, norm: Callable[..., nn.Module]) -> nn.Sequential:
    """Half of the channels, a depthwise convolution of stride 2, and all of the channels: a map of half the side."""
    half = dim // 2
    layer = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.ReLU6)
    return nn.Sequential(
        layer(in_dim, half, kernel_size=1),
        layer(half, half, kernel_size=3, stride=2, groups=half),
        layer(half, dim, kernel_size=1),
    )


class SSDLite(nn.Module):
    """SSDLite's heads (arXiv:1801.04381) with torchvision's sizes: strides 16 and 32 and four smaller maps, six anchors, 91 classes.

    Args:
        widths: channels of the four maps.
    """

    def __init__(self, widths: Sequence[int], num_classes: int = 91) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        dims = (512, 256, 256, 128)
        self.extra = nn.ModuleList(_smaller(a, b, norm) for a, b in zip((widths[3], *dims), dims, strict=False))
        self.head = SSDLiteHead([widths[2], widths[3], *dims], [6] * 6, num_classes, norm)

    def forward(self, maps: Maps) -> dict[str, Tensor]:
        """Scores (b, anchors, classes) and boxes (b, anchors, 4)."""
        found = list(maps[2:])
        for block in self.extra:
            found.append(block(found[-1]))
        return self.head(found)


class SemanticFPN(nn.Module):
    """Semantic FPN (arXiv:1901.02446): every level of a pyramid goes up to stride 4 by convolutions of 128 channels, where all are added.

    Args:
        widths: channels of the four maps.
    """

    def __init__(self, widths: Sequence[int], num_classes: int = 150) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(widths), PYRAMID)
        self.up = nn.ModuleList(
            nn.ModuleList(conv_bn(PYRAMID if step == 0 else 128, 128, 3) for step in range(max(1, level)))
            for level in range(4)
        )
        self.classes = nn.Conv2d(128, num_classes, 1)

    def forward(self, maps: Maps) -> Float[Tensor, "b classes h w"]:
        """Logits at stride 4."""
        levels = list(self.pyramid(_named(maps)).values())
        total = levels[0].new_zeros(())
        for level, (x, steps) in enumerate(zip(levels, self.up, strict=True)):
            for step, conv in enumerate(steps):  # type: ignore[arg-type]
                x = conv(x)
                if level:
                    x = resized(x, levels[level - 1 - step].shape[-2:])
            total = total + x
        return self.classes(total)


class UperNet(nn.Module):
    """UperNet (arXiv:1807.10221): pooling over 1, 2, 3 and 6 cells and a pyramid of 512 channels; an auxiliary head on stride 16.

    Args:
        widths: channels of the four maps.
    """

    CELLS = (1, 2, 3, 6)

    def __init__(self, widths: Sequence[int], num_classes: int = 150, dim: int = 512) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), conv_bn(widths[3], dim, 1)) for cells in self.CELLS
        )
        self.pooled = conv_bn(widths[3] + len(self.CELLS) * dim, dim, 3)
        self.lateral = nn.ModuleList(conv_bn(width, dim, 1) for width in widths[:3])
        self.smooth = nn.ModuleList(conv_bn(dim, dim, 3) for _ in widths[:3])
        self.fuse = conv_bn(4 * dim, dim, 3)
        self.classes = nn.Conv2d(dim, num_classes, 1)
        self.auxiliary = nn.Sequential(conv_bn(widths[2], 256, 3), nn.Conv2d(256, num_classes, 1))

    def forward(self, maps: Maps) -> tuple[Float[Tensor, "b classes h w"], Float[Tensor, "b classes h2 w2"]]:
        """Logits at stride 4, and those of the auxiliary head at stride 16."""
        last = maps[3]
        pooled = [resized(pool(last), last.shape[-2:]) for pool in self.pools]
        levels = [lateral(x) for lateral, x in zip(self.lateral, maps[:3], strict=True)]
        levels.append(self.pooled(torch.cat([last, *pooled], dim=1)))
        for level in (2, 1, 0):
            levels[level] = levels[level] + resized(levels[level + 1], levels[level].shape[-2:])
        smooth = [conv(x) for conv, x in zip(self.smooth, levels[:3], strict=True)] + [levels[3]]
        size = smooth[0].shape[-2:]
        fused = self.fuse(torch.cat([resized(x, size) for x in smooth], dim=1))
        return self.classes(fused), self.auxiliary(maps[2])


class SimpleBaseline(nn.Module):
    """Keypoints (arXiv:1804.06208): three transposed convolutions on the last map, and one heat map for each joint.

    Args:
        widths: channels of the four maps.
    """

    def __init__(self, widths: Sequence[int], joints: int = 17, dim: int = 256) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for in_dim in (widths[3], dim, dim):
            steps += [nn.ConvTranspose2d(in_dim, dim, 4, 2, 1, bias=False), nn.BatchNorm2d(dim), nn.ReLU(inplace=True)]
        self.up = nn.Sequential(*steps)
        self.joints = nn.Conv2d(dim, joints, 1)

    def forward(self, maps: Maps) -> Float[Tensor, "b joints h w"]:
        """Heat maps at stride 4."""
        return self.joints(self.up(maps[3]))


HEADS: dict[str, Callable[[Sequence[int]], nn.Module]] = {
    "retinanet": RetinaNet,
    "mask_rcnn": MaskRCNN,
    "ssdlite": SSDLite,
    "semantic_fpn": SemanticFPN,
    "upernet": UperNet,
    "simple_baseline": SimpleBaseline,
}

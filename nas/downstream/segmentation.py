"""A trainable segmenter of a backbone and a head, and its score.

model = Segmenter.of("mat_1", num_classes=21)
loss = model.loss(images, labels)       # labels (b, h, w), IGNORED where no class is known
loss.backward()
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from nas.downstream.counting import STRIDES
from nas.downstream.heads import SemanticFPN, UperNet, resized
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, load_tensors, read_architecture, weights_of
from search_spaces.errors import InputError, unknown
from search_spaces.files.blueprint import check_fits
from search_spaces.files.tensors import read_header
from search_spaces.registry import complete
from search_spaces.textfiles import expanded
from search_spaces.timm_models import TimmNetwork
from search_spaces.timm_sizes import reductions

SEGMENTERS: dict[str, Any] = {"semantic_fpn": SemanticFPN, "upernet": UperNet}

IGNORED = 255
"""The label of a pixel whose class is not known."""

AUXILIARY = 0.4
"""Weight of the loss of UperNet's auxiliary head."""


class Stages(nn.Module):
    """The maps of a network's four stages.

    Args:
        network: of this project.
    """

    def __init__(self, network: TimmNetwork) -> None:
        super().__init__()
        self.network = network
        self.network.prune_intermediate_layers(len(network.stages), prune_norm=True)

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        return self.network.forward_intermediates(x, intermediates_only=True)


def backbone_of(name: str, **given: Any) -> tuple[nn.Module, list[int]]:
    """A backbone that gives the maps at strides 4 to 32, and the widths of these maps.

    Args:
        name: the folder of a network of this project, with its weights, or a model of timm (`timm.create_model`, "local-dir:FOLDER" too).
        given: arguments of the model, such as drop_path_rate=0.1; for a model of timm pretrained=True, which loads its weights.

    Raises:
        InputError: there is no such network, or its maps have other strides.
    """
    folder = expanded(name)
    if (folder / ARCH).is_file():
        arch = read_architecture(folder / ARCH)
        weights = weights_of(folder)
        check_fits(read_header(folder / weights), complete(arch), str(folder / weights))  # before memory is taken
        network = TimmNetwork(arch, num_classes=arch.num_classes, in_chans=arch.in_channels, **given)
        load_tensors(RunStore(folder), weights, network)
        widths, strides = [stage.width for stage in arch.stages], reductions(arch)
        if tuple(strides) == STRIDES:
            return Stages(network), widths
    else:
        import timm

        try:
            model = timm.create_model(name, features_only=True, **given)
        except (RuntimeError, ValueError) as error:  # of a name that is none
            reason = (str(error).splitlines() or [""])[0][:200]
            raise InputError(
                f"there is no backbone {name!r} ({reason})", "a folder of a network, or a model of timm", "mat_1"
            ) from None
        info: Any = model.feature_info
        widths, strides = info.channels()[-4:], info.reduction()[-4:]
        if tuple(strides) == STRIDES:
            return _LastFour(model), list(widths)
    raise InputError(f"the maps of {name} have strides {list(strides)}", f"{list(STRIDES)}", "mat_1")


class _LastFour(nn.Module):
    """The last four maps of a model with more."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Tensor]:
        return list(self.model(x))[-4:]


class Segmenter(nn.Module):
    """A backbone and a head: an image (b, c, h, w) becomes logits (b, classes, h, w).

    Args:
        backbone: gives the maps at strides 4, 8, 16 and 32.
        head: gives logits at stride 4, or these and those of an auxiliary head.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @classmethod
    def of(cls, name: str, num_classes: int, head: str = "semantic_fpn", **given: Any) -> "Segmenter":
        """A segmenter on a backbone by its name; see `backbone_of`.

        Args:
            head: a name in `SEGMENTERS`.

        Raises:
            InputError: there is no such backbone or head.
        """
        if head not in SEGMENTERS:
            raise unknown("head", head, SEGMENTERS, 'head="{}"')
        backbone, widths = backbone_of(name, **given)
        return cls(backbone, SEGMENTERS[head](widths, num_classes))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        return resized(self._logits(images)[0], images.shape[-2:])

    def _logits(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.head(self.backbone(images))
        return found if isinstance(found, tuple) else (found,)

    def loss(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """Mean cross-entropy of the pixels whose class is known, and a share of that of the auxiliary head."""
        losses = [
            F.cross_entropy(resized(logits, labels.shape[-2:]), labels, ignore_index=IGNORED)
            for logits in self._logits(images)
        ]
        return losses[0] + AUXILIARY * torch.stack(losses[1:]).sum() if len(losses) > 1 else losses[0]


def intersection_over_union(
    found: Iterable[tuple[Int64[Tensor, "b h w"], Int64[Tensor, "b h w"]]], num_classes: int
) -> list[float]:
    """Intersection over union of each class over all pixels whose class is known; nan for a class that is neither there nor predicted.

    Args:
        found: predictions and labels of batches.
    """
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for predicted, labels in found:
        known = labels != IGNORED
        pairs = labels[known] * num_classes + predicted[known]
        counts += torch.bincount(pairs.cpu(), minlength=num_classes**2).reshape(num_classes, num_classes)
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    return [
        float(hit) / float(all_of_it) if all_of_it else float("nan")
        for hit, all_of_it in zip(counts.diagonal(), union, strict=True)
    ]


def mean_of_known(shares: Sequence[float]) -> float:
    """The mean of those that are numbers: mIoU."""
    known = [share for share in shares if share == share]
    return sum(known) / len(known)

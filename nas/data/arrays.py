"""Data sets that are small enough to be read at once, as arrays."""

import abc
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional

from nas.config import DataConfig
from nas.data.item import NEW_RUN, Item, check_content, content_hash
from nas.data.layout import PART_NAMES
from nas.data.source import Source, no_files
from search_spaces.errors import InputError


class Arrays(Source):
    """Images that are read at once, pool by pool. A data set of this kind says its `names` and how to `read` a pool.

    names: of the classes, by label.
    pads: zero-pads images around the middle where the resolution is no smaller; else they are resized bilinearly.
    """

    in_channels = 1
    names: ClassVar[tuple[str, ...]]
    pads: ClassVar[bool] = False

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        if config.augment == "timm":
            raise no_files(config)
        self.classes = self.names
        self._pools: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}

    @abc.abstractmethod
    def read(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        """The images UInt8["n h w"], of three channels UInt8["n h w 3"], and labels Int["n"] of train, validation or test.

        Returns:
            None where the data set has no such part; it is then cut from train.
        """

    def _arrays(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part not in self._pools:
            self._pools[part] = self.read(part)
        return self._pools[part]

    def pools(self) -> dict[str, list[Item] | None]:
        return {part: self._pool(part) for part in PART_NAMES}

    def _pool(self, part: str) -> list[Item] | None:
        arrays = self._arrays(part)
        if arrays is None:
            return None
        return [
            Item(f"{part}/{index}", int(label), content_hash(image))
            for index, (image, label) in enumerate(zip(*arrays, strict=True))
        ]

    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        raw = []
        for item in items:
            pool, _, index = item.id.partition("/")
            arrays = self._arrays(pool) if pool in PART_NAMES and index.isdecimal() and len(index) < 13 else None
            if arrays is None or not int(index) < len(arrays[0]):
                raise InputError(
                    f"image {item.id} of data set {self.config.name} is gone", "the images that were split", NEW_RUN
                )
            image = arrays[0][int(index)]
            check_content(item, image, part, f"image {item.id} of data set {self.config.name}")
            raw.append(image)
        stacked = torch.from_numpy(np.stack(raw))
        images = stacked.reshape(*stacked.shape[:3], self.in_channels)
        return torch.cat([self._fit(chunk) for chunk in images.split(4096)])

    def _fit(self, images: UInt8[Tensor, "n h w c"]) -> UInt8[Tensor, "n r r c"]:
        side, resolution = images.shape[1], self.config.resolution
        if self.pads and resolution >= side:
            before, after = (resolution - side) // 2, (resolution - side + 1) // 2
            return functional.pad(images, (0, 0, before, after, before, after))
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        planes = functional.interpolate(planes, size=(resolution, resolution), mode="bilinear", antialias=True)
        return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

"""Data sets of small grey images that are read at once: scikit-learn's digits and the idx files of Fashion-MNIST."""

import gzip
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

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

FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist puts the files."""

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip


class _Grey(Source):
    """Grey images that are small enough to be read at once, pool by pool.

    Args:
        read: the images UInt8["n h w"] and labels Int["n"] of a pool; None where there is no such pool.
        pad: zero-pads images around the middle where the resolution is no smaller; else they are resized bilinearly.
    """

    in_channels = 1

    def __init__(
        self,
        config: DataConfig,
        classes: tuple[str, ...],
        read: Callable[[str], tuple[np.ndarray, np.ndarray] | None],
        pad: bool,
    ) -> None:
        super().__init__(config)
        if config.augment == "timm":
            raise no_files(config)
        self.classes = classes
        self._read, self._pad = read, pad
        self._pools: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}

    def _arrays(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part not in self._pools:
            self._pools[part] = self._read(part)
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
            arrays = self._arrays(pool)
            if arrays is None or not 0 <= int(index) < len(arrays[0]):
                raise InputError(
                    f"image {item.id} of data set {self.config.name} is gone", "the images that were split", NEW_RUN
                )
            image = arrays[0][int(index)]
            check_content(item, image, part, f"image {item.id} of data set {self.config.name}")
            raw.append(image)
        images = torch.from_numpy(np.stack(raw))[..., None]
        return torch.cat([self._fit(chunk) for chunk in images.split(4096)])

    def _fit(self, images: UInt8[Tensor, "n h w 1"]) -> UInt8[Tensor, "n r r 1"]:
        side, resolution = images.shape[1], self.config.resolution
        if self._pad and resolution >= side:
            before, after = (resolution - side) // 2, (resolution - side + 1) // 2
            return functional.pad(images, (0, 0, before, after, before, after))
        planes = images.permute(0, 3, 1, 2).to(torch.float32)
        planes = functional.interpolate(planes, size=(resolution, resolution), mode="bilinear", antialias=True)
        return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def digits(config: DataConfig) -> Source:
    def read(part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part != "train":
            return None
        from sklearn.datasets import load_digits

        images, labels = map(np.asarray, load_digits(return_X_y=True))
        return np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels

    return _Grey(config, tuple("0123456789"), read, pad=False)


def fashion_mnist(config: DataConfig) -> Source:
    folder = Path(config.root or FASHION_FOLDER)

    def read(part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part == "validation":
            return None
        prefix = {"train": "train", "test": "t10k"}[part]
        image_file, images = _read_idx(folder, f"{prefix}-images-idx3-ubyte", (28, 28))
        label_file, labels = _read_idx(folder, f"{prefix}-labels-idx1-ubyte", ())
        if len(images) != len(labels):
            raise InputError(
                f"{image_file} has {len(images)} images and {label_file} has {len(labels)} labels",
                "one label for each image",
                _FASHION_AGAIN,
            )
        if labels.max() >= len(FASHION_CLASSES):
            raise InputError(f"{label_file} has a label {labels.max()}", "labels from 0 to 9", _FASHION_AGAIN)
        return images, labels

    return _Grey(config, FASHION_CLASSES, read, pad=True)


_FASHION_AGAIN = "apt-get install --reinstall dataset-fashion-mnist, or data.root=PATH of whole files"


def _read_idx(folder: Path, name: str, shape: tuple[int, ...]) -> tuple[Path, np.ndarray]:
    """An idx file of unsigned bytes, plain or as .gz, whose items have the given shape.

    Raises:
        InputError: missing, damaged, or of another shape.
    """
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{folder / name} does not exist, nor does it with .gz",
            "the four files of Fashion-MNIST, plain or .gz",
            "apt-get install dataset-fashion-mnist, or data.root=PATH of a folder with the files",
        )
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "a whole idx file", _FASHION_AGAIN) from None
    axes = 1 + len(shape)
    magic = 0x0800 + axes
    header = np.frombuffer(data[: 4 * (1 + axes)], dtype=">u4") if len(data) >= 4 * (1 + axes) else None
    if header is None or header[0] != magic:
        found = data[:4].hex() or "nothing"
        raise InputError(f"{path} begins with {found}", f"an idx file, which begins with {magic:08x}", _FASHION_AGAIN)
    sizes = tuple(map(int, header[1:]))
    if sizes[1:] != shape or sizes[0] == 0:
        wanted = " x ".join(["count", *map(str, shape)])
        raise InputError(
            f"{path} holds {' x '.join(map(str, sizes))} values", f"{wanted}, with a count above 0", _FASHION_AGAIN
        )
    body = len(data) - 4 * (1 + axes)
    if body != math.prod(sizes):
        raise InputError(
            f"{path} has {body} bytes of values, but its header announces {math.prod(sizes)}",
            "a whole idx file",
            _FASHION_AGAIN,
        )
    return path, np.frombuffer(data, dtype=np.uint8, offset=4 * (1 + axes)).reshape(sizes)

"""Images: which of them train, choose and test (`make_split`), and batches of one of those parts alone (`load_part`).

    digits         scikit-learn's 1797 grey digits of 8x8, resized bilinearly to the resolution
    fashion_mnist  the four idx files of Fashion-MNIST; 28x28, zero-padded to the resolution, or resized below 28
    folder         ROOT/CLASS/**/IMAGE, or ROOT/train/CLASS/**/IMAGE with ROOT/val and ROOT/test if there are such
    timm/NAME      what timm.data.create_dataset reaches: hfds/, hfids/, tfds/, wds/ and torch/, or timm/ alone for a
                   folder or tar file as timm reads it

A split is made once and names every image with a hash of its content. Loading train or validation never opens, decodes
or hashes an image of the test part; loading any part fails if an image is not the one that was split. An image that is
identical to one of the test part trains and chooses nothing, and identical images stay in one part.

scikit-learn, torchvision and timm are imported by the functions that need them.
"""

import abc
import contextlib
import functools
import gzip
import hashlib
import io
import json
import math
import operator
import os
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset

from nas import augment as augmentation
from nas.config import DataConfig
from search_spaces.errors import InputError, unknown

PARTS = ("train", "validation", "test")
"""train fits weights, validation chooses architectures, test is read once at the end."""

MEMORY_LIMIT = 2**30
"""Bytes up to which the images of a part are decoded once and kept; a larger part of files is decoded in every pass."""

STATISTICS_IMAGES = 2048
"""The most images of train that mean and std are computed from."""

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist puts the files."""

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip

_NEW_RUN = "put the images back as they were, or start a new run: run=runs/new"


def content_hash(content: bytes | np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of a file's bytes, or of an array's shape and values."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()[:16]
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Split:
    """Which image belongs to which part of a data set.

    name, seed, resolution: what it was made from.
    classes: their names; a label is an index into them.
    in_channels: 1 or 3.
    mean, std: per channel of at most 2048 images of train at the resolution, with pixels in [0, 1]; std is at least
        1/255.
    parts: the ids of train, validation and test: paths from the root for folder, POOL/INDEX for the others. Each list
        is in a random order in which every class is spread evenly, so that its first n images are a stratified sample.
    labels, hashes: of the images in `parts`, in the same order.
    dropped: how many images of train and of validation were left out because test, or validation, has the same.

    Raises:
        InputError: the fields contradict each other, or an image is in two parts.
    """

    name: str
    seed: int
    resolution: int
    classes: tuple[str, ...]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parts: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, int]

    def __post_init__(self) -> None:
        if any(set(table) != set(PARTS) for table in (self.parts, self.labels, self.hashes)):
            raise _damaged(f"its parts are not {', '.join(PARTS)}")
        for part in PARTS:
            if not len(self.parts[part]) == len(self.labels[part]) == len(self.hashes[part]) > 0:
                raise _damaged(f"{part} is empty, or has not one label and one hash for each image")
            if not all(0 <= label < len(self.classes) for label in self.labels[part]):
                raise _damaged(f"a label in {part} is of no class")
        for what in ("parts", "hashes"):
            seen: set[str] = set()
            for part in PARTS:
                here = set(getattr(self, what)[part])
                if seen & here or (what == "parts" and len(here) != len(self.parts[part])):
                    raise _damaged(f"an image of {part} appears twice")
                seen |= here
        if not len(self.mean) == len(self.std) == self.in_channels or min(self.std) <= 0:
            raise _damaged("mean and std are not one number for each channel, with std above 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; `Split.from_dict(s.to_dict()) == s`."""
        return {
            "name": self.name,
            "seed": self.seed,
            "resolution": self.resolution,
            "classes": list(self.classes),
            "in_channels": self.in_channels,
            "mean": list(self.mean),
            "std": list(self.std),
            "dropped": dict(self.dropped),
            **{key: {part: list(getattr(self, key)[part]) for part in PARTS} for key in ("parts", "labels", "hashes")},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Split":
        """The split that `to_dict` wrote.

        Raises:
            InputError: `data` is not such a dict.
        """
        try:
            return cls(
                name=str(data["name"]),
                seed=int(data["seed"]),
                resolution=int(data["resolution"]),
                classes=tuple(map(str, data["classes"])),
                in_channels=int(data["in_channels"]),
                mean=tuple(map(float, data["mean"])),
                std=tuple(map(float, data["std"])),
                parts={part: tuple(map(str, ids)) for part, ids in data["parts"].items()},
                labels={part: tuple(map(int, labels)) for part, labels in data["labels"].items()},
                hashes={part: tuple(map(str, hashes)) for part, hashes in data["hashes"].items()},
                dropped={part: int(count) for part, count in data["dropped"].items()},
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(f"{type(error).__name__}: {error}") from None

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that differ for different splits."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _damaged(how: str) -> InputError:
    return InputError(
        f"split.json is damaged: {how}", "a split as nas wrote it", "a copy of it, or a new run: run=runs/new"
    )


class _Item(NamedTuple):
    """One image of a source: its id, label and content hash."""

    id: str
    label: int
    hash: str


# What can be read


class _Source(abc.ABC):
    """A data set as a user names it. Creating one opens no image."""

    in_channels: int

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    @property
    @abc.abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label. May read the train pool."""

    @abc.abstractmethod
    def pool(self, part: str) -> list[_Item] | None:
        """The images that the data set itself gives to `part`, hashed; None where it has no such part."""

    @abc.abstractmethod
    def pixels(self, items: Sequence[_Item], part: str) -> UInt8[Tensor, "n r r c"]:
        """These images at the resolution, each checked against its hash."""

    def verify(self, items: Sequence[_Item], part: str) -> None:
        """Decodes these images, unless listing them has done so."""
        decoder = self.decoder(items, part, ())
        if decoder is not None:
            for _ in decoder.pixels(_ranges(len(items))):
                pass

    def decoder(self, items: Sequence[_Item], part: str, mean: tuple[float, ...]) -> "_Decoder | None":
        """Reads these images from files one by one; None where they are no files."""
        return None


class _Grey(_Source):
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
            raise _no_files(config)
        self._classes, self._read, self._pad = classes, read, pad
        self._pools: dict[str, tuple[np.ndarray, np.ndarray] | None] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        return self._classes

    def _arrays(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part not in self._pools:
            self._pools[part] = self._read(part)
        return self._pools[part]

    def pool(self, part: str) -> list[_Item] | None:
        arrays = self._arrays(part)
        if arrays is None:
            return None
        return [
            _Item(f"{part}/{index}", int(label), content_hash(image))
            for index, (image, label) in enumerate(zip(*arrays, strict=True))
        ]

    def pixels(self, items: Sequence[_Item], part: str) -> UInt8[Tensor, "n r r c"]:
        raw = []
        for item in items:
            pool, _, index = item.id.partition("/")
            arrays = self._arrays(pool)
            if arrays is None or not 0 <= int(index) < len(arrays[0]):
                raise InputError(
                    f"image {item.id} of data set {self.config.name} is gone", "the images that were split", _NEW_RUN
                )
            image = arrays[0][int(index)]
            _check(item, image, part, f"image {item.id} of data set {self.config.name}")
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


def _no_files(config: DataConfig) -> InputError:
    return InputError(
        f"augment is timm, but data set {config.name} is read into memory as arrays",
        "none, light or standard; timm for image files only",
        "data.augment=standard",
    )


def _check(item: _Item, content: bytes | np.ndarray, part: str, where: str) -> None:
    if content_hash(content) != item.hash:
        raise InputError(
            f"{where} has changed since the split put it into {part}", "the images that were split", _NEW_RUN
        )


def _digits(config: DataConfig) -> _Source:
    def read(part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part != "train":
            return None
        from sklearn.datasets import load_digits

        images, labels = map(np.asarray, load_digits(return_X_y=True))
        return np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels

    return _Grey(config, tuple("0123456789"), read, pad=False)


# Fashion-MNIST


def _fashion(config: DataConfig) -> _Source:
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


# Image files


class _Reader(abc.ABC):
    """Raw images by id. A copy of it lives in each worker process."""

    @abc.abstractmethod
    def where(self, id: str) -> str:
        """The image as messages name it."""

    @abc.abstractmethod
    def raw(self, id: str) -> bytes | np.ndarray:
        """An encoded file, or a decoded image UInt8["h w 3"].

        Raises:
            InputError: it cannot be read.
        """


class _Folder(_Source):
    """Files of three channels in a folder per class."""

    in_channels = 3

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self._reader = _FileReader(config.root)

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return tuple(self._files("train") or ())

    def _layout(self) -> dict[str, Path]:
        """The folder of each part that there is."""
        root = Path(self.config.root)
        if not root.is_dir():
            raise InputError(
                f"{root} is not a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
            )
        names = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
        found = {part: [root / name for name in known if _subfolders(root / name)] for part, known in names.items()}
        if not found["train"]:
            if found["validation"] or found["test"]:
                raise _no_train(root, (found["validation"] + found["test"])[0].name)
            return {"train": root}
        if len(found["validation"]) > 1:
            both = " and ".join(path.name for path in found["validation"])
            raise InputError(f"{root} has {both}", "one folder of validation images", "rename or merge one of them")
        for name in (*names["validation"], *names["test"]):
            if (root / name).is_dir() and not _subfolders(root / name):
                raise InputError(
                    f"{root / name} holds no folder of a class",
                    "the same classes as in train",
                    f"remove or fill {root / name}",
                )
        return {part: folders[0] for part, folders in found.items() if folders}

    def _files(self, part: str) -> dict[str, list[Path]] | None:
        """The image files of each class of a part, sorted; None where there is no such part."""
        folder = self._layout().get(part)
        if folder is None:
            return None
        folders = _subfolders(folder)
        if not folders:
            images = [path.name for path in sorted(folder.iterdir()) if _is_image(path)]
            raise InputError(
                f"{folder} has no folder of a class, but {images[0]} itself"
                if images
                else f"{folder} is empty of images",
                "one sub-folder of images per class",
                f"move the images into {folder}/CLASS, or data.root=PATH",
            )
        files = {path.name: sorted(_images_below(path)) for path in folders}
        for name, paths in files.items():
            if not paths:
                raise InputError(
                    f"class {name!r} has no image in {folder / name}",
                    f"at least one file {', '.join('*' + suffix for suffix in IMAGE_SUFFIXES)} per class",
                    f"add images to {folder / name}, or remove that folder",
                )
        if len(files) < 2:
            raise InputError(
                f"{folder} has one class only, {next(iter(files))!r}",
                "two classes or more",
                "data.root=PATH of the classes",
            )
        return files

    def pool(self, part: str) -> list[_Item] | None:
        files = self._files(part)
        if files is None:
            return None
        labels = {name: label for label, name in enumerate(self.classes)}
        for name in files:
            if name not in labels:
                raise InputError(
                    f"class {name!r} of {part} ({files[name][0].parent}) is not in train",
                    f"the classes of train: {', '.join(labels)}",
                    "add images of it to train, or remove it there",
                )
        root = Path(self.config.root)
        ids = [(path.relative_to(root).as_posix(), labels[name]) for name in files for path in files[name]]
        return [_Item(id, label, content_hash(self._reader.raw(id))) for id, label in ids]

    def pixels(self, items: Sequence[_Item], part: str) -> UInt8[Tensor, "n r r c"]:
        return _gather(self.decoder(items, part, ()))

    def decoder(self, items: Sequence[_Item], part: str, mean: tuple[float, ...]) -> "_Decoder":
        return _Decoder(self._reader, items, part, self.config, mean)


def _no_train(root: Path, part: str) -> InputError:
    return InputError(
        f"{root} has a part {part} but no train",
        "train/CLASS/IMAGE beside it, or CLASS/IMAGE alone",
        f"put the training images into {root / 'train'}",
    )


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _images_below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for path in (Path(where, name) for name in names) if _is_image(path))


@dataclass(frozen=True)
class _FileReader(_Reader):
    root: str

    def where(self, id: str) -> str:
        return str(Path(self.root, id))

    def raw(self, id: str) -> bytes:
        try:
            return Path(self.root, id).read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.where(id)} cannot be read ({error.strerror})", "the images that were split", _NEW_RUN
            ) from None


def _decode(content: bytes | np.ndarray, where: str) -> Image.Image:
    """The image in RGB, wholly decoded.

    Raises:
        InputError: it is no image that PIL reads, or one of 32 bits per pixel.
    """
    try:
        if not isinstance(content, bytes):
            return Image.fromarray(content)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode.startswith("I;16"):  # PIL would cut off everything above 255
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(f"pixels of 32 bits, mode {image.mode}")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except Exception as error:  # PIL's decoders raise nearly everything on damaged files
        reason = str(error).split(" <_io.")[0]
        raise InputError(
            f"{where} cannot be decoded ({type(error).__name__}: {reason})",
            "an image of 8 or 16 bits that PIL reads",
            "replace or remove it, then start a new run: run=runs/new",
        ) from None


class _Decoder(Dataset[Any]):
    """Decodes the images of one part, in worker processes or in this one.

    Args:
        items: the images, none but of that part.
        mean: per channel, of the split; only used by random transforms.
    """

    def __init__(
        self, reader: _Reader, items: Sequence[_Item], part: str, config: DataConfig, mean: tuple[float, ...]
    ) -> None:
        self._reader, self._items, self._part = reader, tuple(items), part
        self.resolution, self._workers, self._mean = config.resolution, config.workers, mean
        self._transforms: dict[bool, Callable[[Any], Tensor]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def _transform(self, random: bool) -> Callable[[Any], Tensor]:
        if random not in self._transforms:
            self._transforms[random] = (
                augmentation.training_transform(self.resolution, self._mean)
                if random
                else augmentation.evaluation_transform(self.resolution)
            )
        return self._transforms[random]

    def __getitem__(self, key: tuple[int, tuple[int, int] | None]) -> Tensor | InputError:
        """One image, UInt8["r r 3"].

        An error is returned, as worker processes cannot raise one of three arguments.

        Args:
            key: the image's position in the part, and (seed, epoch) of its random transform; None transforms without
                chance.
        """
        index, chance = key
        item = self._items[index]
        try:
            where = self._reader.where(item.id)
            content = self._reader.raw(item.id)
            _check(item, content, self._part, where)
            image = _decode(content, where)
        except InputError as error:
            return error
        if chance is None:
            return self._transform(False)(image).permute(1, 2, 0).contiguous()
        with augmentation.global_seed(augmentation.derive("image", *chance, index)):
            return self._transform(True)(image).permute(1, 2, 0).contiguous()

    def pixels(
        self, batches: Iterable[Sequence[int]], chance: tuple[int, int] | None = None
    ) -> Iterator[UInt8[Tensor, "b r r 3"]]:
        """The images at these positions, batch by batch.

        Args:
            chance: (seed, epoch) of the random transform; None transforms without chance.

        Raises:
            InputError: an image cannot be read or decoded, or has changed since the split.
        """
        keys = ([(index, chance) for index in batch] for batch in batches)
        self._transform(chance is not None)  # imported before, not in, each worker
        loader = DataLoader(
            self,
            batch_sampler=keys,  # pyright: ignore[reportArgumentType] - any iterable of lists of keys will do
            num_workers=self._workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # or the loader draws from the global one
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


def _stack(images: list[Tensor | InputError]) -> Tensor | InputError:
    for image in images:
        if isinstance(image, InputError):
            return image
    return torch.stack([image for image in images if isinstance(image, Tensor)])


def _ranges(count: int) -> list[range]:
    return [range(start, min(start + 64, count)) for start in range(0, count, 64)]


def _gather(decoder: _Decoder) -> UInt8[Tensor, "n r r 3"]:
    """All images of a decoder, decoded without chance."""
    pixels = torch.empty(len(decoder), decoder.resolution, decoder.resolution, 3, dtype=torch.uint8)
    for positions, batch in zip(_ranges(len(decoder)), decoder.pixels(_ranges(len(decoder))), strict=True):
        pixels[positions.start : positions.stop] = batch
    return pixels


# What timm reaches

_PACKAGES = {
    "hfds": ("datasets",),
    "hfids": ("datasets",),
    "tfds": ("tensorflow", "tensorflow-datasets"),
    "wds": ("webdataset",),
    "torch": (),
    "": (),
}
"""Kinds of data set that timm knows by the first word of their names, and the packages that each needs."""

_TEST_AS_VALIDATION = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist")
"""torchvision's sets for which timm returns the test images when asked for validation images."""

_TIMM_FOLDERS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "eval", "evaluation"),
    "test": ("test",),
}
"""Names of the folders in which timm looks for parts."""


class _Timm(_Source):
    """A data set of timm.data.create_dataset, in three channels.

    Sets with random access are read image by image. Sets that can only be iterated (wds, tfds, hfids) are read from the
    beginning to the last image of the part, which decodes all images on the way, and kept in memory at the resolution.
    """

    in_channels = 3

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self._name = config.name.removeprefix("timm/")
        self._kind = self._name.partition("/")[0].lower() if "/" in self._name else self._name
        if self._kind not in _PACKAGES or (self._kind and not self._name.partition("/")[2]):
            kinds = [f"timm/{kind}/NAME" if kind else "timm/" for kind in _PACKAGES]
            raise unknown("data set", config.name, kinds, "data={}")
        missing = [package for package in _PACKAGES[self._kind] if not _importable(package)]
        if missing:
            raise InputError(
                f"data set {config.name} needs {' and '.join(missing)}, which cannot be imported",
                "a data set whose packages are installed",
                f"pip install {' '.join(missing)}",
            )
        if self._kind in ("", "torch") and not config.root:
            raise InputError(f"data={config.name} without a root", "the folder that holds it", "data.root=PATH")
        self._open: dict[str, Any] = {}
        self._pools: dict[str, list[_Item] | None] = {}
        self._classes: dict[str, int] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        self.pool("train")
        return tuple(self._classes)

    def _splits(self, part: str) -> tuple[str, ...]:
        """The names under which timm may know this part, the first that is there to be taken."""
        name = self._name.lower()
        if name.removeprefix("torch/") in _TEST_AS_VALIDATION and self._kind == "torch":
            return () if part == "validation" else (part,)
        if self._kind == "" or name in ("torch/image_folder", "torch/folder"):
            # For a part that is not there, timm would return the whole folder.
            root = Path(self.config.root)
            if not root.is_dir() and not (root.is_file() and root.suffix == ".tar"):
                raise InputError(
                    f"{root} is no folder and no .tar file", "images in a folder per class", "data.root=PATH"
                )
            found = {key: tuple(n for n in names if (root / n).is_dir()) for key, names in _TIMM_FOLDERS.items()}
            if not found["train"] and (found["validation"] or found["test"]):
                raise _no_train(root, (*found["validation"], *found["test"])[0])
            return found["train"] or ("train",) if part == "train" else found[part]
        return ("validation", "val", "valid") if part == "validation" else (part,)

    def dataset(self, split: str, optional: bool = False) -> Any:
        """timm's data set for a split; None for an optional one that is not there."""
        if split not in self._open:
            from timm.data.dataset_factory import create_dataset

            try:
                data: Any = create_dataset(self._name, root=self.config.root or None, split=split)
            except Exception as error:  # whatever the library behind timm raises
                absent = ("split", "unknown value", "length is unknown")
                if (
                    optional
                    and isinstance(error, KeyError | ValueError | RuntimeError)
                    and any(word in str(error).lower() for word in absent)
                ):
                    return None
                call = f"create_dataset({self._name!r}, root={self.config.root!r}, split={split!r}, download=True)"
                raise InputError(
                    f"timm cannot open data set {self.config.name}, split {split} ({type(error).__name__}: {error})",
                    "a data set that timm.data.create_dataset opens",
                    f"data.root=PATH of its files; to download them: python -c 'import timm.data as d; d.{call}'"
                    if self._kind == "torch"
                    else "check the name after timm/ and data.root=PATH",
                ) from error
            if hasattr(getattr(data, "reader", None), "cache_tarfiles"):
                data.reader.cache_tarfiles = False  # else worker processes would share one file position
            self._open[split] = data
        return self._open[split]

    def _iterate(self, split: str) -> Generator[tuple[np.ndarray, Any], None, None]:
        """Images UInt8["h w 3"] and targets of a set without random access."""
        try:
            for image, target in self.dataset(split):
                yield np.asarray(image.convert("RGB")), target
        except InputError:
            raise
        except Exception as error:  # whatever the library behind timm raises
            raise InputError(
                f"reading data set {self.config.name}, split {split}, failed ({type(error).__name__}: {error})",
                "a data set whose images can all be read",
                "mend or download it again",
            ) from error

    def pool(self, part: str) -> list[_Item] | None:
        if part not in self._pools:
            if part != "train":
                self.pool("train")  # which says what the classes are
            self._pools[part] = None
            for split in self._splits(part):
                data = self.dataset(split, optional=part != "train")
                if data is not None and (items := self._list(part, split, data)):
                    self._pools[part] = items
                    break
        return self._pools[part]

    def _list(self, part: str, split: str, data: Any) -> list[_Item]:
        """All images of one of timm's splits; none where test or validation images have no labels (-1)."""
        found: list[tuple[int, str]] = []
        if isinstance(data, IterableDataset):
            if self.config.augment == "timm":
                raise _no_files(self.config)
            found = [(self._label(target), content_hash(image)) for image, target in self._iterate(split)]
        else:
            reader = _TimmReader(self.config.name, {split: data})
            for index in range(len(data)):
                content, target = reader.pair(f"{split}/{index}")
                found.append((self._label(target), content_hash(content)))
        if part != "train" and all(label < 0 for label, _ in found):
            return []
        known = _class_names(data)
        if part == "train":
            labels = sorted({label for label, _ in found})
            self._classes = {known.get(label, str(label)): index for index, label in enumerate(labels)}
            if len(labels) < 2 or labels[0] < 0:
                raise InputError(
                    f"data set {self.config.name}, split {split}, has the labels {labels[:5]}",
                    "two classes or more, and a label for each image",
                    "another data set, or data.root=PATH",
                )
        items = []
        for index, (label, digest) in enumerate(found):
            name = known.get(label, str(label))
            if name not in self._classes:
                raise InputError(
                    f"class {name!r} of split {split} of data set {self.config.name} is not in train",
                    "the classes of train",
                    "another data set, or remove the class there",
                )
            items.append(_Item(f"{split}/{index}", self._classes[name], digest))
        return items

    def _label(self, target: Any) -> int:
        try:
            return -1 if target is None else operator.index(target)
        except TypeError:
            raise InputError(
                f"data set {self.config.name} has the label {target!r}", "one class for each image", "another data set"
            ) from None

    def pixels(self, items: Sequence[_Item], part: str) -> UInt8[Tensor, "n r r c"]:
        decoder = self.decoder(items, part, ())
        if decoder is not None:
            return _gather(decoder)
        side = self.config.resolution
        _fits_memory(len(items) * side * side * 3, self.config)
        places = {item.id: place for place, item in enumerate(items)}
        transform = augmentation.evaluation_transform(side)
        pixels = torch.empty(len(items), side, side, 3, dtype=torch.uint8)
        missing = set(places)
        for split in {id.partition("/")[0] for id in places}:
            with contextlib.closing(self._iterate(split)) as images:
                for index, (image, _) in enumerate(images):
                    place = places.get(id := f"{split}/{index}")
                    if place is not None:
                        _check(items[place], image, part, f"image {id} of data set {self.config.name}")
                        pixels[place] = transform(Image.fromarray(image)).permute(1, 2, 0)
                        missing.discard(id)
                        if not any(other.startswith(f"{split}/") for other in missing):
                            break
        if missing:
            raise InputError(
                f"image {min(missing)} of data set {self.config.name} is gone", "the images that were split", _NEW_RUN
            )
        return pixels

    def decoder(self, items: Sequence[_Item], part: str, mean: tuple[float, ...]) -> "_Decoder | None":
        open_ = {split: self.dataset(split) for split in {item.id.partition("/")[0] for item in items}}
        if any(isinstance(data, IterableDataset) for data in open_.values()):
            if self.config.augment == "timm":
                raise _no_files(self.config)
            return None
        return _Decoder(_TimmReader(self.config.name, open_), items, part, self.config, mean)


@dataclass(frozen=True)
class _TimmReader(_Reader):
    """Images by SPLIT/INDEX from data sets with random access."""

    name: str
    datasets: Mapping[str, Any]

    def where(self, id: str) -> str:
        split, _, index = id.partition("/")
        data = self.datasets[split]
        if _has_files(data):
            return str(data.samples[int(index)][0])
        with contextlib.suppress(Exception):  # a name is a courtesy, and not every reader knows one
            if file := data.filename(int(index), absolute=True):
                return str(file)
        return f"image {id} of data set {self.name}"

    def raw(self, id: str) -> bytes | np.ndarray:
        return self.pair(id)[0]

    def pair(self, id: str) -> tuple[bytes | np.ndarray, Any]:
        """The image's content and its target. Files are not decoded.

        Raises:
            InputError: it is not there or cannot be read.
        """
        split, _, index = id.partition("/")
        data = self.datasets[split]
        try:
            if hasattr(data, "reader"):  # around the data set itself, which skips what it cannot decode
                file, target, *_ = data.reader[int(index)]
                try:
                    return file.read(), target
                finally:
                    _close(file)
            if _has_files(data):
                path, target = data.samples[int(index)]
                return Path(path).read_bytes(), target
            image, target = data[int(index)]
            return np.asarray(image.convert("RGB")), target
        except Exception as error:  # whatever the library behind timm raises
            raise InputError(
                f"image {id} of data set {self.name} cannot be read ({type(error).__name__}: {error})",
                "a data set whose images can all be read",
                _NEW_RUN,
            ) from None


def _close(file: Any) -> None:
    """Closes a file, and the tar file that it is a member of."""
    while file is not None:
        outer = getattr(getattr(file, "raw", None), "fileobj", None)
        file.close()
        file = outer


def _has_files(data: Any) -> bool:
    """Whether a data set is one of torchvision's lists of (path, target)."""
    from torchvision.datasets import DatasetFolder

    return isinstance(data, DatasetFolder)


def _class_names(data: Any) -> dict[int, str]:
    """From label to name, as far as the data set knows names."""
    reader = getattr(data, "reader", None)
    if reader is not None:
        by_name = getattr(reader, "class_to_idx", None) or getattr(reader, "class_name_to_idx", None) or {}
        return {index: str(name) for name, index in by_name.items()}
    names = [name if isinstance(name, str) else ", ".join(name) for name in getattr(data, "classes", [])]
    return dict(enumerate(names)) if len(set(names)) == len(names) else {}


def _importable(package: str) -> bool:
    import importlib

    try:
        importlib.import_module(package.replace("-", "_"))
    except ImportError:
        return False
    return True


def _fits_memory(size: int, config: DataConfig) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size > memory:
        raise InputError(
            f"data set {config.name} needs {size / 2**30:.1f} GiB at resolution {config.resolution}, "
            f"as it cannot be read image by image",
            f"this machine's memory of {memory / 2**30:.1f} GiB",
            "a lower data.resolution, or the same images as files: data=folder",
        )


# Splitting


def _source(config: DataConfig) -> _Source:
    if config.name.startswith("timm/"):
        return _Timm(config)
    return {"digits": _digits, "fashion_mnist": _fashion, "folder": _Folder}[config.name](config)


def make_split(config: DataConfig, seed: int) -> Split:
    """Which images train, choose and test.

    A part that the data set has of its own is kept, less images that are identical to one of test, or for train of
    validation. Parts that it has not are cut from its training images: per class, at random, identical images together;
    first test, then validation from the rest. Every image is hashed, those of train and validation are decoded too; one
    of test that cannot be decoded shows when test is loaded.

    Raises:
        InputError: the data set is missing, damaged, or has a class without an image in each part.
    """
    source = _source(config)
    pools = {part: source.pool(part) for part in PARTS}
    dropped: dict[str, int] = dict.fromkeys(PARTS, 0)
    kept: dict[str, list[_Item]] = {}
    for part in reversed(PARTS):
        others = {item.hash for items in kept.values() for item in items}
        pool = pools[part]
        if pool is not None:
            kept[part] = [item for item in pool if item.hash not in others]
            dropped[part] = len(pool) - len(kept[part])
    cuts = [part for part in ("test", "validation") if part not in kept]
    if "test" in cuts and config.test_fraction == 0:
        raise InputError(
            f"test_fraction is 0, and data set {config.name} has no test part of its own",
            "more than 0",
            "data.test_fraction=0.2",
        )
    rng = np.random.default_rng(augmentation.derive("split", seed))
    for position, part in enumerate(cuts):
        fraction = config.test_fraction if part == "test" else config.validation_fraction
        leave = len(cuts) - position
        kept[part], kept["train"] = _cut(kept["train"], fraction, leave, source.classes, config, rng)
    parts = {part: _spread(kept[part], rng) for part in PARTS}
    _every_class(parts, source.classes, config)
    sample = parts["train"][:STATISTICS_IMAGES]
    mean, std = _statistics(source.pixels(sample, "train"))
    source.verify(parts["train"][STATISTICS_IMAGES:], "train")
    source.verify(parts["validation"], "validation")
    return Split(
        name=config.name,
        seed=seed,
        resolution=config.resolution,
        classes=source.classes,
        in_channels=source.in_channels,
        mean=mean,
        std=std,
        parts={part: tuple(item.id for item in items) for part, items in parts.items()},
        labels={part: tuple(item.label for item in items) for part, items in parts.items()},
        hashes={part: tuple(item.hash for item in items) for part, items in parts.items()},
        dropped=dropped,
    )


def _cut(
    items: list[_Item],
    fraction: float,
    leave: int,
    classes: tuple[str, ...],
    config: DataConfig,
    rng: np.random.Generator,
) -> tuple[list[_Item], list[_Item]]:
    """(cut off, left): of each class about `fraction` of its images, at least one, in whole groups of identical ones.

    Args:
        leave: distinct images of each class that must be left.
    """
    groups: dict[str, list[_Item]] = {}
    for item in items:
        groups.setdefault(item.hash, []).append(item)
    by_class: dict[int, list[list[_Item]]] = {label: [] for label in range(len(classes))}
    for group in groups.values():
        by_class[group[0].label].append(group)
    taken: set[str] = set()
    for label, members in by_class.items():
        if len(members) <= leave:
            raise InputError(
                f"class {classes[label]!r} of data set {config.name} has {len(members)} distinct images to divide",
                f"at least {leave + 1}: one for each part that is cut from them",
                "add images of that class, or remove it",
            )
        wanted = max(1, round(fraction * sum(map(len, members))))
        count = 0
        for rank, index in enumerate(rng.permutation(len(members))):
            group = members[index]
            if rank >= len(members) - leave or count >= wanted:
                break
            if count == 0 or count + len(group) <= wanted:
                taken.add(group[0].hash)
                count += len(group)
    return [item for item in items if item.hash in taken], [item for item in items if item.hash not in taken]


def _spread(items: list[_Item], rng: np.random.Generator) -> list[_Item]:
    """A random order in which each class is spread evenly from the first to the last image."""
    counts = Counter(item.label for item in items)
    ranks: Counter[int] = Counter()
    places = np.empty(len(items))
    for index in rng.permutation(len(items)):
        label = items[index].label
        places[index] = (ranks[label] + rng.random()) / counts[label]
        ranks[label] += 1
    return [items[index] for index in np.argsort(places, kind="stable")]


def _every_class(parts: Mapping[str, list[_Item]], classes: tuple[str, ...], config: DataConfig) -> None:
    for part, items in parts.items():
        present = {item.label for item in items}
        for label, name in enumerate(classes):
            if label not in present:
                raise InputError(
                    f"class {name!r} of data set {config.name} has no image in {part} that another part has not too",
                    "at least one image of each class in each part",
                    f"add images of it to {part}, or remove the class everywhere",
                )


def _statistics(pixels: UInt8[Tensor, "n r r c"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1]; exact, then rounded to six places."""
    count = pixels[..., 0].numel()
    sums = torch.zeros(2, pixels.shape[-1], dtype=torch.int64)
    for chunk in pixels.split(64):
        whole = chunk.to(torch.int64)
        sums += torch.stack([whole.sum((0, 1, 2)), whole.square().sum((0, 1, 2))])
    mean, square = sums.to(torch.float64) / count / torch.tensor([[255.0], [255.0**2]], dtype=torch.float64)
    variance = square - mean.square()
    std = variance.clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(round(x, 6) for x in mean.tolist()), tuple(round(x, 6) for x in std.tolist())


# Loading


class Part:
    """The images of one part, from which those of no other part can be reached. Made by `load_part`.

    labels: Int64["n"], indexes into `split.classes`.
    num_classes, in_channels, resolution: of the batches.

    Parts of up to 1 GiB are kept decoded as uint8. Larger ones, and passes under augment=timm, are decoded as they go,
    by as many processes as `data.workers` says; order and content do not depend on how many.
    """

    def __init__(
        self,
        split: Split,
        name: str,
        items: Sequence[_Item],
        pixels: UInt8[Tensor, "n r r c"] | None,
        decoder: _Decoder | None,
    ) -> None:
        if pixels is None and decoder is None:
            raise ValueError("a part needs pixels or a decoder")
        self.name = name
        self.labels = torch.tensor([item.label for item in items], dtype=torch.int64)
        self.num_classes, self.in_channels, self.resolution = len(split.classes), split.in_channels, split.resolution
        self._mean, self._std = torch.tensor(split.mean), torch.tensor(split.std)
        self._data = split.name
        self._pixels, self._decoder = pixels, decoder

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int, drop_last: bool = False) -> int:
        """The number of batches of a whole pass."""
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        first: int = 0,
        augment: str = "none",
        drop_last: bool = False,
        device: str | torch.device = "cpu",
    ) -> Iterator[tuple[Float[Tensor, "b c r r"], Int[Tensor, " b"]]]:
        """One pass: normalised images in channels_last memory format, and their labels.

        A batch is a function of (seed, epoch, its number) alone, so a pass resumed with `first` continues bit by bit.

        Args:
            seed: of order and augmentation; None yields the images in the split's order and does not augment.
            epoch: number of the pass.
            first: batches that are skipped, without being read.
            augment: none, light, standard, or timm, which needs image files loaded with data.augment=timm. Padding is
                black; rectangles are erased to the mean colour.
            drop_last: leaves out a last batch that is not full.
            device: where the batches go.

        Raises:
            InputError: augment is unknown or not possible here, or drop_last leaves nothing; while iterating, an image
                cannot be read or has changed since the split.
            ValueError: batch_size below 1, or first below 0.
        """
        if batch_size < 1 or first < 0:
            raise ValueError(f"batch_size is {batch_size} and first is {first}")
        if augment not in ("none", "light", "standard", "timm"):
            raise unknown("value for augment:", augment, ("none", "light", "standard", "timm"), "data.augment={}")
        if augment == "timm" and self._decoder is None:
            raise InputError(
                f"augment is timm, but {self.name} of data set {self._data} was loaded as arrays",
                "none, light or standard; timm for image files that were loaded with data.augment=timm",
                "data.augment=standard",
            )
        if drop_last and len(self) < batch_size:
            raise InputError(
                f"batch_size is {batch_size}, but {self.name} has {len(self)} images, which fill no batch",
                f"at most {len(self)}",
                f"batch_size={len(self)}",
            )
        return self._batches(batch_size, seed, epoch, first, augment, drop_last, torch.device(device))

    def _batches(
        self,
        batch_size: int,
        seed: int | None,
        epoch: int,
        first: int,
        augment: str,
        drop_last: bool,
        device: torch.device,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self)
        order = torch.arange(count)
        if seed is not None:
            order = torch.randperm(count, generator=augmentation.generator("order", seed, epoch))
        chunks = order.split(batch_size)[first : self.steps(batch_size, drop_last)]
        scale, shift = (1 / (255 * self._std)).to(device), (-self._mean / self._std).to(device)
        fill = (self._mean * 255).round().to(torch.uint8).to(device)
        batched = seed is not None and augment in ("light", "standard")
        stream = self._stream(chunks, None if seed is None or augment != "timm" else (seed, epoch))
        for number, (chunk, pixels) in enumerate(zip(chunks, stream, strict=True), first):
            pixels = pixels.to(device)
            if batched:
                source = augmentation.generator("augment", seed or 0, epoch, number)
                draws = augmentation.draw(augment, len(chunk), self.resolution, source)
                pixels = augmentation.apply(pixels, draws, fill)
            images = pixels.to(torch.float32).mul_(scale).add_(shift)
            yield images.permute(0, 3, 1, 2), self.labels[chunk].to(device)

    def _stream(self, chunks: Sequence[Tensor], random: tuple[int, int] | None) -> Iterator[UInt8[Tensor, "b r r c"]]:
        """The images at these positions; `random` is seed and epoch of timm's augmentation."""
        if random is not None and self._decoder is not None:
            yield from self._decoder.pixels(_lists(chunks), random)
            return
        if self._pixels is None and self._decoder is not None:
            if not _fits(len(self), self.resolution, self.in_channels):
                yield from self._decoder.pixels(_lists(chunks))
                return
            self._pixels = _gather(self._decoder)
        if self._pixels is not None:
            for chunk in chunks:
                yield self._pixels[chunk]


def _lists(chunks: Sequence[Tensor]) -> list[list[int]]:
    return [chunk.tolist() for chunk in chunks]


def _fits(count: int, resolution: int, channels: int) -> bool:
    return count * resolution * resolution * channels <= MEMORY_LIMIT


def load_part(config: DataConfig, split: Split, name: str, limit: int | None = None) -> Part:
    """The images of a part, and of that part only: files of test are not opened unless it is test that is loaded.

    Images are read, checked against their hashes and decoded now, except for those that are decoded in every pass,
    which are checked then: a part of files above 1 GiB, and train under augment=timm.

    Args:
        config: the data set that `split` was made from; its files may have moved as a whole (root).
        name: train, validation or test.
        limit: only the first so many images, which are a stratified sample; None for all.

    Raises:
        InputError: the split is of another data set or resolution, there is no such part, or an image is missing,
            damaged or has changed since the split.
        ValueError: limit below 1.
    """
    if name not in PARTS:
        raise unknown("part", name, PARTS)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}")
    if (split.name, split.resolution) != (config.name, config.resolution):
        raise InputError(
            f"the split is of {split.name} at {split.resolution} pixels, not of {config.name} at {config.resolution}",
            "the data set and resolution that the run was started with",
            f"data={split.name} data.resolution={split.resolution}, or a new run: run=runs/new",
        )
    members = zip(split.parts[name], split.labels[name], split.hashes[name], strict=True)
    items = [_Item(*member) for member in members][:limit]
    source = _source(config)
    decoder = source.decoder(items, name, split.mean)
    large = decoder is not None and not _fits(len(items), config.resolution, source.in_channels)
    timm = decoder is not None and config.augment == "timm"
    pixels = None if large or (timm and name == "train") else source.pixels(items, name)
    return Part(split, name, items, pixels, decoder if large or timm else None)

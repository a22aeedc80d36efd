"""Data sets that timm.data.create_dataset reaches. timm and torchvision are imported when one is opened."""

import contextlib
import operator
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data.decoder import Decoder, gather
from nas.data.item import NEW_RUN, Item, check_content, content_hash
from nas.data.layout import PART_NAMES, part_named, parts_of
from nas.data.picture import RULE, as_shown, decode, only_rasters
from nas.data.reading import all_of_them, on_all_cores
from nas.data.source import Source, no_files
from nas.data.timm_reader import TimmReader, class_names, paths_of
from nas.data.walking import AGAIN, check_links_end, reached_before, subfolders, suffix_of, told
from search_spaces.errors import InputError, unknown

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


class Timm(Source):
    """A data set of timm.data.create_dataset, in three channels.

    Sets with random access are read image by image. Sets that can only be iterated (wds, tfds, hfids) are read from the
    beginning to the last image of the part, which decodes all images on the way, and kept in memory at the resolution.
    """

    in_channels = 3
    decoding = RULE
    statistics_images = 256

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
        only_rasters()  # some of these libraries decode by themselves
        self._open: dict[str, Any] = {}

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
            if root.is_file():
                return ("train",) if part == "train" else ()
            found = {key: tuple(n for n in names if (root / n).is_dir()) for key, names in _TIMM_FOLDERS.items()}
            for name in {folder.name for folder in parts_of(root, self.config.layout).values() if folder != root}:
                if name not in _TIMM_FOLDERS[part_named(name) or "train"]:
                    raise InputError(
                        f"{root} has the part {name}, which timm does not know by this name",
                        f"the names {', '.join(name for names in _TIMM_FOLDERS.values() for name in names)}",
                        "rename it, or data=folder, which takes them in any case",
                    )
            return found["train"] or ("train",) if part == "train" else found[part]
        return ("validation", "val", "valid") if part == "validation" else (part,)

    def dataset(self, split: str, optional: bool = False) -> Any:
        """timm's data set for a split; None for an optional one that is not there."""
        if split not in self._open:
            from timm.data.dataset_factory import create_dataset

            if self._kind in ("", "torch") and Path(self.config.root).is_dir():
                check_links_end(Path(self.config.root))  # these libraries follow links without memory
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
                yield np.asarray(as_shown(image, self.config)), target
        except InputError:
            raise
        except Exception as error:  # whatever the library behind timm raises
            raise InputError(
                f"reading data set {self.config.name}, split {split}, failed ({type(error).__name__}: {error})",
                "a data set whose images can all be read",
                "fix or download it again",
            ) from error

    def pools(self) -> dict[str, list[Item] | None]:
        errors: list[InputError] = []
        tried: list[int] = []
        found = {part: self._pool(part, errors, tried) for part in PART_NAMES}
        all_of_them(errors, sum(tried))
        return found

    def _pool(self, part: str, errors: list[InputError], tried: list[int]) -> list[Item] | None:
        """
        Args:
            errors: gets one error for each image that cannot be used.
            tried: gets the number of images.
        """
        for split in self._splits(part):
            data = self.dataset(split, optional=part != "train")
            if data is not None and (items := self._list(part, split, data, errors, tried)):
                self.folders[part] = split
                return items
        return None

    def _list(self, part: str, split: str, data: Any, errors: list[InputError], tried: list[int]) -> list[Item]:
        """All images of one of timm's splits; none where test or validation images have no labels (-1)."""
        found: list[tuple[int, str]] = []
        if isinstance(data, IterableDataset):
            if self.config.augment == "timm":
                raise no_files(self.config)
            found = [(self._label(target), content_hash(image)) for image, target in self._iterate(split)]
        else:
            reader = TimmReader(self.config, {split: data})

            def examine(index: int) -> tuple[int, str | InputError]:
                try:
                    content, target = reader.pair(f"{split}/{index}")
                    where = reader.where(f"{split}/{index}")
                    if decode(content, where, self.config) is None:
                        raise InputError(f"{where} is no image that Pillow reads", "images", "remove it")
                except InputError as error:
                    return 0, error
                return self._label(target), content_hash(content)

            for label, digest in on_all_cores(examine, range(len(data)), reader.threads, f"read images of {split}"):
                if isinstance(digest, InputError):
                    errors.append(digest)
                else:
                    found.append((label, digest))
            tried.append(len(data))
            self._tally_unlisted(part, data)
            if errors:
                return []  # places in the list are numbers of images, which only hold if none is missing
        if part != "train" and all(label < 0 for label, _ in found):
            return []
        known = class_names(data)
        if part == "train":
            labels = sorted({label for label, _ in found})
            self.classes = tuple(known.get(label, str(label)) for label in labels)
            if len(labels) < 2 or labels[0] < 0:
                raise InputError(
                    f"data set {self.config.name}, split {split}, has the labels {labels[:5]}",
                    "two classes or more, and a label for each image",
                    "another data set, or data.root=PATH",
                )
        paths = paths_of(data)
        seen: dict[tuple[int, int], tuple[str, str]] = {}  # timm follows links without memory
        items = []
        own = {name: index for index, name in enumerate(self.classes)}
        for index, (label, digest) in enumerate(found):
            name = known.get(label, str(label))
            if name not in own:
                raise InputError(
                    f"class {name!r} of split {split} of data set {self.config.name} is not in train",
                    "the classes of train",
                    "another data set, or remove the class there",
                )
            if paths is not None:
                path, status = paths[index], os.stat(paths[index])
                if reached_before(seen, (status.st_dev, status.st_ino), path, name, self.config.root):
                    self.tally.add(part, suffix_of(path), AGAIN, told(path, self.config.root))
                    continue
            items.append(Item(f"{split}/{index}", own[name], digest))
        return items

    def where(self, item: Item) -> str:
        split = item.id.partition("/")[0]
        return TimmReader(self.config, {split: self.dataset(split)}).where(item.id)

    def _tally_unlisted(self, part: str, data: Any) -> None:
        """Counts the files in the folders of a part that timm, which goes by suffixes, does not list."""
        listed = set(paths_of(data) or ())
        root = Path(self.config.root) / self._folder_of(part)
        if not listed or not root.is_dir():
            return
        for folder, _, names in os.walk(root, followlinks=False):
            for path in (Path(folder, name) for name in names):
                if str(path) not in listed:
                    self.tally.add(part, suffix_of(path.name), "not listed by timm", told(path, Path(self.config.root)))

    def _folder_of(self, part: str) -> str:
        """The folder of a part below the root; empty where classes lie in the root itself."""
        return next((n for n in _TIMM_FOLDERS[part] if subfolders(Path(self.config.root) / n)), "")

    def _label(self, target: Any) -> int:
        try:
            return -1 if target is None else operator.index(target)
        except TypeError:
            raise InputError(
                f"data set {self.config.name} has the label {target!r}", "one class for each image", "another data set"
            ) from None

    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        decoder = self.decoder(items, part, ())
        if decoder is not None:
            return gather(decoder)
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
                        check_content(items[place], image, part, f"image {id} of data set {self.config.name}")
                        pixels[place] = transform(Image.fromarray(image)).permute(1, 2, 0)
                        missing.discard(id)
                        if not any(other.startswith(f"{split}/") for other in missing):
                            break
        if missing:
            raise InputError(
                f"image {min(missing)} of data set {self.config.name} is gone", "the images that were split", NEW_RUN
            )
        return pixels

    def decoder(self, items: Sequence[Item], part: str, mean: tuple[float, ...]) -> Decoder | None:
        open_ = {split: self.dataset(split) for split in {item.id.partition("/")[0] for item in items}}
        if any(isinstance(data, IterableDataset) for data in open_.values()):
            if self.config.augment == "timm":
                raise no_files(self.config)
            return None
        return Decoder(TimmReader(self.config, open_), items, part, self.config, mean)


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

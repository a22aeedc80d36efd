"""Data sets of image files in a folder per class."""

import functools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data.decoder import Decoder, Reader, gather
from nas.data.item import NEW_RUN, Item, content_hash
from nas.data.source import Source, no_train
from search_spaces.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Folder(Source):
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
                raise no_train(root, (found["validation"] + found["test"])[0].name)
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
        for path in folders:
            if not _is_utf8(path.name):
                raise InputError(
                    f"the name of class {path.name!r} in {str(folder)!r} is not UTF-8",
                    "names of classes in UTF-8",
                    "rename that folder",
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

    def pool(self, part: str) -> list[Item] | None:
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
        return [Item(id, label, content_hash(self._reader.raw(id))) for id, label in ids]

    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        return gather(self.decoder(items, part, ()))

    def decoder(self, items: Sequence[Item], part: str, mean: tuple[float, ...]) -> Decoder:
        return Decoder(self._reader, items, part, self.config, mean)


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python writes bytes that are not UTF-8 as lone surrogates
        return False
    return True


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _images_below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for path in (Path(where, name) for name in names) if _is_image(path))


@dataclass(frozen=True)
class _FileReader(Reader):
    root: str

    def where(self, id: str) -> str:
        return str(Path(self.root, id))

    def raw(self, id: str) -> bytes:
        try:
            return Path(self.root, id).read_bytes()
        except OSError as error:
            raise InputError(
                f"{self.where(id)} cannot be read ({error.strerror})", "the images that were split", NEW_RUN
            ) from None

"""Data sets of image files in a folder per class."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data.decoder import Decoder, Reader, gather, read_all
from nas.data.item import NEW_RUN, Item
from nas.data.layout import PART_NAMES, parts_of
from nas.data.picture import MOST_BYTES, RULE, SIGNATURE, begins_as_image, is_image_name
from nas.data.source import Source
from nas.data.walking import Walk, identified, subfolders, suffix_of, told
from search_spaces.errors import InputError


class Folder(Source):
    """Files of three channels in a folder per class."""

    in_channels = 3
    decoding = RULE
    statistics_images = 256

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self._reader = _FileReader(config.root)

    def pools(self) -> dict[str, list[Item] | None]:
        root = Path(self.config.root)
        folders = parts_of(root, self.config.layout)
        files = {part: self._files(part, folder) for part, folder in folders.items()}
        self.classes = tuple(files["train"])
        self._check_names(files, folders)
        self._tell(root, folders)
        listed = [
            (part, name, identified(path, str(root)))
            for part, classes in files.items()
            for name, paths in classes.items()
            for path in paths
        ]
        outcomes = read_all(self._reader, [id for _, _, id in listed], self.config)
        pools: dict[str, list[Item] | None] = dict.fromkeys(PART_NAMES)
        pools.update({part: [] for part in folders})
        labels = {name: label for label, name in enumerate(self.classes)}
        for (part, name, id), digest in zip(listed, outcomes, strict=True):
            pool = pools[part]
            if digest is None:
                self.tally.add(part, suffix_of(id), "no image that Pillow reads", told(os.path.join(root, id), root))
            elif pool is not None:
                pool.append(Item(id, labels[name], digest))
        for part, pool in pools.items():
            empty = set(range(len(labels))) - {item.label for item in pool} if pool is not None else set()
            for name in files.get(part, {}):
                if labels[name] in empty:
                    self._no_image(folders[part] / name)
        return pools

    def _files(self, part: str, folder: Path) -> dict[str, list[str]]:
        """The files of each class of a part, images or not."""
        walk = Walk(Path(self.config.root), part, self.tally)
        walk.beside(folder)
        classes = subfolders(folder)
        if not classes:
            images = [path.name for path in sorted(folder.iterdir()) if path.is_file() and is_image_name(path.name)]
            raise InputError(
                f"{folder} has no folder of a class, but {images[0]} itself"
                if images
                else f"{folder} is empty of images",
                "one sub-folder of images per class",
                f"move the images into {folder}/CLASS, or data.root=PATH",
            )
        for path in classes:
            if not _is_utf8(path.name):
                raise InputError(
                    f"the name of class {path.name!r} in {str(folder)!r} is not UTF-8",
                    "names of classes in UTF-8",
                    "rename that folder",
                )
        return {path.name: walk.files(path) for path in classes}

    def _check_names(self, files: Mapping[str, Mapping[str, list[str]]], folders: Mapping[str, Path]) -> None:
        """What names alone tell, before any file is read.

        Raises:
            InputError: one class, a class without files, or one that train has not.
        """
        if len(self.classes) < 2:
            raise InputError(
                f"{folders['train']} has one class only, {''.join(self.classes)!r}",
                "two classes or more",
                "data.root=PATH of the classes",
            )
        for part, classes in files.items():
            for name, paths in classes.items():
                if name not in self.classes:
                    raise InputError(
                        f"class {name!r} of {part} ({folders[part] / name}) is not in train",
                        f"the classes of train: {', '.join(self.classes)}",
                        "add images of it to train, or remove it there",
                    )
                if not paths:
                    self._no_image(folders[part] / name)

    def _no_image(self, folder: Path) -> None:
        """
        Raises:
            InputError: always.
        """
        raise InputError(
            f"class {folder.name!r} has no image in {folder}",
            "at least one image that Pillow reads per class, whatever its suffix",
            f"add images to {folder}, or remove that folder",
        )

    def _tell(self, root: Path, folders: Mapping[str, Path]) -> None:
        """Notes where the parts are, and which folders and files beside them are left out."""
        if folders["train"] == root:
            return
        self.folders = {part: f"folder {folder.name}" for part, folder in folders.items()}
        for path in sorted(root.iterdir()):
            if path not in folders.values():
                hidden = path.name.startswith(".")
                what = path.name if hidden or path.is_dir() else suffix_of(path.name)
                self.tally.add("", what, "hidden" if hidden else "beside the parts", told(path, root))

    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        return gather(self.decoder(items, part, ()))

    def decoder(self, items: Sequence[Item], part: str, mean: tuple[float, ...]) -> Decoder:
        return Decoder(self._reader, items, part, self.config, mean)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python writes bytes that are not UTF-8 as lone surrogates
        return False
    return True


@dataclass(frozen=True)
class _FileReader(Reader):
    root: str

    def where(self, id: str) -> str:
        return os.path.join(self.root, id)  # not pathlib, which takes a tenth as long as decoding does

    def may_be_image(self, id: str) -> bool:
        return is_image_name(id) or begins_as_image(self._read(id, SIGNATURE))

    def raw(self, id: str) -> bytes:
        return self._read(id)

    def _read(self, id: str, size: int = -1) -> bytes:
        """
        Raises:
            InputError: it cannot be read.
        """
        try:
            found = os.stat(self.where(id))
            if not stat.S_ISREG(found.st_mode) or (size < 0 and found.st_size > MOST_BYTES):
                raise InputError(
                    f"{self.where(id)} is no ordinary file of at most {MOST_BYTES:,} bytes", "image files", "remove it"
                )
            with open(self.where(id), "rb") as file:
                return file.read(size if size >= 0 else found.st_size)
        except OSError as error:
            raise InputError(
                f"{self.where(id)} cannot be read ({error.strerror})",
                "the images that were split",
                f"data.root=PATH if they have moved; or {NEW_RUN}",
            ) from None

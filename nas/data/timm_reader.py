"""Images of timm's data sets with random access, one by one, and what such a data set says of itself."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.config import DataConfig
from nas.data.decoder import Reader
from nas.data.item import NEW_RUN
from nas.data.picture import MOST_BYTES, as_shown
from search_spaces.errors import InputError
from search_spaces.textfiles import read_bytes


@dataclass(frozen=True)
class TimmReader(Reader):
    """Images by SPLIT/INDEX from data sets with random access."""

    config: DataConfig
    datasets: Mapping[str, Any]

    @property
    def threads(self) -> int:
        # What is no file is read by libraries of which not all bear threads.
        files = all(_has_files(data) or hasattr(data, "samples") or _is_folder(data) for data in self.datasets.values())
        return 0 if files else 1

    def where(self, id: str) -> str:
        split, _, index = id.partition("/")
        data = self.datasets[split]
        if _has_files(data) and int(index) < len(data.samples):
            return str(data.samples[int(index)][0])
        with contextlib.suppress(Exception):  # a name is a courtesy, and not every reader knows one
            if file := data.filename(int(index), absolute=True):
                return str(file)
        return f"image {id} of data set {self.config.name}"

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
            if (path := _path(data, int(index))) is not None:
                return read_bytes(path[0], MOST_BYTES), path[1]
            if hasattr(data, "reader"):  # around the data set itself, which skips what it cannot decode
                file, target, *_ = data.reader[int(index)]
                try:
                    return file.read(), target
                finally:
                    _close(file)
            image, target = data[int(index)]
            return np.asarray(as_shown(image, self.config)), target
        except Exception as error:  # whatever the library behind timm raises
            raise InputError(
                f"image {id} of data set {self.config.name} cannot be read ({type(error).__name__}: {error})",
                "a data set whose images can all be read",
                NEW_RUN,
            ) from None


def _path(data: Any, index: int) -> tuple[str, Any] | None:
    """The file and the target of an image, if it is a file of its own: these libraries would wait for a pipe, and read a device for ever."""
    if hasattr(data, "reader"):
        samples = data.reader.samples if type(data.reader).__name__ == "ReaderImageFolder" else None
    else:
        samples = data.samples if _has_files(data) else None
    return None if samples is None else (samples[index][0], samples[index][1])


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


def paths_of(data: Any) -> list[str] | None:
    """The files of a data set, in its order; None where they are no files of their own."""
    samples = getattr(getattr(data, "reader", data), "samples", None)
    paths = [sample[0] for sample in samples] if samples is not None and len(samples) else []
    return paths if paths and all(isinstance(path, str) and os.path.isfile(path) for path in paths) else None


def _is_folder(data: Any) -> bool:
    """Whether a data set is one of timm's lists of files in folders, or in a tar file, which each access opens again."""
    return type(getattr(data, "reader", None)).__name__ in ("ReaderImageFolder", "ReaderImageInTar", "ReaderImageTar")


def class_names(data: Any) -> dict[int, str]:
    """From label to name, as far as the data set knows names."""
    reader = getattr(data, "reader", None)
    if reader is not None:
        by_name = getattr(reader, "class_to_idx", None) or getattr(reader, "class_name_to_idx", None) or {}
        return {index: str(name) for name, index in by_name.items()}
    names = [name if isinstance(name, str) else ", ".join(name) for name in getattr(data, "classes", [])]
    return dict(enumerate(names)) if len(set(names)) == len(names) else {}

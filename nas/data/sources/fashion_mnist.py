"""Fashion-MNIST: four idx files, of 28 x 28 grey pixels; zero-padded to the resolution, or resized below 28."""

import gzip
import math
import os
import zlib
from functools import lru_cache
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from nas.data.arrays import Arrays
from search_spaces.errors import InputError

FASHION_FOLDER = "/usr/share/datasets/fashion-mnist"
"""Where Debian's package dataset-fashion-mnist puts the files."""

MOST_ITEMS = 200_000
"""Of a file; there are 60,000."""

MOST_PACKED = 32 * 2**20
"""Bytes of a file with .gz. The largest has 26 million; a header of gzip may be as long as its file, and is read byte by byte."""

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip


class FashionMnist(Arrays):
    """The parts train and test of the data set itself."""

    names = FASHION_CLASSES
    pads = True

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        if part == "validation":
            return None
        folder = Path(self.config.root or FASHION_FOLDER)
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
        found = path.stat()
        if path.suffix == ".gz" and found.st_size > MOST_PACKED:
            raise InputError(
                f"{path} has {found.st_size:,} bytes", f"at most {MOST_PACKED:,} with .gz", f"gunzip {path.name}"
            )
        return path, _values(path, shape, _state(found))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error})", "a whole idx file", _FASHION_AGAIN) from None


@lru_cache(maxsize=4)
def _values(path: Path, shape: tuple[int, ...], state: tuple[int, ...]) -> np.ndarray:
    """The items of one of the four files, as an array that cannot be written to. Kept, since training and search-validation are parts of the
    same file, and unpacking it takes a fourth of a second.

    Args:
        state: of the file: when it was modified, its size and place. One that has changed is read again.
    """
    axes = 1 + len(shape)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        start = file.read(4 * (1 + axes))
        sizes = _announced(path, start, shape)
        body = _body(path, file, math.prod(sizes))
    return np.frombuffer(body, dtype=np.uint8).reshape(sizes)


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_dev, found.st_ino


def _announced(path: Path, start: bytes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes that a header announces.

    Raises:
        InputError: no header of such a file, or of other items, or of more of them than are read.
    """
    axes = 1 + len(shape)
    magic = 0x0800 + axes
    header = np.frombuffer(start, dtype=">u4") if len(start) == 4 * (1 + axes) else None
    if header is None or header[0] != magic:
        found = start[:4].hex() or "nothing"
        raise InputError(f"{path} begins with {found}", f"an idx file, which begins with {magic:08x}", _FASHION_AGAIN)
    sizes = tuple(map(int, header[1:]))
    if sizes[1:] != shape or sizes[0] == 0:
        wanted = " x ".join(["count", *map(str, shape)])
        raise InputError(
            f"{path} holds {' x '.join(map(str, sizes))} values", f"{wanted}, with a count above 0", _FASHION_AGAIN
        )
    if sizes[0] > MOST_ITEMS:
        raise InputError(f"{path} announces {sizes[0]:,} items", f"at most {MOST_ITEMS:,}", _FASHION_AGAIN)
    return sizes


def _body(path: Path, file: BufferedIOBase, announced: int) -> bytes:
    """So many bytes, which are all that follow. Of a small file that unpacks into a large one, no more is unpacked than that and one byte.

    Raises:
        InputError: fewer follow, or more.
    """
    body = bytearray()
    while len(body) <= announced and (more := file.read(min(2**20, announced + 1 - len(body)))):
        body += more
    if len(body) != announced:
        given = f"{len(body)} bytes of values" if len(body) < announced else "more bytes of values"
        raise InputError(
            f"{path} has {given}, but its header announces {announced}", "a whole idx file", _FASHION_AGAIN
        )
    return bytes(body)

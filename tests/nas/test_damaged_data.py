"""Data sets that are damaged, in files of images and of numbers: what is damaged is named, and no file is changed."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import Commands, make_images
from tests.nas.places import untouched


def idx(values: bytes, *shape: int, magic: int | None = None) -> bytes:
    return struct.pack(f">{1 + len(shape)}I", magic or 0x0800 + len(shape), *shape) + values


def make_fashion(root: Path) -> None:
    root.mkdir()
    for prefix, each in (("train", 8), ("t10k", 2)):
        labels = bytes(range(10)) * each
        images = b"".join(bytes([label * 20 + n % each]) * 784 for n, label in enumerate(labels))
        (root / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images, len(labels), 28, 28))
        (root / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels, len(labels)))


def test_folders_without_images(nas: Commands, place: Path) -> None:
    settings = ("train", "config.toml", "data=folder", "data.root=images")
    with untouched(place):
        nas(*settings, cwd=place).refused("images is not a folder")
    (place / "images").mkdir()
    with untouched(place):
        nas(*settings, cwd=place).refused("images is empty of images")
    make_images(place / "images", classes=2)
    (place / "images" / "class2").mkdir()
    (place / "images" / "class2" / "notes.txt").write_text("no image")
    with untouched(place):
        nas(*settings, cwd=place).refused("class 'class2' has no image in ", "images/class2")
        nas(*settings, "data.root=config.toml", cwd=place).refused("config.toml is not a folder")
    (place / "images" / "class2").rename(place / "images" / ".hidden")
    with untouched(place):
        _, _, instead = nas(*settings, cwd=place).refused("train.batch_size is 128")
    nas(*settings, instead, cwd=place).ok()


@pytest.mark.parametrize("damage", [b"", b"no image at all", "half"])
def test_damaged_images_are_named(damage: bytes | str, nas: Commands, place: Path) -> None:
    make_images(place / "images" / "test", seed=1)
    image = make_images(place / "images" / "train") / "class1" / "3.png"
    content = image.read_bytes()
    image.write_bytes(damage if isinstance(damage, bytes) else content[: len(content) // 2])
    with untouched(place):
        result = nas("train", "config.toml", "data=folder", "data.root=images", cwd=place)
    result.refused("images/train/class1/3.png")


@pytest.mark.parametrize(
    ("file", "change", "names"),
    [
        ("train-images-idx3-ubyte", lambda data: None, ["train-images-idx3-ubyte does not exist"]),
        ("t10k-labels-idx1-ubyte", lambda data: None, ["t10k-labels-idx1-ubyte does not exist"]),
        ("train-images-idx3-ubyte", lambda data: data[:-100], ["train-images-idx3-ubyte", "header announces 62720"]),
        ("t10k-images-idx3-ubyte", lambda data: data[:7], ["t10k-images-idx3-ubyte begins with 00000803"]),
        ("train-labels-idx1-ubyte", lambda data: b"", ["train-labels-idx1-ubyte begins with nothing"]),
        ("train-labels-idx1-ubyte", lambda data: idx(data[8:], 80, magic=0x0D01), ["begins with 00000d01"]),
        ("train-labels-idx1-ubyte", lambda data: idx(data[9:], 79), ["has 80 images", "has 79 labels"]),
        ("train-labels-idx1-ubyte", lambda data: data[:-1] + b"\x0a", ["label 10"]),
    ],
)
def test_damaged_idx_files_are_named(
    file: str, change: Callable[[bytes], bytes | None], names: list[str], nas: Commands, place: Path
) -> None:
    make_fashion(place / "files")
    path = place / "files" / file
    changed = change(path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    with untouched(place):
        result = nas("train", "config.toml", "data=fashion_mnist", "data.root=files", cwd=place)
    assert "data.root=PATH" in result.refused("files/", *names)[2]


def test_idx_files_may_be_packed_and_may_not_be_cut(nas: Commands, place: Path) -> None:
    settings = ("train", "config.toml", "data=fashion_mnist", "data.root=files", "train.batch_size=16")
    make_fashion(place / "files")
    plain = place / "files" / "train-images-idx3-ubyte"
    packed = gzip.compress(plain.read_bytes())
    plain.unlink()
    with_gz = plain.with_name(plain.name + ".gz")
    with_gz.write_bytes(packed[:-20])
    with untouched(place):
        nas(*settings, cwd=place).refused("train-images-idx3-ubyte.gz cannot be read")
    with_gz.write_bytes(packed)
    nas(*settings, cwd=place).ok()

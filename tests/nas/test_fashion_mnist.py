"""Fashion-MNIST: its files, packed or not, and what is wrong with them."""

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest
import torch

from nas.config import DataConfig
from nas.data import FASHION_FOLDER, PARTS, content_hash, load_part, make_split
from search_spaces.errors import InputError
from tests.nas.data_sets import check_split, make_fashion, raw


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_is_padded_in_the_middle(tmp_path: Path, packed: bool):
    config = make_fashion(tmp_path, packed=packed)
    split = make_split(config, 0)
    check_split(split)
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 50, "validation": 10, "test": 20}
    assert all(id.startswith("test/") for id in split.parts["test"])
    images = raw(load_part(config, split, "test"), split)
    assert not torch.cat([images[..., :2], images[..., -2:]]).any()
    inside = images[:, 0, 2:30, 2:30].numpy()
    assert {content_hash(image) for image in inside} == set(split.hashes["test"])
    odd = DataConfig(name="fashion_mnist", root=str(tmp_path), resolution=29)
    odd_split = make_split(odd, 0)
    assert raw(load_part(odd, odd_split, "train"), odd_split).shape == (50, 1, 29, 29)
    small = DataConfig(name="fashion_mnist", root=str(tmp_path), resolution=14)
    small_split = make_split(small, 0)
    shrunk = raw(load_part(small, small_split, "train"), small_split)
    assert shrunk.shape == (50, 1, 14, 14)
    assert shrunk.float().mean().item() == pytest.approx(inside.mean(), rel=0.05)


def test_the_files_of_fashion_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Training and validation are cut from the same files. Those that have changed are read again."""
    config = make_fashion(tmp_path, packed=True)
    opened: list[str] = []
    unpacked = gzip.open
    monkeypatch.setattr(gzip, "open", lambda path: (opened.append(path.name), unpacked(path))[1])
    split = make_split(config, 0)
    for part in ("train", "validation", "test", "train"):
        load_part(config, split, part)
    assert sorted(opened) == sorted(path.name for path in tmp_path.glob("*.gz"))
    make_fashion(tmp_path, per_class=1, packed=True)
    with pytest.raises(InputError, match="is gone"):
        load_part(config, split, "train")


def test_a_changed_image_is_noticed_under_the_same_date_and_size(tmp_path: Path):
    config = make_fashion(tmp_path)
    split = make_split(config, 0)
    load_part(config, split, "train")
    path = tmp_path / "train-images-idx3-ubyte"
    before = path.stat()
    path.write_bytes(path.read_bytes()[:16] + bytes(60 * 784))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="has changed since"):
        load_part(config, split, "train")


@pytest.mark.parametrize("end", ["garbage", "gone"])
def test_search_does_not_open_the_test_files_of_fashion(tmp_path: Path, end: str):
    config = make_fashion(tmp_path)
    split = make_split(config, 0)
    for path in tmp_path.glob("t10k*"):
        path.write_bytes(b"garbage") if end == "garbage" else path.unlink()
    assert len(load_part(config, split, "train")) == 50
    assert len(load_part(config, split, "validation")) == 10
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte"):
        load_part(config, split, "test")


def test_a_changed_image_of_fashion_is_noticed(tmp_path: Path):
    config = make_fashion(tmp_path)
    split = make_split(config, 0)
    index = int(split.parts["validation"][0].split("/")[1])
    path = tmp_path / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[16 + index * 784] ^= 1
    path.write_bytes(content)
    assert len(load_part(config, split, "train")) == 50
    with pytest.raises(InputError, match=f"train/{index} of data set fashion_mnist has changed since .* validation"):
        load_part(config, split, "validation")
    make_fashion(tmp_path, per_class=1)
    with pytest.raises(InputError, match="is gone"):
        load_part(config, split, "train")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("train-images-idx3-ubyte", None, "apt-get install dataset-fashion-mnist"),
        ("t10k-labels-idx1-ubyte", None, "apt-get install dataset-fashion-mnist"),
        ("train-images-idx3-ubyte", lambda old: old[:-1], "46944 bytes? .*|header announces 47040"),
        ("train-images-idx3-ubyte", lambda old: old + b"x", "header announces 47040"),
        ("train-images-idx3-ubyte", lambda old: old[:9], "begins with 00000803"),
        ("train-images-idx3-ubyte", lambda old: b"", "begins with nothing"),
        ("train-images-idx3-ubyte", lambda old: b"\0\0\x08\x01" + old[4:], "begins with 00000801"),
        ("train-images-idx3-ubyte", lambda old: old[:15] + b"\x1b" + old[16:], "60 x 28 x 27"),
        ("train-images-idx3-ubyte", lambda old: old[:4] + bytes(4) + old[8:16], "0 x 28 x 28"),
        ("train-labels-idx1-ubyte", lambda old: old[:7] + b"\x3b" + old[8:-1], "60 images and .* has 59 labels"),
        ("train-labels-idx1-ubyte", lambda old: old[:-1] + b"\x0a", "label 10"),
        ("train-images-idx3-ubyte.gz", lambda old: gzip.compress(old)[:-20], "cannot be read"),
        ("train-images-idx3-ubyte.gz", lambda old: old, "cannot be read"),
    ],
)
def test_bad_files_of_fashion_are_named(tmp_path: Path, name: str, content, says: str):
    config = make_fashion(tmp_path)
    plain = tmp_path / name.removesuffix(".gz")
    old = plain.read_bytes()
    plain.unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content(old))
    with pytest.raises(InputError, match=says) as caught:
        make_split(config, 0)
    assert str(tmp_path / name.removesuffix(".gz")) in str(caught.value)


@pytest.mark.skipif(not Path(FASHION_FOLDER).is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_real_fashion_mnist():
    config = DataConfig(name="fashion_mnist", resolution=32)
    split = make_split(config, 0)
    assert {part: len(split.parts[part]) for part in PARTS} == {"train": 48000, "validation": 12000, "test": 10000}
    assert len(set(Counter(split.labels["train"]).values())) == 1
    part = load_part(config, split, "validation", limit=100)
    assert set(Counter(part.labels.tolist()).values()) <= set(range(8, 13))

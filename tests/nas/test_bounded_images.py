"""Images of strangers: no format that starts a program, no more pixels than a setting allows, folders that end, files that are what they announce."""

import contextlib
import gzip
import io
import os
import resource
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.config import DataConfig
from nas.data.picture import RASTER, TooLargeError, as_shown, begins_as_image, decode, is_image_name, only_rasters
from nas.data.sources import source_of
from nas.data.sources.fashion_mnist import FashionMnist
from nas.data.walking import check_links_end
from search_spaces.errors import InputError
from tests.command_line import environment, make_images

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def config(**keys: Any) -> DataConfig:
    return DataConfig(resolution=8, **keys)


def png(width: int, height: int) -> bytes:
    """A PNG whose header announces so many pixels, and that has hardly any."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program gs that notes that it was started."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return tmp_path / "started"


def test_a_program_would_be_started(ghostscript: Path) -> None:
    """By Pillow itself, or this file would test nothing."""
    with contextlib.suppress(OSError), Image.open(io.BytesIO(EPS)) as image:
        image.load()
    assert ghostscript.exists()


def iptc(inner: bytes) -> bytes:
    """A file of IPTC that holds another file as its picture."""

    def field(record: int, number: int, data: bytes) -> bytes:
        return bytes((0x1C, record, number)) + struct.pack(">H", len(data)) + data

    size = struct.pack(">H", 9)
    return (
        field(3, 20, size)
        + field(3, 30, size)
        + field(3, 60, b"\x01\x00")
        + field(3, 120, b"\x05")
        + field(8, 10, inner)
    )


@pytest.mark.parametrize("name", ["x.png", "x.eps", "x.ps", "x.iim", "x.jpg", "x", "x.wmf"])
@pytest.mark.parametrize("content", [EPS, iptc(EPS)], ids=["eps", "iptc"])
def test_no_image_starts_a_program(name: str, content: bytes, ghostscript: Path) -> None:
    with contextlib.suppress(InputError):
        assert decode(content, name, config()) is None
    assert not ghostscript.exists()
    assert not begins_as_image(EPS)
    assert not is_image_name("x.eps")


def test_formats_that_open_others_are_left_out() -> None:
    assert not RASTER & {"EPS", "WMF", "IPTC", "FITS", "MPEG", "GRIB", "BUFR", "HDF5"}
    assert {"PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"} <= RASTER


def test_libraries_that_decode_by_themselves_get_the_same_formats(ghostscript: Path) -> None:
    before = list(Image.ID)
    try:
        only_rasters()
        with pytest.raises(Image.UnidentifiedImageError):
            Image.open(io.BytesIO(EPS))
        Image.open(io.BytesIO(png(2, 2))).close()
    finally:
        Image.ID[:] = before
    assert not ghostscript.exists()


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize("size", [(10_001, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1), (1, 2 * 10**9)])
def test_pixels_are_limited_by_the_header(size: tuple[int, int], action: Any) -> None:
    start = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(InputError, match="pixels") as told:
            decode(png(*size), "x.png", config())
    assert "data.most_pixels" in told.value.allowed
    assert time.monotonic() - start < 0.5


def test_the_limit_is_a_setting() -> None:
    small = io.BytesIO()
    Image.new("RGB", (20, 20)).save(small, "PNG")
    assert decode(small.getvalue(), "x.png", config(most_pixels=400)) is not None
    with pytest.raises(InputError, match="400 pixels") as told:
        decode(small.getvalue(), "x.png", config(most_pixels=399))
    assert told.value.instead.startswith("data.most_pixels=400 ")
    with pytest.raises(TooLargeError), Image.open(io.BytesIO(small.getvalue())) as image:
        as_shown(image, config(most_pixels=399))


@pytest.mark.parametrize("most", [0, -1, 10**12])
def test_the_setting_has_limits(most: int) -> None:
    with pytest.raises(InputError, match=r"data\.most_pixels"):
        config(most_pixels=most)


def test_links_that_lead_back(tmp_path: Path) -> None:
    make_images(tmp_path / "images")
    for name in ("one", "two"):
        (tmp_path / "images" / "class0" / name).symlink_to(".")
    check = source_of(DataConfig(name="folder", root=str(tmp_path / "images"), resolution=8)).pools()["train"]
    assert check is not None
    assert len(check) == 64
    start = time.monotonic()
    for name in ("timm/", "timm/torch/image_folder"):
        with pytest.raises(InputError, match="that links lead back to") as told:
            source_of(DataConfig(name=name, root=str(tmp_path / "images"), resolution=8)).pools()
        assert "class0/one" in told.value.instead or "class0/two" in told.value.instead
    assert time.monotonic() - start < 2


def test_files_that_are_shorter_than_a_signature(tmp_path: Path) -> None:
    root = make_images(tmp_path / "images", each=3)
    for size in range(20):
        assert not begins_as_image(bytes(size))
        (root / "class0" / f"short{size}").write_bytes(b"0" * size)
    train = source_of(config(name="folder", root=str(root))).pools()["train"]
    assert train is not None
    assert len(train) == 12


def test_links_to_folders_above_are_left_out(tmp_path: Path) -> None:
    """They hold everything else of the user's, as /proc/self/root holds the whole disk."""
    root = make_images(tmp_path / "images", each=3)
    private = make_images(tmp_path / "private", classes=1, each=2, seed=1)
    (root / "class0" / "up").symlink_to(tmp_path)
    (root / "class0" / "beside").symlink_to(private / "class0")
    (root / "class1" / "disk").symlink_to("/")
    source = source_of(config(name="folder", root=str(root)))
    train = source.pools()["train"]
    assert train is not None
    read = {item.id for item in train}
    assert len(read) == 14  # a link to a folder elsewhere is the user's own way to keep images on another disk
    assert sum("beside" in name for name in read) == 2
    why = [entry.why for entry in source.tally.entries()]
    assert why.count("link to a folder above the data set") == 2


def test_links_that_multiply(tmp_path: Path) -> None:
    """Two ways to each next folder, and no folder in itself."""
    for number in range(30):
        (tmp_path / f"{number}").mkdir()
        for name in "ab":
            (tmp_path / f"{number}" / name).symlink_to(tmp_path / f"{number + 1}")
    start = time.monotonic()
    with pytest.raises(InputError, match="1,000,000 folders"):
        check_links_end(tmp_path / "0")
    assert time.monotonic() - start < 2


def test_files_that_are_none(tmp_path: Path) -> None:
    """A pipe in the place of an image that was listed is not waited for."""
    make_images(tmp_path / "images")
    source = source_of(DataConfig(name="folder", root=str(tmp_path / "images"), resolution=8))
    items = source.pools()["train"]
    assert items
    path = tmp_path / "images" / items[0].id
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="no ordinary file"):
        source.pixels(items[:1], "train")


def idx(count: int, body: bytes, *sides: int) -> bytes:
    axes = 1 + len(sides)
    return struct.pack(f">I{axes}I", 0x0800 + axes, count, *sides) + body


def fashion(folder: Path, **changes: bytes) -> FashionMnist:
    folder.mkdir(exist_ok=True)
    for prefix, count in (("train", 20), ("t10k", 10)):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(count, bytes(784 * count), 28, 28))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(count, bytes(range(10)) * (count // 10)))
    for name, content in changes.items():
        plain = folder / "train-images-idx3-ubyte"
        plain.unlink()
        (folder / (plain.name + (".gz" if name == "gz" else ""))).write_bytes(content)
    return FashionMnist(DataConfig(name="fashion_mnist", root=str(folder), resolution=28))


LONG = gzip.compress(bytes(2 * 10**8), 1)
"""200 MB of zeros in less than 1 MB."""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gz": gzip.compress(idx(20, bytes(784 * 20), 28, 28)) + LONG}, "more bytes of values"),
        ({"gz": b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 2**25}, "has 33,554,442 bytes"),
        ({"gz": LONG}, "begins with 00000000"),
        ({"gz": gzip.compress(idx(20, bytes(784 * 20), 28, 28))[:-20]}, "cannot be read"),
        ({"plain": idx(20, bytes(784 * 20 + 1), 28, 28)}, "more bytes of values"),
        ({"plain": idx(20, bytes(784 * 20 - 1), 28, 28)}, "15679 bytes of values"),
        ({"plain": idx(2**32 - 1, b"", 28, 28)}, "announces 4,294,967,295 items"),
        ({"plain": idx(20, b"", 2**32 - 1, 2**32 - 1)}, "values"),
        ({"gz": gzip.compress(idx(200_000, b"", 28, 28))}, "0 bytes of values"),
    ],
)
def test_idx_files_are_what_they_announce(changes: dict[str, bytes], says: str, tmp_path: Path) -> None:
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(InputError, match=says):
        fashion(tmp_path / "fashion", **changes).read("train")
    assert time.monotonic() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 2**10


def test_whole_idx_files_are_read(tmp_path: Path) -> None:
    images = np.arange(784 * 20, dtype=np.uint32).astype(np.uint8).tobytes()
    for changes in ({"gz": gzip.compress(idx(20, images, 28, 28))}, {"plain": idx(20, images, 28, 28)}):
        found = fashion(tmp_path / "-".join(changes), **changes).read("train")
        assert found is not None
        assert found[0].tobytes() == images


@pytest.mark.slow
def test_the_command_refuses_a_bomb_in_little_memory(tmp_path: Path) -> None:
    make_images(tmp_path / "images")
    (tmp_path / "images" / "class0" / "bomb.png").write_bytes(png(60_000, 60_000))
    words = ("train", "data=folder", "data.root=images", "data.resolution=16", "run=run")
    done = subprocess.run(
        ["prlimit", f"--as={6 * 10**9}", sys.executable, "-W", "error::ImportWarning", "-m", "nas.cli", *words],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "bomb.png has 3,600,000,000 pixels" in done.stderr or "bomb.png has too many pixels" in done.stderr
    assert not (tmp_path / "run").exists()

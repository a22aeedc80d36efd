"""Single image files as a viewer shows them, and what evaluation makes of them: `nas.data.picture` and its transform."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data.picture import as_shown, decode
from search_spaces.errors import InputError


def config(**changes: object) -> DataConfig:
    return DataConfig(**{"name": "folder", "root": "x", **changes})  # type: ignore[arg-type]


def shown(image: Image.Image, format: str, **how: object) -> np.ndarray:
    """What is decoded of an image that was saved."""
    file = io.BytesIO()
    image.save(file, format, **how)
    picture = decode(file.getvalue(), f"x.{format.lower()}", config())
    assert picture is not None
    return np.asarray(picture).astype(int)


def corner() -> Image.Image:
    """24 x 16 pixels, of which every turn and mirror image is different."""
    pixels = np.zeros((16, 24, 3), dtype=np.uint8)
    pixels[:8, :, 0] = 255
    pixels[:, :8, 1] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "MPO", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(format: str, orientation: int) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = corner()
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright)).astype(int)
    found = shown(corner(), format, exif=exif, quality=95)
    assert found.shape == expected.shape == ((16, 24, 3) if orientation < 5 else (24, 16, 3))
    assert np.median(abs(found - expected)) <= 2
    assert abs(found - expected).mean() < 12  # colours of a JPEG run into each other at the edges


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # commands do not show it
def test_damaged_exif_hides_no_picture(tmp_path: Path) -> None:
    file = io.BytesIO()
    corner().save(file, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    picture = decode(file.getvalue(), "x.jpg", config())
    assert picture is not None
    assert picture.size == (24, 16)


def drawing(mode: str) -> Image.Image:
    """A black square on a transparent ground."""
    layer = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    layer.paste((0, 0, 0, 255), (4, 4, 12, 12))
    return layer.convert(mode)


def transparent_files() -> dict[str, bytes]:
    found = {}

    def save(name: str, image: Image.Image, format: str, **how: object) -> None:
        file = io.BytesIO()
        image.save(file, format, **how)
        found[name] = file.getvalue()

    square = np.full((16, 16), 255, dtype=np.uint8)
    square[4:12, 4:12] = 0
    save("RGBA png", drawing("RGBA"), "PNG")
    save("LA png", drawing("LA"), "PNG")
    save("RGBA webp", drawing("RGBA"), "WEBP", lossless=True)
    save("RGBA tiff", drawing("RGBA"), "TIFF")
    save("icon", drawing("RGBA"), "ICO", sizes=[(16, 16)])
    palette = Image.fromarray((square > 0).astype(np.uint8), "P")
    palette.putpalette([0, 0, 0] * 2)
    save("palette png", palette, "PNG", transparency=1)
    save("palette with alphas png", palette, "PNG", transparency=b"\xff\x00")
    save("gif", palette, "GIF", transparency=1)
    keyed = Image.fromarray((square > 0).astype(np.uint8) * 7)
    save("grey with a key png", keyed, "PNG", transparency=7)
    save("colour with a key png", Image.merge("RGB", [keyed] * 3), "PNG", transparency=(7, 7, 7))
    deep = Image.fromarray((square > 0).astype(np.uint16) * 9)
    save("16 bits with a key png", deep, "PNG", transparency=9)
    return found


@pytest.mark.parametrize("name", transparent_files())
def test_transparent_pixels_have_the_stated_colour(name: str) -> None:
    content = transparent_files()[name]
    for setting, colour in (("white", 255), ("black", 0), ("grey", 128), ("#0a1b2c", (10, 27, 44))):
        picture = decode(content, "x", config(background=setting))
        assert picture is not None
        pixels = np.asarray(picture)
        assert (pixels[:4] == colour).all()
        assert (pixels[4:12, 4:12] <= 1).all()


def png(depth: int, colour: int, rows: bytes, key: bytes) -> bytes:
    """A picture of 4 x 1 pixels with a transparent value, written by hand: Pillow writes 8 bits only."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"tRNS", key), chunk(b"IDAT", zlib.compress(b"\0" + rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png(1, 0, b"\x50", b"\0\1"), [0, 128, 0, 128]),
        (png(2, 0, b"\x1b", b"\0\1"), [0, 128, 170, 255]),
        (png(4, 0, b"\x03\x3f", b"\0\3"), [0, 128, 128, 255]),
        (png(8, 0, bytes([0, 3, 4, 255]), b"\0\3"), [0, 128, 4, 255]),
        (png(16, 2, b"\x12\x34" * 3 + b"\0" * 18, b"\x12\x34" * 3), [128, 0, 0, 0]),
    ],
)
def test_transparent_values_of_every_depth(content: bytes, expected: list[int]) -> None:
    picture = decode(content, "x", config(background="grey"))
    assert np.asarray(picture)[0, :, 0].tolist() == expected


MODES = [
    "1",
    "L",
    "P",
    "RGB",
    "RGBA",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "LA",
    "PA",
    "RGBX",
    "RGBa",
    "La",
    "I;16",
    "I;16B",
    "I;16L",
    "F",
]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_pillow_becomes_colours(mode: str) -> None:
    image = Image.new(mode, (5, 3))
    picture = as_shown(image, config())
    assert (picture.mode, picture.size) == ("RGB", (5, 3))


def test_lab_is_converted_by_its_own_space() -> None:
    grey = as_shown(Image.merge("LAB", [Image.new("L", (2, 2), value) for value in (136, 128, 128)]), config())
    assert abs(np.asarray(grey).astype(int) - 127).max() < 12  # L* = 53 is the middle grey of sRGB


@pytest.mark.parametrize(
    ("values", "format", "settings", "expected"),
    [
        (np.array([[0, 256, 65535]], np.uint16), "PNG", {}, [0, 1, 255]),
        (np.array([[0, 256, 65535]], np.uint16), "TIFF", {}, [0, 1, 255]),
        (np.array([[0, 2048, 4095]], np.uint16), "PNG", {"white": 4095.0}, [0, 128, 255]),
        (np.array([[0, 256, 65535]], np.int32), "PPM", {}, [0, 1, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), "TIFF", {}, [0, 128, 255]),
        (np.array([[0.0, 100.0, 200.0]], np.float32), "TIFF", {"white": 200.0}, [0, 128, 255]),
        (np.array([[0, 500, 1000]], np.int32), "TIFF", {"white": 1000.0}, [0, 128, 255]),
        (np.array([[0, 500, 1000]], np.int32), "TIFF", {}, "no file says which of them is white"),
        (np.array([[0.0, 100.0, 200.0]], np.float32), "TIFF", {}, "its values go from 0 to 200, and white is 1"),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), "TIFF", {}, "from -1 to 1"),
        (np.array([[np.nan, 0.0, 1.0]], np.float32), "TIFF", {}, "from nan"),
        (np.array([[0, 4096]], np.uint16), "PNG", {"white": 4095.0}, "from 0 to 4096, and white is 4095"),
    ],
)
def test_values_of_more_than_eight_bits(
    values: np.ndarray, format: str, settings: dict, expected: list[int] | str
) -> None:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format)
    if isinstance(expected, str):
        with pytest.raises(InputError, match=expected) as caught:
            decode(file.getvalue(), "x", config(**settings))
        no_white_helps = expected.startswith(("from -1", "from nan"))
        assert ("data.white=" in caught.value.instead) is not no_white_helps
    else:
        picture = decode(file.getvalue(), "x", config(**settings))
        assert np.asarray(picture)[0, :, 0].tolist() == expected


def test_the_first_of_several_frames_is_shown(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format in ("GIF", "TIFF", "WEBP", "PNG"):
        found = shown(frames[0], format, save_all=True, append_images=frames[1:])
        assert found.shape == (8, 8, 3)
        assert found[0, 0, 0] > 250 > 5 > found[0, 0, 2]


@pytest.mark.parametrize("size", [(20_000, 3), (3, 20_000), (9_000, 9), (700, 70)])
@pytest.mark.parametrize("resolution", [224, 64, 32])
def test_strips_are_cropped_before_they_are_enlarged(size: tuple[int, int], resolution: int) -> None:
    """And show what an enlargement of the whole would: the middle."""
    width, height = size
    ramp = np.arange(width * height, dtype=np.float64).reshape(height, width)
    pixels = np.rint(127 + 120 * np.sin(ramp / max(size) * 400))[..., None].repeat(3, 2).astype(np.uint8)
    image = Image.fromarray(pixels)
    largest = [0]
    original = Image.Image.resize

    def resize(self, size, *arguments, **keywords):
        largest[0] = max(largest[0], size[0] * size[1])
        return original(self, size, *arguments, **keywords)

    Image.Image.resize = resize  # type: ignore[method-assign]
    try:
        small = augmentation.evaluation_transform(resolution)(image)
    finally:
        Image.Image.resize = original  # type: ignore[method-assign]
    assert small.shape == (3, resolution, resolution)
    assert 0 < largest[0] <= 10 * augmentation.ASPECT * resolution**2
    if resolution >= 64 and max(size) == 700:  # small enough to enlarge as a whole
        from timm.data.transforms_factory import create_transform

        whole = create_transform(
            resolution, interpolation="bicubic", crop_pct=0.875, crop_mode="center", normalize=False
        )(image)
        assert (small.int() - whole.int()).abs().float().mean() < 12  # at most a pixel of the original aside

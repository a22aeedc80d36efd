"""Image files as pictures: what Pillow opens by content, in RGB, as an image viewer shows it.

The orientation of EXIF is applied, transparent pixels are laid on a stated colour, and of several frames the first is
taken. Colour profiles are not applied.
"""

import contextlib
import functools
import io
import math
import os
import struct
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Transpose

from nas.config import DataConfig
from search_spaces.errors import InputError

RULE = 2
"""Version of how image files become pixels. A split notes it, for a run must not change its images half-way.

1 ignored the orientation and laid transparent pixels on whatever colour they hide, mostly black.
"""

RASTER = frozenset(
    (
        "AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FLI", "FTEX", "GBR", "GIF", "HEIF", "ICNS", "ICO", "IM", "IMT", "JPEG", "JPEG2000",
        "MCIDAS", "MPO", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM",
        "XVTHUMB",
    )
)  # fmt: skip
"""Formats of pixels that Pillow decodes by itself, and no others: EPS starts Ghostscript, WMF draws by the system, IPTC opens what it holds as
any format, and FITS unpacks what it holds without a bound."""

MOST_BYTES = 2**30
"""Of an image file."""

SIGNATURE = 16
"""Bytes by which Pillow tells formats apart."""

_ORIENTATION = 0x0112

# By the value of EXIF's orientation. ImageOps.exif_transpose does the same, but fails on images whose other tags are damaged.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


@functools.cache
def _formats() -> tuple[dict[str, str], list[str]]:
    """(format by suffix, formats with a signature of their own) of what Pillow decodes."""
    Image.init()
    suffixes = {
        suffix: name for suffix, name in Image.registered_extensions().items() if name in Image.OPEN and name in RASTER
    }
    return suffixes, [name for name, (_, accept) in Image.OPEN.items() if accept is not None and name in RASTER]


def only_rasters() -> None:
    """Libraries that open images by themselves get the formats of `RASTER` alone, in this process and those that it forks."""
    Image.init()
    Image.ID[:] = [name for name in Image.ID if name in RASTER]


def is_image_name(name: str) -> bool:
    """Whether a file has the suffix of an image format that is read."""
    return os.path.splitext(name)[1].lower() in _formats()[0]


def begins_as_image(start: bytes) -> bool:
    """Whether the first `SIGNATURE` bytes of a file are those of an image format; most of what is none is told by them."""
    for name in _formats()[1]:
        accept = Image.OPEN[name][1]
        with contextlib.suppress(IndexError, TypeError, struct.error):  # of a file that is shorter than a signature
            if accept is not None and accept(start):
                return True
    return False


def decode(content: bytes | np.ndarray, where: str, config: DataConfig) -> Image.Image | None:
    """The picture in RGB, wholly decoded. None where the content is no image.

    A file is an image if Pillow recognises its content, or if its name says that it is one.

    Args:
        content: an encoded file, or a decoded image UInt8["h w 3"].
        where: the file as messages name it; its suffix counts.

    Raises:
        InputError: it is an image and cannot be decoded, or its white is not known.
    """
    if not isinstance(content, bytes):
        return Image.fromarray(content)
    suffixes, signed = _formats()
    suffix = os.path.splitext(where)[1].lower()
    named = suffixes.get(suffix)
    formats = signed if named is None else [named, *signed]  # the likeliest first
    try:
        _give_way(config.most_pixels)
        image: Image.Image = Image.open(io.BytesIO(content), formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(where, 0, config.most_pixels) from None
    except Exception as error:  # Pillow's readers raise nearly everything on what is not theirs
        if named is None:
            return None
        raise _undecodable(where, error) from None
    with image:
        try:
            check_pixels(image, config)  # by the header
            image.load()
            if image.format == "PNG":
                _scale_key(image, content)
            return as_shown(image, config)
        except TooLargeError as error:
            raise _too_large(where, error.pixels, config.most_pixels) from None
        except _UnknownWhiteError as error:
            raise InputError(
                f"{where}: {error}",
                "values from 0 to a white that is known, the same in all images",
                f"data.white={error.white:g}, if that is white" if error.white else "save it with values from 0 up",
            ) from None
        except Exception as error:
            raise _undecodable(where, error) from None


def _give_way(most: int) -> None:
    """Pillow's own limit, which warns and then refuses, gives way to a larger one of the configuration; it never gets smaller."""
    if Image.MAX_IMAGE_PIXELS is not None and most > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = most


class TooLargeError(ValueError):
    """An image has more pixels than are read."""

    def __init__(self, pixels: int, most: int) -> None:
        super().__init__(f"it has {pixels:,} pixels, and at most {most:,} are read: data.most_pixels")
        self.pixels = pixels


def check_pixels(image: Image.Image, config: DataConfig) -> None:
    """
    Raises:
        TooLargeError: the image has more pixels than are read. None of them need be decoded to know that.
    """
    pixels = image.width * image.height
    if pixels > config.most_pixels:
        raise TooLargeError(pixels, config.most_pixels)


def _too_large(where: str, pixels: int, most: int) -> InputError:
    """The error for an image of too many pixels.

    Args:
        pixels: 0 where Pillow does not say how many it has.
    """
    return InputError(
        f"{where} has {f'{pixels:,}' if pixels else 'too many'} pixels",
        f"at most {most:,}, which is data.most_pixels",
        f"data.most_pixels={pixels or 2 * most} if it is meant, or remove it",
    )


def _scale_key(image: Image.Image, content: bytes) -> None:
    """Brings the transparent value of a PNG to the scale of its pixels, which Pillow takes from 2, 4 or 16 bits to 8."""
    depth, colour = content[24], content[25]
    key = image.info.get("transparency")
    if colour == 0 and depth in (2, 4) and isinstance(key, int):
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif colour == 2 and depth == 16 and isinstance(key, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in key)


class _UnknownWhiteError(ValueError):
    """Values that cannot be scaled to 0 to 255.

    Args:
        white: what may be meant as white; 0 where no white helps.
    """

    def __init__(self, what: str, white: float) -> None:
        super().__init__(what)
        self.white = white


def _undecodable(where: str, error: Exception) -> InputError:
    reason = str(error).split(" <_io.")[0]
    return InputError(
        f"{where} cannot be decoded ({type(error).__name__}: {reason})",
        "whole images that Pillow reads",
        "replace or remove it, then run the same command again",
    )


def as_shown(image: Image.Image, config: DataConfig) -> Image.Image:
    """A loaded image in RGB: upright, opaque, with its white as 255.

    Raises:
        ValueError: its values do not lie between 0 and a white that is known, or it has too many of them.
    """
    check_pixels(image, config)
    method = _UPRIGHT.get(_orientation(image))
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        picture = _from_deep(image, config)
    elif image.mode == "LAB":
        picture = _from_lab(image)
    elif image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        layer = image.convert("RGBA")
        picture = Image.new("RGB", layer.size, config.background_colour)
        picture.paste(layer, mask=layer.getchannel("A"))
    else:
        picture = image if image.mode == "RGB" else image.convert("RGB")  # which would copy
    return picture if method is None else picture.transpose(method)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata hide no picture
        return 1


def _from_deep(image: Image.Image, config: DataConfig) -> Image.Image:
    """An image of one channel of 16 or 32 bits.

    Raises:
        ValueError: see `as_shown`.
    """
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        white = config.white or 65535.0
    elif image.mode == "I":
        # Pillow gives 16-bit PNM, and did give 16-bit PNG, as 32-bit whole numbers of that range.
        white = config.white or (65535.0 if image.format in ("PNG", "PPM") else 0.0)
    else:
        white = config.white or 1.0
    low, high = float(values.min()), float(values.max())
    if not white:
        raise _UnknownWhiteError(
            "it has whole numbers of 32 bits, and no file says which of them is white", _likely_white(low, high)
        )
    if not (math.isfinite(low) and math.isfinite(high) and low >= 0 and high <= white):
        what = f"its values go from {low:g} to {high:g}, and white is {white:g}"
        raise _UnknownWhiteError(what, _likely_white(low, high))
    if white == 65535:
        grey = (values.astype(np.uint16) >> 8).astype(np.uint8)
    else:
        grey = np.rint(values.astype(np.float64) * 255 / white).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    key = image.info.get("transparency")
    if isinstance(key, int):  # the one value that is transparent
        shown = Image.fromarray(values != key)
        ground = Image.new("RGB", picture.size, config.background_colour)
        ground.paste(picture, mask=shown)
        return ground
    return picture


def _likely_white(low: float, high: float) -> float:
    """The largest value of so many bits as `high` needs; 0 where values are negative or not finite."""
    if not (math.isfinite(low) and math.isfinite(high) and low >= 0):
        return 0.0
    whites = (1.0, *(2.0**bits - 1 for bits in (8, 10, 12, 14, 16, 24, 32)))
    return next((white for white in whites if high <= white), high)


@functools.cache
def _lab_to_rgb() -> Any:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    picture = ImageCms.applyTransform(image, _lab_to_rgb())
    assert picture is not None
    return picture

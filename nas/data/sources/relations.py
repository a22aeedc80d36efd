"""Generated colour images of 32 x 32 pixels whose class is a local texture and a relation between two far patches.

    data=relations          24,000 images
    data=relations/2000     so many
    data=relations/2000/1   so many others, of series 1, drawn alike: test images that no earlier run has read

Every image has two patches of the same texture, 14 to 18 pixels apart. The class says which of four textures they have, which a few
pixels tell, and whether both have upright or both have level stripes, which neither patch tells alone: see `UPRIGHT`. Places, slants,
colours, contrast, phase, a coloured background, a plain disc and noise vary, and say nothing about the class.

Stripes are brighter than the ground, so that a linear filter finds a patch. Where they were as often darker, networks stayed at chance for
a random number of epochs before they learned anything, and accuracies told when that ended rather than which network is better.
"""

import math
import re
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from nas.config import DataConfig
from nas.data.arrays import Arrays
from search_spaces.errors import InputError

IMAGES, FEWEST, MOST = 24_000, 160, 1_000_000
"""Images where none are asked for, the fewest that leave every class some in each part, and the most."""

SERIES = 1_000_000
"""The largest number of a series. Each series has images of its own; series 0 is what a name without a series means."""

SEED = 20_240_601
"""Of the images. It is no setting, so that equal names are equal data."""

SIDE, CHUNK = 32, 1024
"""Pixels of a side, and images that are made at once."""

_NAME = re.compile(r"relations(?:/([0-9]{1,9})(?:/([0-9]{1,9}))?)?")

TEXTURES = ("fine", "coarse", "dotted", "double")
RELATIONS = ("parallel", "crossed")

UPRIGHT = 0.85
"""Share of the parallel pairs that are upright. Equal shares would make the relation an exclusive or, of which descent finds no first hint: a
plain network of 3 M MACs told the textures and stayed at 50 % for ten epochs. So the direction of one patch tells the relation for 67 % of
the images, the number of upright patches for 92 %, and both directions for all, but for `SLACK`.
"""

SLACK = math.radians(15)
"""Standard deviation of the direction of stripes from upright or level. One patch in 370 is beyond 45 degrees, so at most 99 % can be told."""

NOISE, CONTRAST = (0.02, 0.14), (0.2, 1.0)
"""Ranges of the standard deviation of each image's noise, and of the brightness of each patch. Both are wide: images of much contrast
teach the task soon, and those of little contrast under much noise keep it from saturating: after 7 epochs networks of 4 M MACs have 52 to
88 % of the test images (results/README.md).
"""

SIZE = 4.2
"""Standard deviation in pixels of the window that a patch fades out with."""


class Relations(Arrays):
    """One pool, from which all parts are cut; classes are equally frequent."""

    in_channels = 3
    names = tuple(f"{texture} {relation}" for texture in TEXTURES for relation in RELATIONS)

    def __init__(self, config: DataConfig) -> None:
        super().__init__(config)
        self.count, self.series = asked_of(config.name)

    def read(self, part: str) -> tuple[np.ndarray, np.ndarray] | None:
        return images_of(self.count, self.series) if part == "train" else None


def asked_of(name: str) -> tuple[int, int]:
    """The number of images and the series that a name of the data set asks for.

    Raises:
        InputError: what stands behind a slash is no such number.
    """
    match = _NAME.fullmatch(name)
    count, series = (int(match[1] or IMAGES), int(match[2] or 0)) if match else (0, 0)
    if not FEWEST <= count <= MOST or series > SERIES:
        allowed = f"relations/N with N from {FEWEST} to {MOST:,}, or relations/N/SERIES with a series up to {SERIES:,}"
        raise InputError(f"data={name[:80]}", allowed, f"data=relations/{IMAGES}")
    return count, series


@lru_cache(maxsize=1)  # every part of a run reads the same images
def images_of(count: int, series: int = 0) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, " n"]]:
    """So many images of a series and their labels, the same at every call. More images begin with the same chunks."""
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    for first in range(0, count, CHUNK):
        rng = np.random.default_rng((SEED, first, series) if series else (SEED, first))
        made, own = _chunk(rng)
        images[first : first + CHUNK] = made[: count - first]
        labels[first : first + CHUNK] = own[: count - first]
    images.flags.writeable = labels.flags.writeable = False
    return images, labels


def _chunk(rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Int[np.ndarray, " n"]]:
    labels = rng.permutation(CHUNK) % (len(TEXTURES) * len(RELATIONS))
    textures, crossed = np.divmod(labels, len(RELATIONS))
    # Crossed patches are in either order; which of two parallel ones is told first plays no part.
    upright = rng.random(CHUNK) < np.where(crossed == 1, 0.5, UPRIGHT)
    first, second = (math.pi / 2 * ways + rng.normal(0, SLACK, CHUNK) for ways in (upright, (upright + crossed) % 2))
    axis, reach = rng.uniform(0, 2 * math.pi, CHUNK), rng.uniform(7, 9, CHUNK)
    middle = (SIDE - 1) / 2 + rng.uniform(-2, 2, (2, CHUNK))
    offset = reach * np.stack((np.sin(axis), np.cos(axis)))
    canvas = _background(rng)
    for angles, place in ((first, middle + offset), (second, middle - offset)):
        canvas += _patch(rng, textures, angles, place)
    canvas += rng.normal(0, 1, canvas.shape).astype(np.float32) * _each(rng.uniform(*NOISE, CHUNK))
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8), labels


def _each(values: np.ndarray) -> Float[np.ndarray, "n 1 1 1"]:
    """One value for each image."""
    return values.astype(np.float32)[:, None, None, None]


def _from(place: np.ndarray) -> tuple[Float[np.ndarray, "n 32 32"], Float[np.ndarray, "n 32 32"]]:
    """How far every pixel is below and to the right of a place in each image."""
    pixels = np.arange(SIDE, dtype=np.float32)
    down, across = (pixels - place.astype(np.float32)[:, :, None]).reshape(2, -1, SIDE)
    shape = (place.shape[1], SIDE, SIDE)
    return np.broadcast_to(down[:, :, None], shape), np.broadcast_to(across[:, None, :], shape)


def _background(rng: np.random.Generator) -> Float[np.ndarray, "n 32 32 3"]:
    """A colour that changes slowly over each image, and a plain disc somewhere."""
    pixels = np.linspace(-1, 1, SIDE, dtype=np.float32)
    slopes = rng.uniform(-0.12, 0.12, (2, CHUNK, 1, 1, 3)).astype(np.float32)
    canvas = rng.uniform(0.3, 0.7, (CHUNK, 1, 1, 3)).astype(np.float32)
    canvas = canvas + slopes[0] * pixels[None, :, None, None] + slopes[1] * pixels[None, None, :, None]
    down, across = _from(rng.uniform(0, SIDE, (2, CHUNK)))
    disc = np.hypot(down, across) < rng.uniform(2, 5, CHUNK)[:, None, None]
    return canvas + disc[..., None] * rng.uniform(-0.2, 0.2, (CHUNK, 1, 1, 3)).astype(np.float32)


def _patch(
    rng: np.random.Generator, textures: np.ndarray, angles: np.ndarray, place: np.ndarray
) -> Float[np.ndarray, "n 32 32 3"]:
    """A round patch of the texture of each image, which fades out, in a colour of its own."""
    down, across = _from(place)
    cos, sin = (f(angles).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    u, v = cos * across + sin * down, cos * down - sin * across
    phase, other = rng.uniform(0, 2 * math.pi, (2, CHUNK, 1, 1)).astype(np.float32)
    kind, turn = textures[:, None, None], 2 * math.pi
    period = np.choose(kind, (3.5, 6.5, 5.0, 5.0)).astype(np.float32)
    wave = np.sin(turn / period * u + phase)
    dots = 0.5 + 0.5 * np.sin(turn / 3 * v + other)
    double = 0.6 * wave + 0.6 * np.sin(2 * turn / period * u + other)
    light = 0.5 + 0.5 * np.choose(kind, (wave, wave, wave * dots, double))
    window = np.exp(-(down**2 + across**2) / (2 * SIZE**2))
    colour = np.abs(rng.normal(0, 1, (CHUNK, 1, 1, 3)))
    colour *= rng.uniform(*CONTRAST, (CHUNK, 1, 1, 1)) / np.linalg.norm(colour, axis=3, keepdims=True)
    return (light * window)[..., None].astype(np.float32) * colour.astype(np.float32)

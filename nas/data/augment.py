"""Random changes to images, each a pure function of a key such as (seed, epoch, batch), and how files become squares.

Seeds are derived by hashing, never by adding, so that neighbouring seeds, epochs and batches share no random numbers,
and nothing here reads or leaves a trace in the global random state of torch, numpy or Python.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional

from supernet.seeding import derive_seed

ERASE_PROBABILITY = 0.25

ERASE_AREA = (0.02, 1 / 3)
"""Smallest and largest share of the image that an erased rectangle covers, before it is cut to the image's side."""

ERASE_ASPECT = 0.3
"""Height over width of an erased rectangle lies between this and its inverse, evenly on a logarithmic scale."""

CROP_SHARE = 0.875
"""Share of the short side that evaluation keeps of image files."""

CROP_FROM = 64
"""Resolution in pixels from which evaluation crops; smaller images are resized whole."""

ASPECT = 8
"""Long over short side from which evaluation at 64 pixels or more cuts the ends off before it resizes: they are far from
the middle square, and enlarging the short side of a strip would make the long one huge."""

RAND_AUGMENT = "rand-m9-mstd0.5-inc1"


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator seeded with `derive_seed(*key)`."""
    return torch.Generator().manual_seed(derive_seed(*key))


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's global CPU generators inside, and restores their states on leaving.

    For library transforms that know no other source of random numbers.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])


class Draws(NamedTuple):
    """The random numbers of one batch of b images.

    crop: (b, 2), top and left corner of the crop in the padded image, from 0 to twice the padding, in pixels.
    flip: (b,), whether the crop is mirrored left to right.
    box: (b, 4), top, left, height and width of the rectangle that is erased last, in pixels; height 0 erases nothing.
    """

    crop: Int64[Tensor, "b 2"]
    flip: Bool[Tensor, " b"]
    box: Int64[Tensor, "b 4"]

    def part(self, which: slice | Tensor) -> "Draws":
        """Those of some of the images."""
        return Draws(self.crop[which], self.flip[which], self.box[which])


def padding(resolution: int) -> int:
    """Pixels of padding on each side that crops are taken from."""
    return resolution // 8


def draw(kind: str, count: int, resolution: int, source: torch.Generator) -> Draws:
    """What happens to each of `count` images of `resolution` pixels under "light" or "standard".

    Raises:
        ValueError: another kind.
    """
    if kind not in ("light", "standard"):
        raise ValueError(f"no batched augmentation is called {kind!r}")
    crop = torch.randint(0, 2 * padding(resolution) + 1, (count, 2), generator=source)
    if kind == "light":
        return Draws(crop, torch.zeros(count, dtype=torch.bool), torch.zeros(count, 4, dtype=torch.int64))
    flip, erase, area, aspect, top, left = torch.rand(6, count, generator=source)
    area = (ERASE_AREA[0] + area * (ERASE_AREA[1] - ERASE_AREA[0])) * resolution**2
    slope = torch.exp((1 - 2 * aspect) * math.log(ERASE_ASPECT))
    size = torch.stack([torch.sqrt(area * slope), torch.sqrt(area / slope)], 1).round().clamp_(1, resolution)
    corner = (torch.stack([top, left], 1) * (resolution - size + 1)).floor().minimum(resolution - size)
    box = torch.cat([corner, size], 1).to(torch.int64) * (erase < ERASE_PROBABILITY)[:, None]
    return Draws(crop, flip < 0.5, box)


def apply(pixels: UInt8[Tensor, "b r r c"], draws: Draws, fill: UInt8[Tensor, " c"]) -> UInt8[Tensor, "b r r c"]:
    """Pads with zeros, crops back to r pixels, mirrors, then erases, each image by its own draws.

    Args:
        fill: the colour of erased rectangles, on the device of `pixels`.

    Returns:
        A contiguous tensor on the device of `pixels`; which device makes no difference to the values.
    """
    count, side = pixels.shape[:2]
    pad, device = padding(side), pixels.device
    crop, flip, box = (numbers.to(device) for numbers in draws)
    padded = functional.pad(pixels, (0, 0, pad, pad, pad, pad))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1).permute(0, 1, 2, 4, 5, 3)  # a view: b, top, left, r, r, c
    out = windows[torch.arange(count, device=device), crop[:, 0], crop[:, 1]]
    out = torch.where(flip[:, None, None, None], out.flip(2), out)
    line = torch.arange(side, device=device)
    rows, columns = (
        (line >= box[:, axis, None]) & (line < (box[:, axis] + box[:, axis + 2])[:, None]) for axis in (0, 1)
    )
    return torch.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, out)


def evaluation_transform(resolution: int) -> Callable[[Image.Image], Tensor]:
    """From a PIL image in RGB to UInt8[Tensor, "3 r r"], without chance.

    At 64 pixels or more the short side is resized to resolution / 0.875 and the middle square kept, as timm evaluates;
    below, the whole image is resized, whatever its aspect. These are timm's transforms to the pixel, by Pillow alone, as
    importing timm takes longer than decoding a thousand images.
    """
    if resolution < CROP_FROM:

        def squash(image: Image.Image) -> Tensor:
            return _tensor(image.resize((resolution, resolution), Image.Resampling.BICUBIC))

        return squash
    short = math.floor(resolution / CROP_SHARE)

    def crop(image: Image.Image) -> Tensor:
        image = without_ends(image)
        width, height = image.size
        if width <= height:
            width, height = short, int(short * height / width)
        else:
            width, height = int(short * width / height), short
        left, top = round((width - resolution) / 2), round((height - resolution) / 2)
        large = image.resize((width, height), Image.Resampling.BICUBIC)
        return _tensor(large.crop((left, top, left + resolution, top + resolution)))

    return crop


def _tensor(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def without_ends(image: Image.Image) -> Image.Image:
    """The middle of a strip, `ASPECT` times as long as it is wide; other images as they are."""
    width, height = image.size
    most = ASPECT * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def training_transform(resolution: int, mean: tuple[float, ...]) -> Callable[[Any], Tensor]:
    """From a PIL image in RGB to UInt8[Tensor, "3 r r"]: timm's random resized crop, mirroring and RandAugment.

    It draws from the global generators, so call it inside `global_seed`.

    Args:
        mean: per channel in [0, 1], the colour of what RandAugment uncovers.
    """
    from timm.data.transforms_factory import create_transform

    transform: Any = create_transform(
        resolution, is_training=True, auto_augment=RAND_AUGMENT, interpolation="bicubic", mean=mean, normalize=False
    )
    return transform

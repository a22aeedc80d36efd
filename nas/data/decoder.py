"""Image files and what else is read one image at a time: decoded by PIL, here or in worker processes."""

import abc
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data.item import Item, check_content
from search_spaces.errors import InputError
from supernet.seeding import derive_seed


class Reader(abc.ABC):
    """Raw images by id. A copy of it lives in each worker process."""

    @abc.abstractmethod
    def where(self, id: str) -> str:
        """The image as messages name it."""

    @abc.abstractmethod
    def raw(self, id: str) -> bytes | np.ndarray:
        """An encoded file, or a decoded image UInt8["h w 3"].

        Raises:
            InputError: it cannot be read.
        """


def _decode(content: bytes | np.ndarray, where: str) -> Image.Image:
    """The image in RGB, wholly decoded.

    Raises:
        InputError: it is no image that PIL reads, or one of 32 bits per pixel.
    """
    try:
        if not isinstance(content, bytes):
            return Image.fromarray(content)
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode.startswith("I;16"):  # PIL would cut off everything above 255
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode in ("I", "F"):
                raise ValueError(f"pixels of 32 bits, mode {image.mode}")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except Exception as error:  # PIL's decoders raise nearly everything on damaged files
        reason = str(error).split(" <_io.")[0]
        raise InputError(
            f"{where} cannot be decoded ({type(error).__name__}: {reason})",
            "an image of 8 or 16 bits that PIL reads",
            "replace or remove it, then start a new run: run=runs/new",
        ) from None


class Decoder(Dataset[Any]):
    """Decodes the images of one part, in worker processes or in this one.

    Args:
        items: the images, none but of that part.
        mean: per channel, of the split; only used by random transforms.
    """

    def __init__(
        self, reader: Reader, items: Sequence[Item], part: str, config: DataConfig, mean: tuple[float, ...]
    ) -> None:
        self._reader, self._items, self._part = reader, tuple(items), part
        self.resolution, self._workers, self._mean = config.resolution, config.workers, mean
        self._transforms: dict[bool, Callable[[Any], Tensor]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def _transform(self, random: bool) -> Callable[[Any], Tensor]:
        if random not in self._transforms:
            self._transforms[random] = (
                augmentation.training_transform(self.resolution, self._mean)
                if random
                else augmentation.evaluation_transform(self.resolution)
            )
        return self._transforms[random]

    def __getitem__(self, key: tuple[int, tuple[int, int] | None]) -> Tensor | InputError:
        """One image, UInt8["r r 3"].

        An error is returned, as worker processes cannot raise one of three arguments.

        Args:
            key: the image's position in the part, and (seed, epoch) of its random transform; None transforms without
                chance.
        """
        index, chance = key
        item = self._items[index]
        try:
            where = self._reader.where(item.id)
            content = self._reader.raw(item.id)
            check_content(item, content, self._part, where)
            image = _decode(content, where)
        except InputError as error:
            return error
        if chance is None:
            return self._transform(False)(image).permute(1, 2, 0).contiguous()
        with augmentation.global_seed(derive_seed("image", *chance, index)):
            return self._transform(True)(image).permute(1, 2, 0).contiguous()

    def pixels(
        self, batches: Iterable[Sequence[int]], chance: tuple[int, int] | None = None
    ) -> Iterator[UInt8[Tensor, "b r r 3"]]:
        """The images at these positions, batch by batch.

        Args:
            chance: (seed, epoch) of the random transform; None transforms without chance.

        Raises:
            InputError: an image cannot be read or decoded, or has changed since the split.
        """
        keys = ([(index, chance) for index in batch] for batch in batches)
        self._transform(chance is not None)  # imported before, not in, each worker
        loader = DataLoader(
            self,
            batch_sampler=keys,  # pyright: ignore[reportArgumentType] - any iterable of lists of keys will do
            num_workers=self._workers,
            collate_fn=_stack,
            generator=torch.Generator(),  # or the loader draws from the global one
        )
        for batch in loader:
            if isinstance(batch, InputError):
                raise batch
            yield batch


def _stack(images: list[Tensor | InputError]) -> Tensor | InputError:
    for image in images:
        if isinstance(image, InputError):
            return image
    return torch.stack([image for image in images if isinstance(image, Tensor)])


def ranges(count: int) -> list[range]:
    return [range(start, min(start + 64, count)) for start in range(0, count, 64)]


def gather(decoder: Decoder) -> UInt8[Tensor, "n r r 3"]:
    """All images of a decoder, decoded without chance."""
    pixels = torch.empty(len(decoder), decoder.resolution, decoder.resolution, 3, dtype=torch.uint8)
    for positions, batch in zip(ranges(len(decoder)), decoder.pixels(ranges(len(decoder))), strict=True):
        pixels[positions.start : positions.stop] = batch
    return pixels

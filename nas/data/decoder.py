"""Image files and what else is read one image at a time: decoded by Pillow, on threads or in worker processes."""

import abc
import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data import picture
from nas.data.item import NEW_RUN, Item, check_content, content_hash
from nas.data.reading import all_of_them, on_all_cores
from nas.data.streaming import Chance, streamed
from search_spaces.errors import InputError
from supernet.seeding import derive_seed

if TYPE_CHECKING:
    from nas.data.transforms import Transforms


class Reader(abc.ABC):
    """Raw images by id. A copy of it lives in each worker process."""

    @property
    def threads(self) -> int:
        """How many threads may read at once; 0 for one per core."""
        return 0

    @abc.abstractmethod
    def where(self, id: str) -> str:
        """The image as messages name it."""

    def may_be_image(self, id: str) -> bool:
        """Whether its name or its first bytes say that it is an image; what is none is not read whole."""
        return True

    @abc.abstractmethod
    def raw(self, id: str) -> bytes | np.ndarray:
        """An encoded file, or a decoded image UInt8["h w 3"].

        Raises:
            InputError: it cannot be read.
        """


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
        self.resolution, self._workers, self._mean, self._config = config.resolution, config.workers, mean, config
        self._transforms: dict[bool, Callable[[Any], Tensor]] = {}
        self._recipe: Transforms | None = None

    def by(self, transforms: "Transforms") -> "Decoder":
        """A copy whose random transforms are those of a recipe."""
        changed = copy.copy(self)
        changed._recipe, changed._transforms = transforms, {}
        return changed

    def __len__(self) -> int:
        return len(self._items)

    @property
    def threads(self) -> int:
        """See `Reader`."""
        return self._reader.threads

    def _transform(self, random: bool) -> Callable[[Any], Tensor]:
        if random not in self._transforms:
            if not random:
                transform = augmentation.evaluation_transform(self.resolution)
            elif self._recipe is not None:
                transform = self._recipe.training(self.resolution, self._mean)
            else:
                transform = augmentation.training_transform(self.resolution, self._mean)
            self._transforms[random] = transform
        return self._transforms[random]

    def replace_evaluation(self, transform: Callable[[Any], Tensor]) -> None:
        """Images that are decoded without chance pass through this transform, from PIL in RGB to UInt8["3 r r"]."""
        self._transforms[False] = transform

    def __getitem__(self, key: tuple[int, Chance | None]) -> Tensor | InputError:
        """One image, UInt8["r r 3"].

        An error is returned, as worker processes cannot raise one of three arguments.

        Args:
            key: the image's position in the part, and what its random transform depends on beside it; None transforms without
                chance.
        """
        index, chance = key
        item = self._items[index]
        try:
            where = self._reader.where(item.id)
            content = self._reader.raw(item.id)
            check_content(item, content, self._part, where)
            image = picture.decode(content, where, self._config)
            if image is None:
                raise InputError(f"{where} is no image that Pillow reads", "the images that were split", NEW_RUN)
        except InputError as error:
            return error
        if chance is None:
            return self._transform(False)(image).permute(1, 2, 0).contiguous()
        with augmentation.global_seed(derive_seed("image", *chance, index)):
            return self._transform(True)(image).permute(1, 2, 0).contiguous()

    def check(self) -> None:
        """Reads every image and compares its hash.

        Raises:
            InputError: images cannot be read or have changed since the split; all of them are named.
        """

        def changed(item: Item) -> InputError | None:
            try:
                check_content(item, self._reader.raw(item.id), self._part, self._reader.where(item.id))
            except InputError as error:
                return error
            return None

        errors = on_all_cores(changed, self._items, self.threads)
        all_of_them((error for error in errors if error), len(self))

    def pixels(
        self, batches: Iterable[Sequence[int]], chances: Iterable[Sequence[Chance]] | None = None
    ) -> Iterator[UInt8[Tensor, "b r r 3"]]:
        """The images at these positions, batch by batch.

        Args:
            chances: what the random transform of each image depends on beside its position; None transforms without chance.

        Raises:
            InputError: an image cannot be read or decoded, or has changed since the split.
        """
        if chances is None:
            keys = ([(index, None) for index in batch] for batch in batches)
        else:
            keys = (list(zip(batch, chance, strict=True)) for batch, chance in zip(batches, chances, strict=True))
        self._transform(chances is not None)  # imported before, not in, each worker
        for batch in streamed(self, keys, self._workers, _stack):
            if isinstance(batch, InputError):
                raise batch
            yield batch


def _stack(images: list[Tensor | InputError]) -> Tensor | InputError:
    for image in images:
        if isinstance(image, InputError):
            return image
    return torch.stack([image for image in images if isinstance(image, Tensor)])


def gather(decoder: Decoder) -> UInt8[Tensor, "n r r 3"]:
    """All images of a decoder, decoded without chance, on all cores.

    Raises:
        InputError: see `Decoder.pixels`.
    """
    pixels = torch.empty(len(decoder), decoder.resolution, decoder.resolution, 3, dtype=torch.uint8)

    def put(index: int) -> InputError | None:
        image = decoder[index, None]
        if isinstance(image, InputError):
            return image
        pixels[index] = image
        return None

    errors = on_all_cores(put, range(len(decoder)), decoder.threads)
    all_of_them((error for error in errors if error), len(decoder))
    return pixels


def read_all(reader: Reader, ids: Sequence[str], config: DataConfig) -> list[str | None]:
    """Reads and decodes each image once, with a progress line.

    Returns:
        The hash of each content; None for files that are no images.

    Raises:
        InputError: images that cannot be read or decoded, all of them at once.
    """

    def examine(id: str) -> str | InputError | None:
        where = reader.where(id)
        try:
            if not reader.may_be_image(id):
                return None
            content = reader.raw(id)
        except InputError as error:  # which speaks of a split that there is not yet
            return InputError(
                error.given, "files that can be read", "make it readable or remove it, then run the same command again"
            )
        try:
            return None if picture.decode(content, where, config) is None else content_hash(content)
        except InputError as error:
            return error

    outcomes = on_all_cores(examine, ids, reader.threads, "read images")
    all_of_them((found for found in outcomes if isinstance(found, InputError)), len(ids))
    return [found for found in outcomes if not isinstance(found, InputError)]

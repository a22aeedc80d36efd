"""timm's transforms of training images as a recipe sets them, for images of any source, each image by random numbers of its own."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from nas.data.augment import global_seed
from nas.data.streaming import Chance, streamed
from search_spaces.errors import InputError
from supernet.seeding import derive_seed


@dataclass(frozen=True, kw_only=True, slots=True)
class Transforms:
    """What timm's `create_transform` and `RandomErasing` are made with; the names are those of timm's training script."""

    aa: str
    color_jitter: float
    scale: tuple[float, ...]
    ratio: tuple[float, ...]
    hflip: float
    vflip: float
    train_interpolation: str
    reprob: float
    remode: str
    recount: int

    @classmethod
    def of(cls, recipe: Any) -> "Transforms":
        """Those of a section of the configuration.

        Raises:
            InputError: timm does not know this kind of augmentation.
        """
        found = cls(**{field.name: getattr(recipe, field.name) for field in fields(cls)})
        try:
            found.training(32, (0.5, 0.5, 0.5))
        except Exception as error:  # timm asserts what it is given
            raise InputError(
                f"retrain.aa={found.aa} is no augmentation of timm ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]})",
                "such as rand-m9-mstd0.5-inc1, original-mstd0.5 or augmix-m5-w4-d2", "retrain.aa=rand-m9-mstd0.5-inc1",
            ) from None  # fmt: skip
        return found

    def training(self, resolution: int, mean: Sequence[float]) -> Callable[[Image.Image], UInt8[Tensor, "3 r r"]]:
        """From a PIL image in RGB to the pixels that are normalised. It draws from the global generators: call it inside `global_seed`.

        Args:
            mean: per channel in [0, 1], the colour of what is uncovered.
        """
        import timm.data.transforms_factory

        factory: Any = timm.data.transforms_factory
        return factory.create_transform(
            resolution, is_training=True, auto_augment=self.aa or None, color_jitter=self.color_jitter or None, scale=self.scale,
            ratio=self.ratio, hflip=self.hflip, vflip=self.vflip, interpolation=self.train_interpolation, mean=tuple(mean), normalize=False,
        )  # fmt: skip

    def erase(self, images: Float[Tensor, "b c r r"], keys: Iterable[Sequence[int]]) -> None:
        """Erases rectangles of normalised images, in place.

        Args:
            keys: what the random numbers of each image depend on.
        """
        if not self.reprob:
            return
        from timm.data.random_erasing import RandomErasing

        # Noise is drawn on the CPU, so that it is the same whatever the device of the images.
        erasing = RandomErasing(self.reprob, mode=self.remode, max_count=self.recount, device="cpu")
        for image, key in zip(images, keys, strict=True):
            with global_seed(derive_seed("erase", *key)):
                erasing(image)


class ArrayDecoder(Dataset[Any]):
    """Transforms images that are in memory, in worker processes or in this one; the counterpart of `nas.data.decoder.Decoder`.

    Args:
        images: with one channel or three.
        mean: per channel.
        workers: processes.
    """

    def __init__(
        self, images: UInt8[Tensor, "n r r c"], transforms: Transforms, mean: Sequence[float], workers: int
    ) -> None:
        self.images, self.resolution, self.workers = images, images.shape[1], workers
        colours = tuple(mean) if len(mean) == 3 else (mean[0],) * 3
        self._transform = transforms.training(self.resolution, colours)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: tuple[int, Chance]) -> UInt8[Tensor, "r r c"]:
        index, chance = key
        image = self.images[index]
        channels = image.shape[-1]
        # timm's transforms take colour images. Of a grey one all three channels stay equal.
        colour = Image.fromarray(image.expand(-1, -1, 3).contiguous().numpy())
        with global_seed(derive_seed("image", *chance, index)):
            return self._transform(colour)[:channels].permute(1, 2, 0).contiguous()

    def pixels(
        self, batches: Iterable[Sequence[int]], chances: Iterable[Sequence[Chance]]
    ) -> Iterator[UInt8[Tensor, "b r r c"]]:
        """The images at these positions, transformed, batch by batch.

        Args:
            chances: what the random numbers of each image depend on, beside its position.
        """
        keys = (list(zip(batch, chance, strict=True)) for batch, chance in zip(batches, chances, strict=True))
        return streamed(self, keys, self.workers, torch.stack)

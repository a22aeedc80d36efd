"""What every data set can do, whatever it is kept in: list its images, part by part, and read those it is asked for."""

import abc
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data.decoder import Decoder, ranges
from nas.data.item import Item
from search_spaces.errors import InputError


class Source(abc.ABC):
    """A data set as a user names it. Creating one opens no image."""

    in_channels: int

    def __init__(self, config: DataConfig) -> None:
        self.config = config

    @property
    @abc.abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by label. May read the train pool."""

    @abc.abstractmethod
    def pool(self, part: str) -> list[Item] | None:
        """The images that the data set itself gives to `part`, hashed; None where it has no such part."""

    @abc.abstractmethod
    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        """These images at the resolution, each checked against its hash."""

    def verify(self, items: Sequence[Item], part: str) -> None:
        """Decodes these images, unless listing them has done so."""
        decoder = self.decoder(items, part, ())
        if decoder is not None:
            for _ in decoder.pixels(ranges(len(items))):
                pass

    def decoder(self, items: Sequence[Item], part: str, mean: tuple[float, ...]) -> Decoder | None:
        """Reads these images from files one by one; None where they are no files."""
        return None


def no_files(config: DataConfig) -> InputError:
    return InputError(
        f"augment is timm, but data set {config.name} is read into memory as arrays",
        "none, light or standard; timm for image files only",
        "data.augment=standard",
    )


def no_train(root: Path, part: str) -> InputError:
    return InputError(
        f"{root} has a part {part} but no train",
        "train/CLASS/IMAGE beside it, or CLASS/IMAGE alone",
        f"put the training images into {root / 'train'}",
    )

"""What every data set can do, whatever it is kept in: list its images, part by part, and read those it is asked for."""

import abc
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data.decoder import Decoder
from nas.data.item import Item
from nas.data.walking import Tally
from search_spaces.errors import InputError


class Source(abc.ABC):
    """A data set as a user names it. Creating one opens no image.

    in_channels: 1 or 3.
    decoding: version of how its files become pixels, `nas.data.picture.RULE`; 0 where no file is decoded.
    statistics_images: the most images of train that mean and std are computed from. Of files, which take longer to decode
        and resize, fewer: with 256 images the standard error of a mean is one or two hundredths.
    classes: their names, by label; known once `pools` has been called.
    folders: where each part comes from, for people; parts that are not named are cut from train.
    tally: what is left out of the parts, counted by `pools`.
    """

    in_channels: ClassVar[int]
    decoding: ClassVar[int] = 0
    statistics_images: ClassVar[int] = 2048

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self.classes: tuple[str, ...] = ()
        self.folders: dict[str, str] = {}
        self.tally = Tally()

    @abc.abstractmethod
    def pools(self) -> dict[str, list[Item] | None]:
        """The images that the data set itself gives to each part, read, decoded and hashed; None where it has no such part.

        Raises:
            InputError: the data set is missing or damaged; all images that cannot be decoded are named at once.
        """

    @abc.abstractmethod
    def pixels(self, items: Sequence[Item], part: str) -> UInt8[Tensor, "n r r c"]:
        """These images at the resolution, each checked against its hash."""

    def where(self, item: Item) -> str:
        """An image as messages name it."""
        return item.id

    def decoder(self, items: Sequence[Item], part: str, mean: tuple[float, ...]) -> Decoder | None:
        """Reads these images from files one by one; None where they are no files."""
        return None


def no_files(config: DataConfig) -> InputError:
    return InputError(
        f"augment is timm, but data set {config.name} is read into memory as arrays",
        "none, light or standard; timm for image files only",
        "data.augment=standard",
    )

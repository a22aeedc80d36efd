"""How a network sees an image: the square that it is given, and the numbers that stand for the pixels."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data.part import Part, load_part
from nas.data.split import Split
from search_spaces.errors import InputError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROPS = ("center", "squash", "border")


@dataclass(frozen=True)
class View:
    """Preprocessing without chance, in timm's terms.

    Args:
        resolution: side of the square, in pixels.
        mean, std: per channel, of pixels in [0, 1].
        crop_pct: side of the square over the side that the image is resized to; 0 for this project's own rule, `evaluation_transform`.
        interpolation, crop_mode: as timm names them.

    Crop and interpolation are those of image files. A data set of arrays brings its images to the resolution itself.

    Raises:
        InputError: a value that is not allowed; the fields may come from a file of a stranger.
    """

    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float = 0.0
    interpolation: str = "bicubic"
    crop_mode: str = "center"

    def __post_init__(self) -> None:
        for allowed, right in (
            ("a resolution from 4 to 4096 pixels", 4 <= self.resolution <= 4096),
            ("crop_pct from 0.1 to 1", not self.crop_pct or 0.1 <= self.crop_pct <= 1),
            (f"interpolation {', '.join(INTERPOLATIONS)}", self.interpolation in INTERPOLATIONS),
            (f"crop_mode {', '.join(CROPS)}", self.crop_mode in CROPS),
            ("a mean from 0 to 1 for each channel", self.mean and all(0 <= value <= 1 for value in self.mean)),
            ("a std above 0 and up to 1 for each channel", self.std and all(0 < value <= 1 for value in self.std)),
            ("as many means as stds", len(self.mean) == len(self.std)),
        ):
            if not right:
                raise InputError(f"images cannot be seen as {self}", allowed, "preprocess=data")

    @property
    def is_own(self) -> bool:
        """Whether files are resized by this project's own rule, which is timm's to the pixel for these crops."""
        crops = self.resolution >= augmentation.CROP_FROM
        own = (augmentation.CROP_SHARE, "center") if crops else (1.0, "squash")
        return not self.crop_pct or ((self.crop_pct, self.crop_mode), self.interpolation) == (own, "bicubic")

    def transform(self) -> Callable[[Any], Tensor]:
        """From a PIL image in RGB to UInt8[Tensor, "3 r r"]."""
        if self.is_own:
            return augmentation.evaluation_transform(self.resolution)
        from timm.data.transforms_factory import create_transform

        transform: Any = create_transform(
            (len(self.mean), self.resolution, self.resolution), interpolation=self.interpolation, mean=self.mean, std=self.std,
            crop_pct=self.crop_pct, crop_mode=self.crop_mode, normalize=False,
        )  # fmt: skip
        return partial(_without_ends_through, transform)

    def describe(self) -> str:
        """In words, for a table of conditions."""
        how = "resized by the data source's rule" if not self.crop_pct else (
            f"{self.crop_mode} crop of {self.crop_pct:g}, {self.interpolation}"
        )  # fmt: skip
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{self.resolution} pixels, {how}, mean {mean}, std {std}"


def _without_ends_through(transform: Callable[[Any], Tensor], image: Any) -> Tensor:
    """A function of the module, because worker processes may have to be sent it."""
    return transform(augmentation.without_ends(image))


def load_view(config: DataConfig, split: Split, name: str, view: View, limit: int | None = None) -> Part:
    """The images of a part as a network sees them; see `nas.data.load_part`.

    Raises:
        InputError: as there; or the network takes images of another number of channels.
    """
    if len(view.mean) != split.in_channels:
        raise InputError(
            f"the network takes images of {len(view.mean)} channels, and data set {split.name} has {split.in_channels}",
            f"networks for {split.in_channels} channels",
            "another data source",
        )
    config = replace(config, resolution=view.resolution)
    seen = replace(split, resolution=view.resolution, mean=view.mean, std=view.std)
    return load_part(config, seen, name, limit, None if view.is_own else view.transform())

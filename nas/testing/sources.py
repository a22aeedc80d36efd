"""What every data source promises (`nas.data.source.Source`)."""

from collections.abc import Iterator
from typing import ClassVar

import pytest
import torch

from nas.config import DataConfig
from nas.data import PARTS, Split, load_part, make_split
from nas.data.item import Item
from nas.data.sources import source_of
from search_spaces.errors import InputError


def pooled(config: DataConfig) -> Iterator[tuple[str, Item]]:
    """The parts that the data set has of its own, with their images."""
    for part, pool in source_of(config).pools().items():
        for item in pool or ():
            yield part, item


class SourceLaws:
    """Laws of the data set of one configuration."""

    config: ClassVar[DataConfig]

    @pytest.fixture
    def split(self) -> Split:
        return make_split(self.config, 0)

    def test_what_is_listed_is_the_same_each_time(self) -> None:
        found = list(pooled(self.config))
        assert found == list(pooled(self.config))
        assert len({item.id for _, item in found}) == len(found), "two images have one id"

    def test_train_has_every_class_and_no_label_is_of_none(self) -> None:
        source = source_of(self.config)
        pools = source.pools()
        classes = set(range(len(source.classes)))
        assert len(classes) >= 2
        assert {item.label for item in pools["train"] or ()} == classes
        assert {item.label for pool in pools.values() for item in pool or ()} == classes
        assert source.in_channels in (1, 3)

    def test_pixels_are_those_of_each_image_in_whatever_order(self) -> None:
        items = [item for part, item in pooled(self.config) if part == "train"][:6]
        pixels = source_of(self.config).pixels(items, "train")
        side = self.config.resolution
        assert pixels.dtype == torch.uint8
        assert tuple(pixels.shape) == (len(items), side, side, source_of(self.config).in_channels)
        assert torch.equal(source_of(self.config).pixels(items[::-1], "train").flip(0), pixels)
        assert torch.equal(source_of(self.config).pixels(items[2:3], "train")[0], pixels[2])

    def test_an_image_that_has_changed_is_noticed(self) -> None:
        item = next(item for part, item in pooled(self.config) if part == "train")
        with pytest.raises(InputError):
            source_of(self.config).pixels([item._replace(hash="0" * len(item.hash))], "train")

    def test_the_split_is_a_function_of_the_seed(self, split: Split) -> None:
        assert make_split(self.config, 0) == split
        assert Split.from_dict(split.to_dict()) == split
        assert make_split(self.config, 1).digest != split.digest

    def test_every_part_gives_batches(self, split: Split) -> None:
        side = self.config.resolution
        for name in PARTS:
            part = load_part(self.config, split, name)
            images, labels = next(part.batches(8, seed=0))
            assert tuple(images.shape[1:]) == (split.in_channels, side, side)
            assert images.isfinite().all()
            assert len(labels) == len(images) == min(8, len(part))
            assert torch.equal(torch.tensor(split.labels[name]), part.labels)

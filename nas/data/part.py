"""A part of a split: its images and no others, in batches that depend on a seed and a number alone."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data import augment as augmentation
from nas.data.decoder import Decoder, gather
from nas.data.item import Item
from nas.data.source import Source
from nas.data.sources import source_of
from nas.data.split import PARTS, Split
from nas.data.streaming import Chance
from nas.data.transforms import ArrayDecoder, Transforms
from search_spaces.errors import InputError, unknown

MEMORY_LIMIT = 2**30
"""Bytes up to which the images of a part are decoded once and kept; a larger part of files is decoded in every pass."""


class Part:
    """The images of one part, from which those of no other part can be reached. Made by `load_part`.

    labels: Int64["n"], indexes into `split.classes`.
    num_classes, in_channels, resolution: of the batches.

    Parts of up to 1 GiB are kept decoded as uint8. Larger ones, and passes under augment=timm, are decoded as they go,
    by as many processes as `data.workers` says; order and content do not depend on how many.
    """

    def __init__(
        self,
        split: Split,
        name: str,
        items: Sequence[Item],
        pixels: UInt8[Tensor, "n r r c"] | None,
        decoder: Decoder | ArrayDecoder | None,
        transforms: Transforms | None = None,
    ) -> None:
        if pixels is None and decoder is None:
            raise ValueError("a part needs pixels or a decoder")
        self.name = name
        self.labels = torch.tensor([item.label for item in items], dtype=torch.int64)
        self.num_classes, self.in_channels, self.resolution = len(split.classes), split.in_channels, split.resolution
        self._mean, self._std = torch.tensor(split.mean), torch.tensor(split.std)
        self._data = split.name
        self._pixels, self._decoder, self._transforms = pixels, decoder, transforms

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int, drop_last: bool = False) -> int:
        """The number of batches of a whole pass."""
        return len(self) // batch_size if drop_last else -(-len(self) // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        first: int = 0,
        augment: str = "none",
        drop_last: bool = False,
        device: str | torch.device = "cpu",
        shard: tuple[int, int] = (0, 1),
        repeats: int = 0,
        mirrored: bool = False,
    ) -> Iterator[tuple[Float[Tensor, "b c r r"], Int[Tensor, " b"]]]:
        """One pass: normalised images in channels_last memory format, and their labels.

        A batch is a function of (seed, epoch, its number) alone, so a pass resumed with `first` continues bit by bit.

        Args:
            seed: of order and augmentation; None yields the images in the split's order and does not augment.
            epoch: number of the pass.
            first: batches that are skipped, without being read.
            augment: none, light, standard, or timm, which needs image files loaded with data.augment=timm, or a part loaded with
                transforms. Padding is black; light and standard erase rectangles to the mean colour.
            drop_last: leaves out a last batch that is not full.
            device: where the batches go.
            shard: number and count of the shards that each batch is cut into; only this one is read and augmented, with the values that
                it has in the whole batch. Sizes of shards differ by one image at most.
            repeats: copies of each image, one after the other, each augmented by itself. A pass has as many batches as without, and
                therefore some of the images only. 0 and 1 are the same.
            mirrored: a shard has two images of every pair, the first with the last of the batch and so on, in the order of the batch.
                Whoever mixes a batch with its reverse then mixes the same images in each shard. Batches need an even size.

        Raises:
            InputError: augment is unknown or not possible here, or drop_last leaves nothing; while iterating, an image
                cannot be read or has changed since the split.
            ValueError: batch_size below 1, first below 0, or no such shard.
        """
        self._check(batch_size, first, augment, drop_last, shard, mirrored)
        return self._batches(
            batch_size, seed, epoch, first, augment, drop_last, torch.device(device), shard, max(1, repeats), mirrored
        )

    def _check(
        self, batch_size: int, first: int, augment: str, drop_last: bool, shard: tuple[int, int], mirrored: bool
    ) -> None:
        """
        Raises:
            InputError, ValueError: see `batches`.
        """
        if batch_size < 1 or first < 0:
            raise ValueError(f"batch_size is {batch_size} and first is {first}")
        if not 0 <= shard[0] < shard[1] <= batch_size:
            raise ValueError(f"shard is {shard} of a batch of {batch_size} images")
        if augment not in ("none", "light", "standard", "timm"):
            raise unknown("value for augment:", augment, ("none", "light", "standard", "timm"), "data.augment={}")
        if augment == "timm" and self._decoder is None:
            raise InputError(
                f"augment is timm, but {self.name} of data set {self._data} was loaded as arrays",
                "none, light or standard; timm for image files that were loaded with data.augment=timm",
                "data.augment=standard",
            )
        if drop_last and len(self) < batch_size:
            raise InputError(
                f"batch_size is {batch_size}, but {self.name} has {len(self)} images, which fill no batch",
                f"at most {len(self)}",
                f"batch_size={len(self)}",
            )
        if mirrored and (batch_size % 2 or not drop_last or shard[1] * 2 > batch_size):
            raise ValueError(f"batches of {batch_size} images in {shard[1]} shards are not mirrored")

    def _batches(
        self,
        batch_size: int,
        seed: int | None,
        epoch: int,
        first: int,
        augment: str,
        drop_last: bool,
        device: torch.device,
        shard: tuple[int, int],
        repeats: int,
        mirrored: bool,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self)
        order = torch.arange(count)
        if seed is not None:
            order = torch.randperm(count, generator=augmentation.generator("order", seed, epoch))
        copies = torch.arange(count) % repeats
        order = order.repeat_interleave(repeats)[:count]
        asked = slice(first, self.steps(batch_size, drop_last))
        chunks, copies = order.split(batch_size)[asked], copies.split(batch_size)[asked]
        scale, shift = (1 / (255 * self._std)).to(device), (-self._mean / self._std).to(device)
        fill = (self._mean * 255).round().to(torch.uint8).to(device)
        batched = seed is not None and augment in ("light", "standard")
        cut_of = _mirrored_cut if mirrored else _cut
        cuts = [cut_of(len(chunk), *shard) for chunk in chunks]
        own = [chunk[cut] for chunk, cut in zip(chunks, cuts, strict=True)]
        mine = [those[cut] for those, cut in zip(copies, cuts, strict=True)]
        random = (seed, epoch) if seed is not None and augment == "timm" else None
        stream = self._stream(own, None if random is None else (_chances(*random, those) for those in mine))
        for number, (whole, cut, chunk, pixels) in enumerate(zip(chunks, cuts, own, stream, strict=True), first):
            pixels = pixels.to(device)
            if batched:
                source = augmentation.generator("augment", seed or 0, epoch, number)
                # Drawn for the whole batch, so that an image is augmented alike however the batch is cut.
                draws = augmentation.draw(augment, len(whole), self.resolution, source).part(cut)
                pixels = augmentation.apply(pixels, draws, fill)
            images = pixels.to(torch.float32).mul_(scale).add_(shift).permute(0, 3, 1, 2)
            if random is not None and self._transforms is not None:
                keys = zip(_chances(*random, mine[number - first]), chunk.tolist(), strict=True)
                self._transforms.erase(images, ((*chance, index) for chance, index in keys))
            yield images, self.labels[chunk].to(device)

    def _stream(
        self, chunks: Sequence[Tensor], chances: Iterable[Sequence[Chance]] | None
    ) -> Iterator[UInt8[Tensor, "b r r c"]]:
        """The images at these positions; with `chances`, transformed by timm's random transforms."""
        if chances is not None and self._decoder is not None:
            yield from self._decoder.pixels(_lists(chunks), chances)
            return
        if self._pixels is None and isinstance(self._decoder, Decoder):
            if not _fits(len(self), self.resolution, self.in_channels):
                yield from self._decoder.pixels(_lists(chunks))
                return
            self._pixels = gather(self._decoder)
        if self._pixels is not None:
            for chunk in chunks:
                yield self._pixels[chunk]


def _cut(count: int, number: int, shards: int) -> slice:
    """Where one shard of a batch of `count` images is."""
    return slice(count * number // shards, count * (number + 1) // shards)


def _mirrored_cut(count: int, number: int, shards: int) -> Tensor:
    """Where one shard of a batch of `count` images is that has the first image and the last one of a pair, and so on."""
    half = torch.arange(count // 2)[_cut(count // 2, number, shards)]
    return torch.cat([half, count - 1 - half.flip(0)])


def _chances(seed: int, epoch: int, copies: Tensor) -> list[Chance]:
    """What the random transforms of some images depend on. Those of the first copy are those without copies."""
    return [(seed, epoch, copy) if copy else (seed, epoch) for copy in copies.tolist()]


def _lists(chunks: Sequence[Tensor]) -> list[list[int]]:
    return [chunk.tolist() for chunk in chunks]


def _fits(count: int, resolution: int, channels: int) -> bool:
    return count * resolution * resolution * channels <= MEMORY_LIMIT


def kept_decoded(config: DataConfig, split: Split, resolution: int | None = None) -> int:
    """Bytes of the images that each process of a training keeps decoded; 0 where they are decoded in every pass, see `load_part`.

    Args:
        resolution: of the images, where it is another one than the split's.
    """
    source, one = _members(config, split, "train", 1)
    count, resolution, channels = len(split.parts["train"]), resolution or split.resolution, split.in_channels
    files = source.decoder(one, "train", split.mean) is not None
    if files and (config.augment == "timm" or not _fits(count, resolution, channels)):
        return 0
    return count * resolution * resolution * channels


def load_part(
    config: DataConfig,
    split: Split,
    name: str,
    limit: int | None = None,
    transform: Callable[[Any], Tensor] | None = None,
    transforms: Transforms | None = None,
) -> Part:
    """The images of a part, and of that part only: files of test are not opened unless it is test that is loaded.

    Images are read, checked against their hashes and decoded now, except for those that are decoded in every pass,
    which are checked then: a part of files above 1 GiB, and train under augment=timm.

    Args:
        config: the data set that `split` was made from; its files may have moved as a whole (root).
        name: train, validation or test.
        limit: only the first so many images, which are a stratified sample; None for all.
        transform: from a PIL image in RGB to UInt8["3 r r"], in the place of `evaluation_transform`; only image files pass through it.
        transforms: of timm that training images get under augment=timm, in place of the run's; images of any source get them.

    Raises:
        InputError: the split is of another data set or resolution, there is no such part, or an image is missing,
            damaged or has changed since the split.
        ValueError: limit below 1.
    """
    source, items = _members(config, split, name, limit)
    decoder = source.decoder(items, name, split.mean)
    if transform is not None and decoder is not None:
        decoder.replace_evaluation(transform)
    large = decoder is not None and not _fits(len(items), config.resolution, source.in_channels)
    timm = decoder is not None and (config.augment == "timm" or transforms is not None)
    pixels = None
    if not large and not (timm and name == "train"):
        pixels = source.pixels(items, name) if transform is None or decoder is None else gather(decoder)
    if transforms is not None and decoder is not None:
        decoder = decoder.by(transforms)
    if transforms is not None and pixels is not None and decoder is None:
        return Part(
            split, name, items, pixels, ArrayDecoder(pixels, transforms, split.mean, config.workers), transforms
        )
    return Part(split, name, items, pixels, decoder if large or timm else None, transforms)


def check_part(config: DataConfig, split: Split, name: str) -> None:
    """Reads every image of a part and compares its hash, without decoding it where it is a file.

    Raises:
        InputError: see `load_part`; all images that are missing or have changed are named at once.
    """
    source, items = _members(config, split, name, None)
    decoder = source.decoder(items, name, split.mean)
    if decoder is None:
        source.pixels(items, name)
    else:
        decoder.check()


def _members(config: DataConfig, split: Split, name: str, limit: int | None) -> tuple[Source, list[Item]]:
    """The data set that a split was made from, and the images of one of its parts.

    Raises:
        InputError, ValueError: see `load_part`.
    """
    if name not in PARTS:
        raise unknown("part", name, PARTS)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}")
    if (split.name, split.resolution) != (config.name, config.resolution):
        raise InputError(
            f"the split is of {split.name} at {split.resolution} pixels, not of {config.name} at {config.resolution}",
            "the data set and resolution that the run was started with",
            f"data={split.name} data.resolution={split.resolution}, or a new run: run=runs/new",
        )
    if config.root and not os.path.exists(config.root):
        raise InputError(
            f"{os.path.abspath(config.root)}, where the images of the run were, does not exist",
            "the folder whose images were split, wherever it is now",
            "data.root=PATH of that folder",
        )
    source = source_of(config)
    if split.decoding != source.decoding:
        raise InputError(
            f"the split was made by a version of nas that decoded image files in another way (rule {split.decoding})",
            f"rule {source.decoding}: EXIF's orientation applied, transparent pixels on data.background",
            "a new run: run=runs/new",
        )
    if split.in_channels != source.in_channels:
        raise InputError(
            f"the split is of images of {split.in_channels} channels, and those of data set {config.name} have {source.in_channels}",
            "the split as the run wrote it",
            "restore split.json, or start a new run: run=runs/new",
        )
    members = zip(split.parts[name], split.labels[name], split.hashes[name], strict=True)
    return source, [Item(*member) for member in islice(members, limit)]

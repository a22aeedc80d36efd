"""A split: which images train, choose and test. It is made once, saved with the run, and never made again."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from nas.config import DataConfig
from nas.data.ids import fault_of
from nas.data.item import Item
from nas.data.reading import LISTED
from nas.data.source import Source
from nas.data.sources import source_of
from search_spaces.errors import InputError
from supernet.seeding import derive_seed

PARTS = ("train", "validation", "test")
"""train fits weights, validation chooses architectures, test is read once at the end."""

WITHOUT_FILES = ("digits", "fashion_mnist")
"""Data sets of which no image is a file."""


@dataclass(frozen=True)
class Split:
    """Which image belongs to which part of a data set.

    name, seed, resolution: what it was made from.
    classes: their names; a label is an index into them.
    in_channels: 1 or 3.
    mean, std: per channel of some images of train (`Source.statistics_images`) at the resolution, with pixels in [0, 1];
        std is at least 1/255.
    parts: the ids of train, validation and test: paths from the root for folder, POOL/INDEX for the others. Each list
        is in a random order in which every class is spread evenly, so that its first n images are a stratified sample.
    labels, hashes: of the images in `parts`, in the same order.
    dropped: how many images of train and of validation were left out because test, or validation, has the same.
    decoding: version of how image files became pixels (`nas.data.picture.RULE`); 0 for data sets without files. It is no
        part of the digest.
    reading: what was found when the split was made, for people: see `make_split`. It is not saved with the split.

    Raises:
        InputError: the fields contradict each other, or an image is in two parts.
    """

    name: str
    seed: int
    resolution: int
    classes: tuple[str, ...]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parts: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, tuple[int, ...]]
    hashes: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, int]
    decoding: int = 0
    reading: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if any(set(table) != set(PARTS) for table in (self.parts, self.labels, self.hashes)):
            raise _damaged(f"its parts are not {', '.join(PARTS)}")
        for part in PARTS:
            if not len(self.parts[part]) == len(self.labels[part]) == len(self.hashes[part]) > 0:
                raise _damaged(f"{part} is empty, or has not one label and one hash for each image")
            if not all(0 <= label < len(self.classes) for label in self.labels[part]):
                raise _damaged(f"a label in {part} is of no class")
        for what in ("parts", "hashes"):
            seen: set[str] = set()
            for part in PARTS:
                here = set(getattr(self, what)[part])
                if seen & here or (what == "parts" and len(here) != len(self.parts[part])):
                    raise _damaged(f"an image of {part} appears twice")
                seen |= here
        if not len(self.mean) == len(self.std) == self.in_channels or min(self.std) <= 0:
            raise _damaged("mean and std are not one number for each channel, with std above 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; `Split.from_dict(s.to_dict()) == s`."""
        return {
            "name": self.name,
            "seed": self.seed,
            "resolution": self.resolution,
            "classes": list(self.classes),
            "in_channels": self.in_channels,
            "mean": list(self.mean),
            "std": list(self.std),
            "dropped": dict(self.dropped),
            "decoding": self.decoding,
            **{key: {part: list(getattr(self, key)[part]) for part in PARTS} for key in ("parts", "labels", "hashes")},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Split":
        """The split that `to_dict` wrote.

        Raises:
            InputError: `data` is not such a dict.
        """
        if wrong := fault_of(data):
            raise _damaged(f"at {wrong}")
        return cls(
            name=data["name"],
            seed=data["seed"],
            resolution=data["resolution"],
            in_channels=data["in_channels"],
            classes=tuple(data["classes"]),
            mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])),
            parts=_tuples(data["parts"]),
            labels=_tuples(data["labels"]),
            hashes=_tuples(data["hashes"]),
            dropped=dict(data["dropped"]),
            decoding=data.get("decoding", 0 if data["name"] in WITHOUT_FILES else 1),
        )

    @property
    def digest(self) -> str:
        """12 hexadecimal digits that differ for different splits."""
        table = {key: value for key, value in self.to_dict().items() if key != "decoding"}
        text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _tuples(table: Mapping[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    return {part: tuple(items) for part, items in table.items()}


def _damaged(how: str) -> InputError:
    return InputError(
        f"split.json is damaged: {how}", "a split as nas wrote it", "a copy of it, or a new run: run=runs/new"
    )


def make_split(config: DataConfig, seed: int) -> Split:
    """Which images train, choose and test.

    A part that the data set has of its own is kept, less images that are identical to one of test, or for train of
    validation. Parts that it has not are cut from its training images: per class, at random, identical images together;
    first test, then validation from the rest. Every image of every part is decoded and hashed.

    Returns:
        The split. Its `reading` has, as plain dicts and lists: "origins", where each part comes from; "counts", images per
        class of each part; "left_out", what is in no part and why (`nas.data.layout.LeftOut`).

    Raises:
        InputError: the data set is missing, damaged, has a class without an image in each part, or an image of two classes.
    """
    source = source_of(config)
    pools = source.pools()
    if config.root and not os.path.exists(
        config.root
    ):  # given to a data set that needs none, before a run refuses to go on without it
        raise InputError(
            f"data.root={config.root} does not exist", "the folder of the images, where the data set needs one",
            f"data={config.name} without data.root",
        )  # fmt: skip
    _one_label_each(pools, source, config.conflicts)
    kept, dropped = _apart(pools, source)
    cuts = [part for part in ("test", "validation") if part not in kept]
    if "test" in cuts and config.test_fraction == 0:
        raise InputError(
            f"test_fraction is 0, and data set {config.name} has no test part of its own",
            "more than 0",
            "data.test_fraction=0.2",
        )
    rng = np.random.default_rng(derive_seed("split", seed))
    for position, part in enumerate(cuts):
        fraction = config.test_fraction if part == "test" else config.validation_fraction
        leave = len(cuts) - position
        kept[part], kept["train"] = _cut(kept["train"], fraction, leave, source.classes, config, rng)
    parts = {part: _spread(kept[part], rng) for part in PARTS}
    _every_class(parts, source.classes, config)
    mean, std = _statistics(source.pixels(parts["train"][: source.statistics_images], "train"))
    return Split(
        name=config.name,
        seed=seed,
        resolution=config.resolution,
        classes=source.classes,
        in_channels=source.in_channels,
        mean=mean,
        std=std,
        parts={part: tuple(item.id for item in items) for part, items in parts.items()},
        labels={part: tuple(item.label for item in items) for part, items in parts.items()},
        hashes={part: tuple(item.hash for item in items) for part, items in parts.items()},
        dropped=dropped,
        decoding=source.decoding,
        reading=_reading(source, pools, parts),
    )


def _reading(source: Source, pools: Mapping[str, list[Item] | None], parts: Mapping[str, list[Item]]) -> dict[str, Any]:
    """Where each part comes from, how many images of each class it has, and what is in no part and why."""
    origins, counts = {}, {}
    for part in PARTS:
        named = f"from {source.folders[part]}" if part in source.folders else ""
        origins[part] = "cut from train" if pools[part] is None else named
    for part, items in parts.items():
        count = Counter(item.label for item in items)
        counts[part] = [count[label] for label in range(len(source.classes))]
    return {"origins": origins, "counts": counts, "left_out": [asdict(entry) for entry in source.tally.entries()]}


def _apart(pools: Mapping[str, list[Item] | None], source: Source) -> tuple[dict[str, list[Item]], dict[str, int]]:
    """The parts that a data set has of its own, without images that are identical to one of test, or for train of validation; and how many
    each part lost so.
    """
    dropped: dict[str, int] = dict.fromkeys(PARTS, 0)
    kept: dict[str, list[Item]] = {}
    for part in reversed(PARTS):
        others = {item.hash for items in kept.values() for item in items}
        pool = pools[part]
        if pool is not None:
            kept[part] = [item for item in pool if item.hash not in others]
            dropped[part] = len(pool) - len(kept[part])
            if dropped[part]:
                first = min(item.id for item in pool if item.hash in others)
                why = "identical to an image of " + ("test" if part == "validation" else "test or validation")
                source.tally.add(part, "images", why, first, dropped[part])
    return kept, dropped


def _one_label_each(pools: dict[str, list[Item] | None], source: Source, conflicts: str) -> None:
    """Sees to identical images of different classes, as data.conflicts says.

    Args:
        pools: are changed where such images are dropped.

    Raises:
        InputError: there are some, and data.conflicts is error.
    """
    copies: dict[str, list[Item]] = {}
    for pool in pools.values():
        for item in pool or ():
            copies.setdefault(item.hash, []).append(item)
    torn = {digest: items for digest, items in copies.items() if len({item.label for item in items}) > 1}
    if not torn or conflicts == "keep":
        return
    if conflicts == "error":
        lines = []
        for items in list(torn.values())[:LISTED]:
            one_each = {item.label: item for item in reversed(items)}.values()  # the first copy of each label
            copies_left = len(items) - len(one_each)
            names = [f"{source.where(item)} ({source.classes[item.label]})" for item in sorted(one_each)]
            lines.append(" = ".join(names) + (f" and {copies_left:,} more" if copies_left else ""))
        more = [f"and {len(torn) - LISTED:,} more"] if len(torn) > LISTED else []
        raise InputError(
            f"{len(torn):,} image{'s' * (len(torn) > 1)} of data set {source.config.name} "
            f"{'have' if len(torn) > 1 else 'has'} two labels:",
            "one label for each image",
            "remove the wrong copies, data.conflicts=drop to leave all copies out, or data.conflicts=keep",
            lines + more,
        )
    for part, pool in pools.items():
        wrong = [item.id for item in pool or () if item.hash in torn]
        if pool is not None and wrong:
            pools[part] = [item for item in pool if item.hash not in torn]
            source.tally.add(part, "images", "the same image has another label elsewhere", min(wrong), len(wrong))


def _cut(
    items: list[Item],
    fraction: float,
    leave: int,
    classes: tuple[str, ...],
    config: DataConfig,
    rng: np.random.Generator,
) -> tuple[list[Item], list[Item]]:
    """(cut off, left): of each class about `fraction` of its images, at least one, in whole groups of identical ones.

    Args:
        leave: distinct images of each class that must be left.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.hash, []).append(item)
    by_class: dict[int, list[list[Item]]] = {label: [] for label in range(len(classes))}
    for group in groups.values():
        for label in dict.fromkeys(item.label for item in group):  # two only where data.conflicts is keep
            by_class[label].append(group)
    remaining = {label: len(members) for label, members in by_class.items()}
    taken: set[str] = set()
    for label, members in by_class.items():
        if len(members) <= leave:
            raise InputError(
                f"class {classes[label]!r} of data set {config.name} has {len(members)} distinct images to divide",
                f"at least {leave + 1}: one for each part that is cut from them",
                "add images of that class, or remove it",
            )
        own = [sum(item.label == label for item in group) for group in members]
        wanted = max(1, round(fraction * sum(own)))
        count = sum(size for group, size in zip(members, own, strict=True) if group[0].hash in taken)
        for rank, index in enumerate(rng.permutation(len(members))):
            group, size = members[index], own[index]
            if rank >= len(members) - leave or count >= wanted:
                break
            labels = {item.label for item in group}
            spare = all(remaining[other] > leave for other in labels)
            if group[0].hash not in taken and spare and (count == 0 or count + size <= wanted):
                taken.add(group[0].hash)
                remaining.update({other: remaining[other] - 1 for other in labels})
                count += size
    return [item for item in items if item.hash in taken], [item for item in items if item.hash not in taken]


def _spread(items: list[Item], rng: np.random.Generator) -> list[Item]:
    """A random order in which each class is spread evenly from the first to the last image."""
    counts = Counter(item.label for item in items)
    ranks: Counter[int] = Counter()
    places = np.empty(len(items))
    for index in rng.permutation(len(items)):
        label = items[index].label
        places[index] = (ranks[label] + rng.random()) / counts[label]
        ranks[label] += 1
    return [items[index] for index in np.argsort(places, kind="stable")]


def _every_class(parts: Mapping[str, list[Item]], classes: tuple[str, ...], config: DataConfig) -> None:
    for part, items in parts.items():
        present = {item.label for item in items}
        for label, name in enumerate(classes):
            if label not in present:
                raise InputError(
                    f"class {name!r} of data set {config.name} has no image in {part} that another part has not too",
                    "at least one image of each class in each part",
                    f"add images of it to {part}, or remove the class everywhere",
                )


def _statistics(pixels: UInt8[Tensor, "n r r c"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, for pixels in [0, 1]; exact, then rounded to six places."""
    count = pixels[..., 0].numel()
    sums = torch.zeros(2, pixels.shape[-1], dtype=torch.int64)
    for chunk in pixels.split(64):
        whole = chunk.to(torch.int64)
        sums += torch.stack([whole.sum((0, 1, 2)), whole.square().sum((0, 1, 2))])
    mean, square = sums.to(torch.float64) / count / torch.tensor([[255.0], [255.0**2]], dtype=torch.float64)
    variance = square - mean.square()
    std = variance.clamp(min=0).sqrt().clamp(min=1 / 255)
    return tuple(round(x, 6) for x in mean.tolist()), tuple(round(x, 6) for x in std.tolist())

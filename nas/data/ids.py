"""What a split.json may say: its types and ranges, and ids of images that are no way out of the folder of the images."""

import os
import re
from collections.abc import Sequence
from typing import Any

from nas.records.shapes import Entries, Items, Number, Shape, Table, Text, Whole

_PARTS = ("train", "validation", "test")

_HASH = re.compile(r"[0-9a-f]{16}")

_POOL_AND_INDEX = re.compile(r"[A-Za-z0-9_]{1,40}/[0-9]{1,12}")
"""An image of a data set that numbers its images."""


class _Long:
    """A long list of values of one type. `Items` looks at each value by itself, which takes ten times as long for a million images."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    def fault(self, value: Any, where: str) -> str:
        return "" if isinstance(value, list | tuple) and set(map(type, value)) <= {self.kind} else where


def _for_parts(shape: Shape) -> Table:
    return Table(dict.fromkeys(_PARTS, shape))


_SHAPE = Table({
    "name": Text(1000), "seed": Whole(0, 10**30), "resolution": Whole(1, 2**16), "classes": Items(Text(1000), 1), "in_channels": Whole(1, 64),
    "mean": Items(Number(0, 1), 1), "std": Items(Number(0, 1), 1), "dropped": Entries(Whole()),
    "parts": _for_parts(_Long(str)), "labels": _for_parts(_Long(int)), "hashes": _for_parts(_Long(str)),
}, {"decoding": Whole(0, 1000)})  # fmt: skip


def fault_of(data: Any) -> str:
    """The first place in a split.json where something else stands than nas writes; empty if there is none. How many images a part has, and
    that no image stands twice, is for `Split` to check.
    """
    if wrong := _SHAPE.fault(data, ""):
        return wrong
    for part in _PARTS:
        if not all(map(_HASH.fullmatch, data["hashes"][part])):
            return f"hashes.{part}"
        if name := _no_id(data["parts"][part], data["name"]):
            return f"parts.{part}, which has {name[:200]!r} as an image"
    return ""


def _no_id(names: Sequence[str], source: str) -> str | None:
    """The first name of an image that leads out of the folder of the images, or that the data set has not."""
    if source == "folder":
        return next((name for name in names if not stays_inside(name)), None)
    if source.partition("/")[0] in ("digits", "fashion_mnist", "relations", "timm"):
        return next((name for name in names if not _POOL_AND_INDEX.fullmatch(name)), None)
    return next((name for name in names if "\0" in name), None)  # only a source of the user's own knows its names


def stays_inside(name: str) -> bool:
    """Whether a name is relative to a folder and stays below it, whatever folders and links there are."""
    if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        return False
    return os.sep == "/" or not ("\\" in name or ":" in name)  # a backslash is a letter elsewhere

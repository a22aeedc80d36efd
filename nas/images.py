"""What was read when a run's images were split, in words: for the terminal and for the report. Standard library only.

run.json keeps it under "images", as `nas.data.make_split` found it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.log import shown

LISTED = 12
"""Classes up to which each is named with its number of images."""

_PLURAL = {"images": "image", "files without a suffix": "file without a suffix"}
"""Kinds of files that are counted, and how one of them is called."""


def printable(text: str) -> str:
    """Text in one line: line ends and what a terminal would obey as Python escapes them."""
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


def spread(counts: Sequence[int], classes: Sequence[str]) -> str:
    """How many images each class has: each of a few, the range of many.

    Args:
        counts: by label.
    """
    classes = list(map(printable, classes))
    pairs = sorted(zip(counts, classes, strict=True), key=lambda pair: pair[0])
    if len(pairs) <= LISTED:
        return ", ".join(f"{name} {count:,}" for count, name in zip(counts, classes, strict=True))
    (least, fewest), (most, largest) = pairs[0], pairs[-1]
    if least == most:
        return f"{least:,} of each of {len(pairs):,} classes"
    return f"{least:,} ({fewest}) to {most:,} ({largest}) of {len(pairs):,} classes"


def left_out(entry: Mapping[str, Any]) -> str:
    """One kind of files that are in no part: how many, what, where, why, and one of them."""
    what, count = entry["what"], f"{entry['count']:,}"
    if what in _PLURAL:
        what = f"{count} {_PLURAL[what] if entry['count'] == 1 else what}"
    elif what.startswith("*"):
        what = f"{count} {what}"
    elif entry["count"] > 1:  # a name
        what = f"{what} ({count} times)"
    part = f" of {entry['part']}" if entry["part"] else ""
    return f"{what}{part}: {entry['why']}, such as {entry['first']}"


def lines(images: Mapping[str, Any], classes: Sequence[str]) -> Iterator[str]:
    """A line per part, then a line per kind of files that are left out."""
    for part, counts in images["counts"].items():
        origin = images["origins"][part]
        yield f"  {part:10} {sum(counts):>9,} images{f', {origin}' if origin else ''}: {spread(counts, classes)}"
    for entry in images["left_out"]:
        yield f"  left out   {left_out(entry)}"

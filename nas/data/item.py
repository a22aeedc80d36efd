"""One image as a split knows it: its id, its label, and a hash by which a changed image is noticed."""

import hashlib
from typing import NamedTuple

import numpy as np

from search_spaces.errors import InputError

NEW_RUN = "put the images back as they were, or start a new run: run=runs/new"


def content_hash(content: bytes | np.ndarray) -> str:
    """16 hexadecimal digits of the SHA-256 of a file's bytes, or of an array's shape and values."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()[:16]
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).hexdigest()[:16]


class Item(NamedTuple):
    """One image of a source: its id, label and content hash."""

    id: str
    label: int
    hash: str


def check_content(item: Item, content: bytes | np.ndarray, part: str, where: str) -> None:
    if content_hash(content) != item.hash:
        raise InputError(
            f"{where} has changed since the split put it into {part}", "the images that were split", NEW_RUN
        )

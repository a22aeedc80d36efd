"""Headers of safetensors files: names, types and shapes of the tensors, read and checked before any of them takes memory.

A file begins with the length of its header (8 bytes, little-endian), then the header, JSON: {name: {dtype, shape, data_offsets}} and
perhaps "__metadata__" with texts. Then come the values of all tensors, one behind the other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from search_spaces.errors import InputError, quoted
from search_spaces.files.plain import AGAIN, parse
from search_spaces.textfiles import open_ordinary, size_of

MOST_HEADER = 8 * 2**20
"""Bytes of the header of a network's weights. One of a thousand tensors has about 100 KB."""

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Of one value, by the type as the header names it. Weights of other types are not read."""

_WHOLE = "a whole safetensors file"
_METADATA = "__metadata__"
_PICKLES = (b"PK\x03\x04", b"\x80")
"""How files begin that torch.save or pickle wrote."""


class Announced(NamedTuple):
    """A tensor in a header."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """What a file says that it holds; the sizes of its tensors add up to its own."""

    tensors: Mapping[str, Announced]
    metadata: Mapping[str, str]

    @property
    def numbers(self) -> int:
        """Values in all tensors."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @property
    def about(self) -> Mapping[str, Any]:
        """What nas wrote of the weights; empty where it did not."""
        try:
            found = parse(self.metadata.get("nas", "{}"))
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def digest(self) -> str | None:
        """Of the architecture that the weights were made for, where the file says so."""
        found = self.about.get("digest")
        return found if isinstance(found, str) else None


def read_header(path: Path) -> Header:
    """The header of a safetensors file.

    Raises:
        InputError: no such file, no safetensors, or not whole.
    """
    try:
        with open_ordinary(path) as file:
            size, start = size_of(file), file.read(8)
            length = int.from_bytes(start, "little")
            if length > size - 8 and start.startswith(_PICKLES):
                raise ValueError("it is a pickle, and reading one can run any code that somebody put into it")
            if len(start) < 8 or length > size - 8:
                raise ValueError(f"it has {size:,} bytes, fewer than its header announces")
            if length > MOST_HEADER:
                raise ValueError(f"its header has {length:,} bytes, and at most {MOST_HEADER:,} are read")
            return _parsed(file.read(length), size - 8 - length)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})", _WHOLE, AGAIN) from None
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error})", _WHOLE, AGAIN) from None


def _parsed(header: bytes, room: int) -> Header:
    """
    Args:
        room: bytes of the file behind the header.

    Raises:
        ValueError: the header is wrong; the message is a reason.
    """
    table = parse(header.decode())
    if not isinstance(table, dict):
        raise ValueError("its header is no table")
    metadata = table.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata are no texts")
    end, tensors = 0, {}
    for name, entry in sorted(table.items(), key=_begins):
        tensors[name], end = _entry(name, entry, end)
    if end != room:
        raise ValueError(f"its tensors have {end:,} bytes, and {room:,} follow the header")
    return Header(tensors, metadata)


def _begins(item: tuple[str, Any]) -> tuple[int, int]:
    offsets = item[1].get("data_offsets") if isinstance(item[1], dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise ValueError(f"it does not say where the tensor {quoted(item[0])} lies")
    return offsets[0], offsets[1]


def _entry(name: str, entry: Mapping[str, Any], begin: int) -> tuple[Announced, int]:
    """A tensor and where it ends.

    Args:
        begin: where the tensor before it ends; there are no gaps and no tensors that overlap.
    """
    shape, dtype = entry.get("shape"), entry.get("dtype")
    if set(entry) != {"dtype", "shape", "data_offsets"} or not isinstance(dtype, str) or dtype not in BYTES:
        raise ValueError(f"the tensor {quoted(name)} has the type {quoted(dtype)}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError(f"the tensor {quoted(name)} has the shape {quoted(shape)}")
    first, last = entry["data_offsets"]
    if first != begin or last - first != math.prod(shape) * BYTES[dtype]:
        raise ValueError(
            f"the tensor {quoted(name)} does not lie behind the one before it, or is not as long as its shape says"
        )
    return Announced(dtype, tuple(shape)), last

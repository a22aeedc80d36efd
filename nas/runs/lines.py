"""Lines of records: JSON with a checksum as the last key, `{...,"crc":"1a2b3c4d"}`. Standard library only.

The checksum is the CRC-32, in hexadecimal digits, of all bytes of the line before `,"crc":`. It finds every flipped byte and every cut,
also those that leave valid JSON. Lines of earlier versions have none and are read all the same, wherever they are: an earlier version may
have resumed a search that this one began. A cut line is never such a line, for no beginning of a JSON object is one.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from search_spaces.files.plain import Limits, parse

_SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}')
_ONCE_A_SEAL = re.compile(rb',"...":"........"\}', re.DOTALL)
"""What a flipped bit leaves of the end of a line. No record of an earlier version ends so."""

LINE = Limits(values=200_000, each=False)
"""Of a line. That of a network has about 30 for each block, and a network at most 256 blocks."""

_LENGTH = len(',"crc":"00000000"}')


def line_of(record: Mapping[str, Any]) -> bytes:
    """A record as its line, with the line break.

    Raises:
        ValueError: it has the key "crc" itself, or a number that is not finite.
    """
    if "crc" in record or not record:
        raise ValueError(f"a record of the keys {sorted(record)} cannot have a checksum")
    body = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()[:-1]
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


def is_sealed(line: bytes) -> bool:
    """Whether a line ends with its own checksum, as `line_of` writes it."""
    found = _SEAL.fullmatch(line[-_LENGTH:])
    return found is not None and int(found[1], 16) == zlib.crc32(line[:-_LENGTH])


def record_of(line: bytes) -> dict[str, Any] | None:
    """The record of a line without its line break; None where the line is damaged."""
    if is_sealed(line):
        line = line[:-_LENGTH] + b"}"
    elif _ONCE_A_SEAL.fullmatch(line[-_LENGTH:]):
        return None
    try:
        record = parse(line, LINE)
    except ValueError:  # also bytes that are no UTF-8
        return None
    return record if isinstance(record, dict) and record else None


def whole_parts(line: bytes) -> list[bytes]:
    """The whole lines inside a damaged one, without line breaks.

    Where a line was cut off, or lost its line break only, and got another one appended to it, that one and perhaps both are sound.
    """
    starts = [found.start() for found in re.finditer(rb'\{"', line)]
    parts, free = [], 0
    for end in (found.end() for found in _SEAL.finditer(line)):
        for start in starts:
            if free <= start < end and is_sealed(line[start:end]):
                parts.append(line[start:end])
                free = end
                break
    return parts

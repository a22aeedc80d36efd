"""Changes of values, texts and bytes. All of them are drawn from one generator, so that its seed alone decides."""

import copy
import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

NUMBERS = (
    0, -1, 1, 2, 3, 7, 16, 255, 4096, 65_535, 65_536, 65_537, 10**6, 2**31 - 1, 2**31, 10**9, 2**53, 2**63 - 1, 2**64, 10**18, 10**19, 10**400,
    -(10**9), 0.0, -0.5, 0.5, 1e-300, 1e18, 1e300, math.nan, math.inf, -math.inf,
)  # fmt: skip

TEXTS = (
    "",
    " ",
    "none",
    "linear_head",
    "hybrid_mixer",
    "../../etc/passwd",
    "..",
    "/dev/zero",
    "~nobody-of-this-name/x",
    "a" * 300,
    "a" * 20_000,
    "é\u0000",
    "\ud800",
    "a\r\nb",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "<script>alert(1)</script>",
    "=1+1",
    "{x}",
    "{0.__class__}",
    "%s%n",
    "resnet50",
    "transxnet_tiny",
    "os.system",
    "top1",
    "macs",
    "0123456789ab",
    "１２３４５６７８９０１２",
    "Infinity",
    "9" * 5000,
)

WORDS = (
    "part",
    "stages",
    "model_args",
    "arch",
    "pretrained_cfg",
    "url",
    "file",
    "hf_hub_filename",
    "__class__",
    "__proto__",
    "shape",
    "dtype",
    "data_offsets",
    "plugins",
    "config",
    "root",
    "",
)

MOST_VALUES = 20_000
"""Of a value that is repeated."""

DEPTHS = (1, 3, 20, 100)
"""Of lists inside each other. What is deeper is a text, which `nested_text` makes."""


def places_of(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all values inside."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [place for key, value in items for place in ((*path, key), *places_of(value, (*path, key)))]


def _at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


def _repeated_value(value: Any, wanted: int) -> list[Any]:
    """Copies of a value: as many as wanted, or as keep the input small enough to be written. None is another's self, or a later change
    of one would change all.
    """
    times = min(wanted, max(1, MOST_VALUES // (1 + len(places_of(value)))))
    return [copy.deepcopy(value) for _ in range(times)]


def other_value(rng: random.Random, value: Any, data: Any) -> Any:
    """What is put in the place of a value; sometimes a value from elsewhere in the data."""
    kind = rng.randrange(8)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        return rng.choice((None, True, [], {}, [[]], {"part": "mlp"}))
    if kind == 2:
        nested: Any = value
        for _ in range(rng.choice(DEPTHS)):
            nested = [nested]
        return nested
    if kind == 3:
        return _repeated_value(value, rng.choice((2, 65, 1000)))
    if kind == 4 and (places := places_of(data)):
        return copy.deepcopy(_at(data, rng.choice(places)))
    if kind == 5 and isinstance(value, int | float) and abs(value) < 1e300:
        return value + rng.choice((-1, 1, 2, 0.5))
    return rng.choice(NUMBERS)


def mutated(rng: random.Random, data: Any) -> Any:
    """A copy with one to three changes of structure or of values."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        places = places_of(data)
        if not places:
            break
        *path, key = rng.choice(places)
        parent = _at(data, tuple(path))
        kind = rng.randrange(6)
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice(WORDS)] = other_value(rng, parent[key], data)
        elif kind == 2 and isinstance(parent, list):
            parent += _repeated_value(parent[key], rng.choice((1, 10, 5000)))
        else:
            parent[key] = other_value(rng, parent[key], data)
    return data


def mutated_bytes(rng: random.Random, data: bytes, most: int = 2**20) -> bytes:
    """A copy that is flipped, cut, spliced, repeated or made longer.

    Args:
        most: bytes of the result.
    """
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = _CHANGES[rng.randrange(len(_CHANGES))](rng, data)[:most]
    return data


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.choice((1, 2, 4, 8, 100, 5000)))


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _longer(rng: random.Random, data: bytes) -> bytes:
    return data + rng.randbytes(rng.choice((1, 8, 1000)))


def _without(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _repeated(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return data[:end] + data[start:end] * rng.choice((1, 10, 1000)) + data[end:]


def _spliced(rng: random.Random, data: bytes) -> bytes:
    (start, end), (other, last) = _span(rng, data), _span(rng, data)
    return data[:start] + data[other:last] + data[end:]


def _flipped(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    most = min(len(changed), rng.choice((16, 200, 5000, len(changed) + 1)))
    for _ in range(rng.choice((1, 4, 30)) if most else 0):
        changed[rng.randrange(most)] = rng.randrange(256)
    return bytes(changed)


def _numbered(rng: random.Random, data: bytes) -> bytes:
    """With a number that a reader may take for a size, in one of the usual widths and orders."""
    width = rng.choice((2, 4, 8))
    number = rng.choice((0, 1, 7, 2**15, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1))
    start = rng.randrange(max(1, min(len(data), rng.choice((16, 64, 2000)))))
    number_bytes = (number & (256**width - 1)).to_bytes(width, rng.choice(("little", "big")))
    return data[:start] + number_bytes + data[start + width :]


def _begun_otherwise(rng: random.Random, data: bytes) -> bytes:
    start = rng.choice(
        (b"PK\x03\x04", b"\x80\x02", b"\x80\x05", b"\x00" * 8, b"\xff\xfe", b"\xef\xbb\xbf", b"%!PS-Adobe-3.0 EPSF")
    )
    return start + data[rng.choice((0, 2, 8)) :]


_CHANGES = (_cut, _longer, _without, _repeated, _spliced, _flipped, _flipped, _numbered, _begun_otherwise)


def nested_text(rng: random.Random) -> str:
    """Lists or tables inside each other, as text of JSON or TOML values."""
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    depth = rng.choice((10, 100, 1000, 100_000))
    return opening * depth + "1" + closing * depth


def mutated_text(rng: random.Random, text: str) -> bytes:
    """The bytes of a text that has been changed as a text: marks, encodings, nesting, long numbers, repeated lines; or as bytes."""
    kind = rng.randrange(10)
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    if kind == 0:
        return rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\r\n", b"\x1b[2J")) + text.encode()
    if kind == 1:
        return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le")))
    if kind == 2:
        spots = [k for k, letter in enumerate(text) if letter.isdigit()]
        spot = rng.choice(spots) if spots else 0
        return (
            text[:spot] + rng.choice(("9" * 5000, "1e999", "NaN", "-", "0x", "１", nested_text(rng))) + text[spot + 1 :]
        ).encode()
    if kind == 3:
        lines[line:line] = [lines[line]] * rng.choice((1, 2, 1000))
        return "\n".join(lines).encode()
    if kind == 4:
        del lines[line]
        return "\n".join(lines).encode()
    if kind == 5:
        lines[line] = nested_text(rng)
        return "\n".join(lines).encode()
    if kind == 6:
        spot = rng.randrange(len(text) + 1)
        return (text[:spot] + rng.choice(TEXTS) + text[spot:]).encode("utf-8", "surrogatepass")
    return mutated_bytes(rng, text.encode())


def json_bytes(data: Any) -> bytes:
    """JSON as a stranger may write it, with NaN and halves of surrogate pairs."""
    return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


def toml_value(value: Any) -> str:
    """A value of TOML, on one line. What TOML has not, such as null, is written as a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**4000 else "1"
    if isinstance(value, list):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    return json.dumps(str(value), ensure_ascii=False)


def _key(key: object) -> str:
    text = str(key)
    return (
        text
        if text.isascii() and text.replace("_", "").replace("-", "").isalnum()
        else json.dumps(text, ensure_ascii=False)
    )


def toml_bytes(data: dict[str, Any]) -> bytes:
    """A file of TOML: tables under headings, lists of tables under double ones, anything else inline."""
    plain, tables = [], []
    for key, value in data.items():
        if isinstance(value, dict):
            tables += [f"\n[{_key(key)}]", *(f"{_key(name)} = {toml_value(item)}" for name, item in value.items())]
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for item in value:
                tables += [
                    f"\n[[{_key(key)}]]",
                    *(f"{_key(name)} = {toml_value(inner)}" for name, inner in item.items()),
                ]
        else:
            plain.append(f"{_key(key)} = {toml_value(value)}")
    return "\n".join([*plain, *tables, ""]).encode("utf-8", "surrogatepass")


def put_otherwise(rng: random.Random, path: Path, kinds: int) -> None:
    """Something else in the place of a file or a folder, or nothing: one of so many kinds."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    kind = rng.randrange(kinds)
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        path.symlink_to(path.name)
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        path.write_bytes(b"")
    elif kind == 4:
        path.symlink_to("..")

"""idx files, plain and packed by gzip, read as the data set Fashion-MNIST."""

import gzip
import random
from functools import cache
from pathlib import Path

from tests.fuzzing.mutation import mutated_bytes, put_otherwise
from tests.fuzzing.target import Target

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

IMAGES, SIDE = 24, 28


@cache
def base() -> tuple[bytes, ...]:
    """The four files, with a few images of noise each."""
    rng = random.Random(0)
    files = []
    for name in NAMES:
        if "images" in name:
            header = b"".join(number.to_bytes(4, "big") for number in (0x0803, IMAGES, SIDE, SIDE))
            files.append(header + rng.randbytes(IMAGES * SIDE * SIDE))
        else:
            header = b"".join(number.to_bytes(4, "big") for number in (0x0801, IMAGES))
            files.append(header + bytes(number % 10 for number in range(IMAGES)))
    return tuple(files)


def _bomb(rng: random.Random) -> bytes:
    """A file of gzip that is small and unpacks to as much as a few hundred times its size."""
    return gzip.compress(rng.choice(base())[:16] + bytes(rng.choice((2**16, 2**20, 2**25))), 9, mtime=0)


def make(rng: random.Random, folder: Path) -> str:
    files, kind, chosen = (
        list(base()),
        rng.choice(("header", "bytes", "packed", "packed", "bomb", "missing")),
        rng.randrange(4),
    )
    packed = kind in ("packed", "bomb") or rng.randrange(4) == 0
    if kind == "header":
        spot, number = rng.randrange(0, 16, 4), rng.choice((0, 1, 23, 24, 25, 2**16, 2**31 - 1, 2**31, 2**32 - 1))
        files[chosen] = files[chosen][:spot] + number.to_bytes(4, "big") + files[chosen][spot + 4 :]
    elif kind == "bytes":
        files[chosen] = mutated_bytes(rng, files[chosen])
    for number, (name, data) in enumerate(zip(NAMES, files, strict=True)):
        if number == chosen and kind == "missing":
            put_otherwise(rng, folder / name, 4)
            continue
        if packed and number == chosen:
            data = gzip.compress(data, 1, mtime=0)
            data = mutated_bytes(rng, data) if kind == "packed" else _bomb(rng) if kind == "bomb" else data
        (folder / (name + ".gz" * (packed and number == chosen))).write_bytes(data)
    return kind


def read(folder: Path) -> None:
    from nas.config import DataConfig
    from nas.data.sources.fashion_mnist import FashionMnist

    source = FashionMnist(DataConfig(name="fashion_mnist", root=str(folder), resolution=SIDE))
    for part in ("train", "test"):
        source.read(part)


def ready() -> None:
    import nas.data.sources.fashion_mnist  # noqa: F401

    base()


TARGET = Target("idx", make, read, share=25_000, few=200, ready=ready)

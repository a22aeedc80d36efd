"""Image files of several formats, and folders of them; read as the data set `folder` reads them."""

import os
import random
from functools import cache
from pathlib import Path
from typing import Any

from tests.fuzzing.mutation import mutated_bytes
from tests.fuzzing.target import Target

CORPUS = Path(__file__).parents[1] / "corpus" / "images"

SUFFIXES = (
    ".png",
    ".jpg",
    ".gif",
    ".tif",
    ".webp",
    ".bmp",
    ".eps",
    ".pdf",
    ".svg",
    ".ico",
    ".tga",
    ".ppm",
    ".j2k",
    ".PNG",
    "",
    ".txt",
    ".psd",
    ".fits",
)

NAMES = (
    "a" * 250, "..png", " .png", "-rf.png", "a\nb.png", "a\x1b[2J.png", "\u202egnp.exe", "=1+1.png", "<b>.png", "{x}.png", "%s.png", "con.png", "é.png", "~.png", ".hidden.png",
)  # fmt: skip


@cache
def seeds() -> tuple[tuple[str, bytes], ...]:
    """Names and bytes of small images, one of each format and kind of pixels."""
    return tuple((path.name, path.read_bytes()) for path in sorted(CORPUS.iterdir()))


def renew() -> None:
    """Writes the corpus again. Inputs of equal numbers are then other ones."""
    from PIL import Image

    CORPUS.mkdir(exist_ok=True)
    rng = random.Random(0)
    noise = Image.frombytes("RGB", (12, 10), rng.randbytes(360))
    turned = noise.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    deep = Image.frombytes("I;16", (12, 10), rng.randbytes(240))
    floating = noise.convert("L").convert("F").point(lambda value: value / 255 + 0)
    frames = [noise.convert("P"), turned.convert("P")]
    exif = Image.Exif()
    exif[0x0112] = 6
    images: tuple[tuple[str, Image.Image, dict[str, Any]], ...] = (
        ("rgb.png", noise, {}), ("alpha.png", noise.convert("RGBA"), {}), ("palette.png", noise.convert("P"), {"transparency": 3}),
        ("deep.png", deep, {}), ("bits.png", noise.convert("1"), {}), ("frames.png", noise, {"save_all": True, "append_images": [turned]}),
        ("rgb.jpg", noise, {"exif": exif}), ("cmyk.jpg", noise.convert("CMYK"), {}), ("progressive.jpg", noise, {"progressive": True}),
        ("frames.gif", frames[0], {"save_all": True, "append_images": frames[1:]}),
        ("rgb.tif", noise, {}), ("lzw.tif", noise, {"compression": "tiff_lzw"}), ("float.tif", floating, {}), ("deep.tif", deep, {}),
        ("lossy.webp", noise, {}), ("lossless.webp", noise.convert("RGBA"), {"lossless": True}),
        ("rgb.bmp", noise, {}), ("rgb.ppm", noise, {}), ("rgb.tga", noise, {}), ("rgb.ico", noise, {}), ("rgb.jp2", noise, {}),
    )  # fmt: skip
    for name, image, options in images:
        image.save(CORPUS / name, **options)
    noise.save(CORPUS / "rgb.eps")


def make(rng: random.Random, folder: Path) -> str:
    if rng.randrange(8) == 0:
        return _make_folder(rng, folder)
    name, data = rng.choice(seeds())
    kind = "bytes"
    if rng.randrange(8) == 0:  # the head of one file on the body of another
        other = rng.choice(seeds())[1]
        kind, data = "spliced", data[: rng.choice((8, 16, 33, 64))] + other[rng.choice((8, 16, 33, 64)) :]
    else:
        data = mutated_bytes(rng, data)
    suffix = rng.choice(SUFFIXES) if rng.randrange(4) == 0 else Path(name).suffix
    (folder / f"image{suffix}").write_bytes(data)
    return kind


def _make_folder(rng: random.Random, folder: Path) -> str:
    """A data set of two classes with something wrong in it."""
    root = folder / "data"
    for label in ("cat", "dog"):
        for number in range(3):
            name, data = rng.choice(seeds())
            path = root / label / f"{number}{Path(name).suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for _ in range(rng.randint(1, 3)):
        _CHANGES[rng.randrange(len(_CHANGES))](rng, root)
    return "folder"


def _odd_name(rng: random.Random, root: Path) -> None:
    (root / rng.choice(("cat", "dog")) / rng.choice(NAMES)).write_bytes(rng.choice(seeds())[1])


def _odd_class(rng: random.Random, root: Path) -> None:
    odd = root / rng.choice(NAMES).removesuffix(".png")
    odd.mkdir(exist_ok=True)
    (odd / "0.png").write_bytes(rng.choice(seeds())[1])


def _link(rng: random.Random, root: Path) -> None:
    target = rng.choice(
        (".", "..", "../dog", "/dev/zero", "/etc/passwd", "nowhere", "../cat/0.png", "/proc/self", "itself")
    )
    place = rng.choice((root, root / "cat")) / rng.choice(("itself", "other", "link.png"))
    if not place.is_symlink():
        place.symlink_to(target)


def _pipe(rng: random.Random, root: Path) -> None:
    place = root / "dog" / "pipe.png"
    if not place.exists():
        os.mkfifo(place)


def _deep(rng: random.Random, root: Path) -> None:
    (root / "cat" / Path(*["d"] * rng.choice((3, 40, 400)))).mkdir(parents=True, exist_ok=True)


def _damaged(rng: random.Random, root: Path) -> None:
    (root / "cat" / "damaged.png").write_bytes(mutated_bytes(rng, rng.choice(seeds())[1]))


_CHANGES = (_odd_name, _odd_class, _link, _link, _pipe, _deep, _damaged)


PIXELS = 20_000_000
"""Of an image. A pixel takes up to seven bytes until it is RGB; with the default of `data.most_pixels`, a small file may rightly take 700 MB."""


def read(folder: Path) -> str | None:
    from nas.config import DataConfig
    from nas.data.picture import decode
    from nas.data.sources.folder import Folder

    config = DataConfig(name="folder", root=str(folder / "data"), resolution=8, most_pixels=PIXELS)
    if (folder / "data").exists():
        Folder(config).pools()
        return None
    (path,) = folder.iterdir()
    picture = decode(path.read_bytes(), str(path), config)
    return None if picture is not None else "no image"


def ready() -> None:
    from PIL import Image

    import nas.data.sources.folder  # noqa: F401

    Image.init()
    seeds()


TARGET = Target("images", make, read, share=30_000, few=300, ready=ready)

"""Checkpoints, weights, idx files and images that are not what they seem."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable

import torch
from safetensors.torch import load, save

from tests.fuzzing.targets.checkpoints import _archive, _bytes_of, _entries
from tests.fuzzing.targets.idx import NAMES
from tests.fuzzing.targets.idx import base as idx_files
from tests.hostile.case import add, case
from tests.hostile.world import ON_IMAGES, World, put

CONVERT = ("convert", "official.pth", "--model", "transxnet_tiny")


def checkpoint(name: str, made: Callable[[], object], said: str = "official.pth") -> None:
    """A case with a checkpoint to convert: bytes, or what torch.save is given."""

    def prepare(world: World) -> Iterable[str]:
        data = made()
        put(world.desk / "official.pth", data if isinstance(data, bytes) else _bytes_of(data))
        return CONVERT

    add(f"a checkpoint to convert with {name}", prepare, said=said)


def _packed(size: int) -> bytes:
    """A tensor of zeros, deflated."""
    entries = _entries(_bytes_of({"patch_embed.proj.conv.weight": torch.zeros(size // 4)}))
    return _archive(entries, packed=True)


def _with_pickle(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


PROTOCOL = b"\x80\x02"

checkpoint("a tensor of 2^36 elements in one number", lambda: {"a": torch.zeros(1).expand(2**18, 2**18)})
checkpoint("tensors that share one number", lambda: {f"t{k}": torch.zeros(1).expand(2**14, 2**12) for k in range(40)})
checkpoint("a deflated tensor of a gigabyte", lambda: _packed(2**28))
checkpoint(
    "a bytearray of four gigabytes",
    lambda: _with_pickle(PROTOCOL + b"c__builtin__\nbytearray\n\x8a\x05" + (2**32).to_bytes(5, "little") + b"\x85R."),
)
checkpoint(
    "an opcode that announces a terabyte", lambda: _with_pickle(b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b"x.")
)
checkpoint(
    "a text that announces a terabyte", lambda: _with_pickle(b"\x80\x05\x8d" + (2**40).to_bytes(8, "little") + b"x.")
)
checkpoint("a hundred million empty lists", lambda: _with_pickle(PROTOCOL + b"(" + b"]" * 10**8 + b"l."))
checkpoint("lists inside each other", lambda: _with_pickle(PROTOCOL + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."))
checkpoint("a memo of a billion places", lambda: _with_pickle(PROTOCOL + b"]r\xff\xff\xff\x7f."))
checkpoint("a list doubled thirty times", lambda: _with_pickle(PROTOCOL + b"]q\x00" + b"(h\x00h\x00l" * 30 + b"."))
checkpoint(
    "entries that climb", lambda: _archive([("../../outside/x", b"x"), *_entries(_bytes_of({"a": torch.zeros(2)}))])
)
checkpoint("no entries", lambda: _archive([]))
checkpoint("no bytes", lambda: b"")
checkpoint("a list in place of a table", lambda: [torch.zeros(2)])
checkpoint("keys that are no names", lambda: {1: torch.zeros(2), (2, 3): torch.ones(1)})
checkpoint(
    "names with escapes",
    lambda: {"\x1b[2Jpatch_embed": torch.zeros(2), "a\r\nb": torch.zeros(1)},
    "\\x1b[2Jpatch_embed",
)
checkpoint("a sparse tensor", lambda: {"patch_embed.proj.conv.weight": torch.ones(2, 2).to_sparse()})
checkpoint("tensors on no device", lambda: {"patch_embed.proj.conv.weight": torch.ones(2, device="meta")})


@case("a checkpoint of training whose tensor is one number seen often")
def resumed(world: World) -> Iterable[str]:
    world.with_run()
    (world.run / "supernet.safetensors").unlink()
    state = {
        "module": {"a": torch.zeros(1).expand(2**18, 2**18)},
        "optimizer": {},
        "averaged": {},
        "statistics": {},
        "counts": [1, 0, 0],
    }
    put(world.run / "work" / "train.pt", _bytes_of(state))
    return ("train", "run=R")


@case("a checkpoint of training without any of its parts")
def empty_checkpoint(world: World) -> Iterable[str]:
    world.with_run()
    (world.run / "supernet.safetensors").unlink()
    put(world.run / "work" / "train.pt", _bytes_of({}))
    return ("train", "run=R")


# safetensors

EVALUATE = ("evaluate", "net", "data=digits", "data.resolution=8", "preprocess=data")


def weights(name: str, change: object, words: tuple[str, ...] = EVALUATE) -> None:
    """A case with changed bytes of the weights of a network."""

    def prepare(world: World) -> Iterable[str]:
        world.with_network().with_space()
        path = world.desk / "net" / "model.safetensors"
        put(path, change(path.read_bytes()))  # type: ignore[operator]
        return words

    add(f"weights {name} ({words[0]})", prepare)


def _tensors(data: bytes, change: object) -> bytes:
    length = int.from_bytes(data[:8], "little")
    about = json.loads(data[8 : 8 + length])["__metadata__"]
    return save({key: change(tensor) for key, tensor in load(data).items()}, about)  # type: ignore[operator]


def _header(data: bytes, change: object) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)  # type: ignore[operator]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _larger(header: dict) -> None:  # type: ignore[type-arg]
    name = next(name for name in header if name != "__metadata__")
    header[name].update(shape=[2**31, 2**31], data_offsets=[0, 2**64 - 1])


START = ("train", "run=new", "space=space.toml", "data=digits", "data.resolution=8", "init=net")

for words in (EVALUATE, START):
    weights("that are not numbers", lambda data: _tensors(data, lambda t: t * float("nan")), words)
    weights("of 16 bits", lambda data: _tensors(data, lambda t: t.half()), words)
    weights("that are infinite", lambda data: _tensors(data, lambda t: t + float("inf")), words)
weights("whose header announces 2^64 bytes", lambda data: b"\xff" * 8 + data[8:])
weights("with a tensor of 2^62 elements", lambda data: _header(data, _larger))
weights("cut off", lambda data: data[:-4])
weights("of whole numbers", lambda data: _tensors(data, lambda t: t.long()))


@case("a supernet with weights that are not numbers")
def supernet_nan(world: World) -> Iterable[str]:
    path = world.with_run().run / "supernet.safetensors"
    put(
        path,
        save(
            {key: t * float("nan") if t.is_floating_point() else t for key, t in load(path.read_bytes()).items()},
            {"nas": "{}"},
        ),
    )
    return ("extract", "run=R")


@case("a supernet of 16 bits")
def supernet_half(world: World) -> Iterable[str]:
    path = world.with_run().run / "supernet.safetensors"
    put(path, save({key: t.half() for key, t in load(path.read_bytes()).items()}, {"nas": "{}"}))
    return ("extract", "run=R")


# idx


def idx(name: str, file: int, made: Callable[[], bytes]) -> None:
    """A case with another idx file than the data set's."""

    def prepare(world: World) -> Iterable[str]:
        data = made()
        world.with_space()
        for number, content in enumerate(idx_files()):
            packed = number == file
            content = data if packed else content
            put(world.desk / "idx" / (NAMES[number] + ".gz" * (packed and content[:2] == b"\x1f\x8b")), content)
        return ("train", "run=new", "space=space.toml", "data=fashion_mnist", "data.root=idx", "data.resolution=16")

    add(f"an idx file {name}", prepare)


def _bomb(size: int) -> bytes:
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", 9) as file:
        file.write(idx_files()[0][:16])
        for _ in range(size >> 24):
            file.write(bytes(2**24))
    return buffer.getvalue()


idx("that unpacks to two gigabytes", 0, lambda: _bomb(2**31))
idx(
    "whose header announces four thousand million images",
    0,
    lambda: idx_files()[0][:4] + b"\xff" * 4 + idx_files()[0][8:],
)
idx(
    "whose header announces more than it holds",
    0,
    lambda: idx_files()[0][:4] + b"\x7f\xff\xff\xff" + idx_files()[0][8:],
)
idx("of images of another size", 0, lambda: idx_files()[0][:8] + b"\x7f\xff\xff\xff" * 2 + idx_files()[0][16:])
idx("that is longer than its header says", 2, lambda: idx_files()[2] + bytes(1000))
idx("with a label of 255", 1, lambda: idx_files()[1][:8] + b"\xff" * (len(idx_files()[1]) - 8))
idx("of no bytes", 3, lambda: b"")
idx("of gzip, cut off", 0, lambda: gzip.compress(idx_files()[0], mtime=0)[:-20])

# Images


def image(name: str, suffix: str, made: Callable[[], bytes], codes: tuple[int, ...] = (2,)) -> None:
    """A case with an image among those of the user."""

    def prepare(world: World) -> Iterable[str]:
        world.with_space().with_images()
        put(world.desk / "images" / "class0" / f"odd{suffix}", made())
        return (*ON_IMAGES, "data.resolution=8")

    add(f"an image that is {name}", prepare, codes=codes, made=("new/",) if codes == (0,) else ())


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG of such a size with next to no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(2**20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def text_chunk(size: int) -> bytes:
    body = b"Comment\0\0" + zlib.compress(bytes(size))
    return struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))


def gif(width: int, height: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + bytes(30)
    )


image("a PNG of 60,000 x 60,000 pixels", ".png", lambda: png(60_000, 60_000))
image("a PNG of 2^31 pixels a side", ".png", lambda: png(2**31 - 1, 2**31 - 1))
image("a PNG of 12,000 x 12,000 pixels", ".png", lambda: png(12_000, 12_000))
image("a PNG with a comment of a gigabyte", ".png", lambda: png(8, 8, text_chunk(2**28)))
image("a GIF of 65,535 x 65,535 pixels", ".gif", lambda: gif(65_535, 65_535))
image("a BMP of 2^31 pixels a side", ".bmp", lambda: bmp(2**31 - 1, 2**31 - 1))
image("a PPM of a billion pixels a side", ".ppm", lambda: b"P6 1000000000 1000000000 255\n" + bytes(99))
image(
    "an SVG that is called PNG",
    ".png",
    lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
)
image("a PDF that is called JPEG", ".jpg", lambda: b"%PDF-1.4\n%%EOF\n")
image("a WMF that is called PNG", ".png", lambda: b"\xd7\xcd\xc6\x9a" + bytes(40))
image("empty", ".png", lambda: b"")
image("a text with another suffix", ".txt", lambda: b"notes", (0,))

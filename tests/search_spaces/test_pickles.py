"""Checkpoints that ask for more than their file has are refused before torch reads them, in little time and memory."""

import io
import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from search_spaces.files.archives import MOST_PICKLE
from search_spaces.files.pickles import check_pickled
from tests.command_line import environment

PROTO, STOP, LONG = pickle.PROTO + b"\x02", pickle.STOP, 2**33


def archive(path: Path, data: bytes, compress: int = zipfile.ZIP_STORED, **entries: bytes) -> None:
    """A zip archive like one of torch.save, of this pickle."""
    with zipfile.ZipFile(path, "w", compress) as file:
        for name, content in {"data.pkl": data, "version": b"3\n", "data/0": bytes(64), **entries}.items():
            file.writestr(f"archive/{name}", content)


def storage(count: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Opcodes that put a storage on the stack."""
    text = key.encode()
    number = pickle.LONG1 + b"\x08" + struct.pack("<q", count)
    return (
        pickle.MARK + word("storage") + pickle.GLOBAL + b"torch\n" + kind.encode() + b"\n" + pickle.BINUNICODE
        + struct.pack("<I", len(text)) + text + word("cpu") + number + pickle.TUPLE + pickle.BINPERSID
    )  # fmt: skip


def word(text: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(text)) + text.encode()


def call(name: str, arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{function}\n".encode() + pickle.MARK + arguments + pickle.TUPLE + pickle.REDUCE


def tensor(count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """The pickle of a table with one tensor."""

    def numbers(values: tuple[int, ...]) -> bytes:
        return (
            pickle.MARK + b"".join(pickle.LONG1 + b"\x08" + struct.pack("<q", value) for value in values) + pickle.TUPLE
        )

    made = call(
        "torch._utils._rebuild_tensor_v2",
        storage(count)
        + numbers((offset,))[1:-1]
        + numbers(size)
        + numbers(stride)
        + pickle.NEWFALSE
        + pickle.EMPTY_DICT,
    )
    return PROTO + pickle.EMPTY_DICT + word("a") + made + pickle.SETITEM + STOP


def doubled(depth: int) -> bytes:
    """A tuple of a tuple of itself twice, and so on: as a key, its hash would take 2^depth steps."""
    made = pickle.EMPTY_TUPLE
    for number in range(depth):
        put = struct.pack("<I", number)
        made += pickle.LONG_BINPUT + put + pickle.LONG_BINGET + put + pickle.TUPLE2
    return PROTO + pickle.EMPTY_DICT + made + pickle.NONE + pickle.SETITEM + STOP


ONE = tensor(16, (4, 4), (4, 1))
"""A tensor as it should be."""

FAULTS = {
    "a repeated number": (tensor(16, (2**18, 2**18), (0, 0)), "a tensor of shape"),
    "an expanded tensor": (tensor(16, (4, 16), (0, 1)), "a tensor of shape"),
    "a stride beyond the end": (tensor(16, (2, 2), (100, 1)), "a tensor of shape"),
    "an offset beyond the end": (tensor(16, (2, 2), (2, 1), 14), "a tensor of shape"),
    "a negative stride": (tensor(16, (2, 2), (-2, 1)), "another form"),
    "a negative side": (tensor(16, (-2, -2), (2, 1)), "another form"),
    "many axes": (tensor(16, (1,) * 40, (1,) * 40), "another form"),
    "another number of strides": (tensor(16, (4, 4), (4,)), "another form"),
    "a storage beyond its entry": (tensor(17, (4, 4), (4, 1)), "does not hold"),
    "a storage of 2^33 numbers": (tensor(LONG, (4, 4), (4, 1)), "does not hold"),
    "a bytearray by a call": (PROTO + call("builtins.bytearray", pickle.LONG1 + b"\x05\0\0\0\0\x10") + STOP, "builtins.bytearray"),
    "a bytearray by its opcode": (PROTO + pickle.BYTEARRAY8 + struct.pack("<Q", LONG) + STOP, "more than names"),
    "a long text": (PROTO + pickle.BINUNICODE + struct.pack("<I", 2**31) + b"a" + STOP, "damaged"),
    "a frame": (PROTO + pickle.FRAME + struct.pack("<Q", LONG) + STOP, "more than names"),
    "many opcodes": (PROTO + pickle.EMPTY_DICT * 1_000_001 + STOP, "steps"),
    "a key of doubled tuples": (doubled(60), "a key"),
    "keys of one hash": (PROTO + pickle.EMPTY_DICT + pickle.LONG1 + b"\x08" + struct.pack("<q", 2**61 - 1) + pickle.NONE + pickle.SETITEM + STOP, "a key"),
    "a table of pairs with such keys": (PROTO + call("collections.OrderedDict", pickle.EMPTY_LIST + pickle.EMPTY_TUPLE + pickle.NONE + pickle.TUPLE2 + pickle.APPEND) + STOP, "a key"),
    "a set": (PROTO + pickle.EMPTY_SET + STOP, "more than names"),
    "code": (PROTO + call("builtins.exec", word("1")) + STOP, "builtins.exec"),
    "an object": (PROTO + pickle.GLOBAL + b"torch\nSize\n" + pickle.EMPTY_TUPLE + pickle.NEWOBJ + STOP, "more than names"),
    "attributes of a list": (PROTO + pickle.EMPTY_LIST + pickle.EMPTY_DICT + pickle.BUILD + STOP, "attributes"),
    "nothing": (b"", "damaged"),
    "no end": (PROTO + pickle.EMPTY_DICT, "damaged"),
    "an empty stack": (PROTO + pickle.APPEND + STOP, "damaged"),
    "a far memo": (PROTO + pickle.LONG_BINGET + struct.pack("<I", 2**31) + STOP, "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_pickles_that_ask_for_too_much(fault: str, tmp_path: Path) -> None:
    data, says = FAULTS[fault]
    archive(tmp_path / "file.pth", data)
    with pytest.raises(ValueError, match=says):
        check_pickled(tmp_path / "file.pth")


def test_many_tensors_in_one_storage(tmp_path: Path) -> None:
    """Each of them lies in the file, and all of them together are looked at number by number."""
    one = ONE[len(PROTO + pickle.EMPTY_DICT) : -1]
    archive(tmp_path / "file.pth", PROTO + pickle.EMPTY_DICT + one * 4 + STOP)
    check_pickled(tmp_path / "file.pth")
    archive(tmp_path / "file.pth", PROTO + pickle.EMPTY_DICT + one * 5 + STOP)
    with pytest.raises(ValueError, match="the file holds 16"):
        check_pickled(tmp_path / "file.pth")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: archive(path, ONE, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path: archive(path, tensor(10**6, (4, 4), (4, 1)), zipfile.ZIP_DEFLATED, **{"data/0": bytes(4 * 10**6)}), "compressed"),
        (lambda path: archive(path, ONE, **{"DATA.PKL": b""}), "two entries"),
        (lambda path: archive(path, ONE, version=bytes(2**25)), "'version' has 33,554,432 bytes"),
        (lambda path: archive(path, ONE + bytes(MOST_PICKLE)), "data.pkl has"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "does not end"),
        (lambda path: path.write_bytes(path.read_bytes()[:-2] + b"\x01\0x"), "does not end"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + path.read_bytes()), "does not begin"),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "does not end"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10] + b"\xff" * 8 + b"\0\0"), "directory has"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"archive/version", b"Archive/version")), "outside"),
    ],
)  # fmt: skip
def test_archives_that_are_none_of_torch(change: Any, says: str, tmp_path: Path) -> None:
    archive(tmp_path / "file.pth", ONE)
    check_pickled(tmp_path / "file.pth")
    change(tmp_path / "file.pth")
    with pytest.raises(ValueError, match=says):
        check_pickled(tmp_path / "file.pth")


def test_entries_that_lie_upon_each_other(tmp_path: Path) -> None:
    """Each is no longer than the file, and all of them together are."""
    archive(tmp_path / "file.pth", ONE, **{"data/0": bytes(5000), "data/1": b""})
    data = (tmp_path / "file.pth").read_bytes()
    at = data.rindex(b"archive/data/1") - 46
    sizes = struct.pack("<II", 5000, 5000)
    (tmp_path / "file.pth").write_bytes(data[: at + 20] + sizes + data[at + 28 :])
    with pytest.raises(ValueError, match="its entries have"):
        check_pickled(tmp_path / "file.pth")


OLD = {"_use_new_zipfile_serialization": False}


@pytest.mark.parametrize("how", [{}, OLD])
def test_what_torch_saves_is_read(how: dict[str, Any], tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    optimiser = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    optimiser.step()
    base = torch.arange(10)
    state = {
        "state_dict": module.state_dict(), "optimizer": optimiser.state_dict(), "rng": torch.get_rng_state(), "epoch": 3, "lr": 0.1,
        "device": torch.device("cpu"), "dtype": torch.float32, "size": torch.Size([1, 2]), "others": (1, 2.5, None, True, 2**40, "ä" * 300),
        "parameter": module[0].weight, "empty": torch.zeros(0), "number": torch.tensor(3.0), "views": (base[2:5], base[::2]),
        "counts": Counter("aab"), "table": OrderedDict(a=1), "turned": torch.randn(3, 4).t(), "half": torch.zeros(2, dtype=torch.bfloat16),
    }  # fmt: skip
    torch.save(state, tmp_path / "file.pth", **how)
    check_pickled(tmp_path / "file.pth")
    assert torch.load(tmp_path / "file.pth", weights_only=True)["epoch"] == 3


@pytest.mark.parametrize("end", [1, 10, 40, 200, -1])
def test_older_files_that_are_cut_or_lie(end: int, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(100)}, tmp_path / "file.pth", **OLD)
    data = (tmp_path / "file.pth").read_bytes()
    (tmp_path / "file.pth").write_bytes(data[:end])
    if end > 0:
        with pytest.raises(ValueError, match=r"damaged|no file of torch\.save|does not hold"):
            check_pickled(tmp_path / "file.pth")
    lies = data.replace(b"K\x64N", b"\x8a\x05\0\0\0\0\x40N")
    assert lies != data
    (tmp_path / "file.pth").write_bytes(lies)
    with pytest.raises(ValueError, match="does not hold"):
        check_pickled(tmp_path / "file.pth")
    buffer = io.BytesIO()
    pickle.dump({"a": 1}, buffer, 2)
    (tmp_path / "file.pth").write_bytes(buffer.getvalue() * 5)
    with pytest.raises(ValueError, match=r"no file of torch\.save"):
        check_pickled(tmp_path / "file.pth")


SCRIPT = """
import json, resource, sys, time
from nas.commands.convert import read_checkpoint
from search_spaces.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sys.argv[1:]:
    start = time.monotonic()
    try:
        read_checkpoint(file)
        print(json.dumps([file, "read", 0, 0]))
    except InputError as error:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([file, error.given, time.monotonic() - start, grown]))
"""


@pytest.mark.slow
def test_convert_refuses_them_in_little_time_and_memory(tmp_path: Path) -> None:
    for number, (data, _) in enumerate(FAULTS.values()):
        archive(tmp_path / f"{number}.pth", data)
        (tmp_path / f"old{number}.pth").write_bytes(data)
    torch.save({"a": torch.zeros(1).expand(2**18, 2**18)}, tmp_path / "small.pth")
    files = sorted(map(str, tmp_path.glob("*.pth")))
    done = subprocess.run(
        ["prlimit", f"--as={8 * 10**9}", sys.executable, "-c", SCRIPT, *files],
        env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(files)
    for file, given, seconds, grown in told:
        assert given != "read", file
        assert seconds < 2, (file, seconds)
        assert grown < 200 * 2**10, (file, grown)

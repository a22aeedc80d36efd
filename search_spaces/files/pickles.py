"""Files that torch.save wrote, looked through before torch reads them: each tensor lies in its file, and nothing is larger than the file.

`torch.load(weights_only=True)` calls no function but its own, but a small file can ask it for any amount of memory: a tensor that repeats one
number 10^11 times, a storage or a bytearray that is longer than the file, keys whose hash takes forever. Here the same pickle is read without
torch, with stand-ins for tensors, by the few opcodes and names that a checkpoint of tensors needs, and everything else is refused.
"""

import io
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from search_spaces.errors import quoted
from search_spaces.files.archives import NotPlain, entries_of
from search_spaces.files.plain import regular_size

MOST_OPCODES = 1_000_000
"""Of a checkpoint. One of a thousand tensors has about 30,000."""

MOST_TENSOR_AXES = 16
MOST_TIMES = 4
"""All tensors together have so many times the numbers of their storages: some share one."""

_MAGIC = 0x1950A86A20F9469CFC6C
"""What files of torch before 1.6 begin with, as a pickle."""

_LARGEST_KEY = 2**31
"""Of whole numbers that are keys: larger ones may have equal hashes."""

_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2,
    "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16,
}  # fmt: skip
"""Of one number, by the name of torch's storages."""

_DTYPES = frozenset(
    ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64", "complex128")
)  # fmt: skip

_OPCODES = (
    pickle.PROTO, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2,
    pickle.LONG1, pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.SHORT_BINSTRING, pickle.EMPTY_TUPLE, pickle.TUPLE,
    pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM,
    pickle.SETITEMS, pickle.BINGET, pickle.LONG_BINGET, pickle.BINPUT, pickle.LONG_BINPUT, pickle.GLOBAL, pickle.REDUCE, pickle.BUILD,
    pickle.BINPERSID,
)  # fmt: skip
"""What pickles of protocol 2 consist of, as torch.save writes them, but for sets and objects."""


@dataclass(frozen=True, eq=False)
class _Storage:
    key: str
    numbers: int


@dataclass(eq=False)
class _Seen:
    """What a file holds, as far as it was read.

    Args:
        room: the most bytes of a storage, by its key.
    """

    room: Callable[[str], int]
    storages: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: int = 0

    def storage(self, pid: Any) -> _Storage:
        """The storage that a persistent id names: ("storage", its type, its key, a device, how many numbers it has)."""
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or any(pid[5:]):
            raise ValueError("it has a storage of another form than torch.save writes")
        kind, key, count = getattr(pid[1], "storage", ""), pid[2], pid[4]
        if not kind or type(key) is not str or not _is_count(count):
            raise ValueError("it has a storage of another form than torch.save writes")
        if self.storages.setdefault(key, (kind, count)) != (kind, count):
            raise ValueError(f"it has storage {quoted(key)} twice, with different sizes")
        if count * _BYTES[kind] > self.room(key):
            raise ValueError(
                f"its storage {quoted(key)} is said to have {quoted(count)} numbers, which the file does not hold"
            )
        return _Storage(key, count)

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> "_Tensor":
        """A tensor in its storage, as torch makes it."""
        shaped = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= MOST_TENSOR_AXES
        if not isinstance(storage, _Storage) or not shaped or not all(map(_is_count, (offset, *size, *stride))):
            raise ValueError("it has a tensor of another form than torch.save writes")
        numbers = math.prod(size)
        last = (
            offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True)) if numbers else offset - 1
        )
        if numbers > storage.numbers or last >= storage.numbers:
            raise ValueError(
                f"it has a tensor of shape {quoted(list(size))} in a storage of {storage.numbers:,} numbers"
            )
        self.numbers += numbers
        return _Tensor()


class _Tensor:
    pass


class _Other:
    """A value without a size: a device, a layout or a type of numbers. Of a storage's type, its name."""

    def __init__(self, storage: str = "") -> None:
        self.storage = storage


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _checked_key(key: Any) -> None:
    if type(key) is not str and not (isinstance(key, int) and 0 <= key < _LARGEST_KEY):
        raise ValueError("it has a key that is no text and no number")


def _table(*given: Any) -> dict[Any, Any]:
    """An OrderedDict or a Counter: empty, or of a table or of pairs."""
    pairs = list(given[0].items()) if given and isinstance(given[0], dict) else list(given[0]) if given else []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("it has a table of another form than torch.save writes")
        _checked_key(pair[0])
    return dict(pairs)


class _Dispatch(dict[int, Any]):
    """What is done for each opcode; counts them."""

    def __init__(self, opcodes: dict[int, Any], most: int) -> None:
        super().__init__(opcodes)
        self._left, self._most = most, most

    def __getitem__(self, opcode: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"it has more than {self._most:,} steps")
        if opcode not in self:
            raise NotPlain("it holds more than names, numbers and plain tensors")
        return super().__getitem__(opcode)


_PYTHONS: Any = pickle._Unpickler
"""Python's own unpickler, written in Python."""


class _Reader(_PYTHONS):
    """Reads a pickle with stand-ins for everything that a file may name."""

    def __init__(self, file: "io.BytesIO | _Bounded", seen: _Seen, most: int) -> None:
        super().__init__(file)
        self._seen = seen
        own = {
            pickle.SETITEM[0]: _Reader.load_setitem,
            pickle.SETITEMS[0]: _Reader.load_setitems,
            pickle.BUILD[0]: _Reader.load_build,
        }
        known = {code[0]: _PYTHONS.dispatch[code[0]] for code in _OPCODES}
        self.dispatch = _Dispatch(known | own, most)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in (("collections", "OrderedDict"), ("collections", "Counter")):
            return _table
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._seen.tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if (module, name) == ("torch", "Size"):
            return lambda sides=(): tuple(sides)
        if (module, name) in (("torch", "device"), ("torch.serialization", "_get_layout")):
            return lambda *_: _Other()
        if module == "torch" and (name in _BYTES or name in _DTYPES):
            return _Other(name if name in _BYTES else "")
        raise NotPlain(
            f"it holds {quoted(f'{module}.{name}')[1:-1]}, and is no file of names, numbers and plain tensors alone"
        )

    def persistent_load(self, pid: Any) -> Any:
        return self._seen.storage(pid)

    def load_setitem(self) -> None:
        _checked_key(self.stack[-2])
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][key] = value

    def load_setitems(self) -> None:
        items = self.pop_mark()
        table = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            _checked_key(key)
            table[key] = value

    def load_build(self) -> None:
        """Attributes of a table, such as `_metadata` of a state dict: they are read, and not set."""
        self.stack.pop()
        if not isinstance(self.stack[-1], dict):
            raise NotPlain("it holds an object with attributes")


def check_pickled(path: Path, most: int = MOST_OPCODES) -> None:
    """Looks through a file of torch.save before torch reads it.

    Args:
        most: opcodes.

    Raises:
        NotPlain: it is no such file, or holds anything but tables, lists and tensors.
        ValueError: it is damaged, or a tensor does not lie in it; the message is a reason.
        InputError: it is no ordinary file.
        OSError: it cannot be read.
    """
    size = regular_size(path)
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                entries, data = entries_of(path)
                seen = _Seen(lambda key: entries.get(f"data/{key}", -1))
                _Reader(io.BytesIO(data), seen, most).load()
            else:
                file.seek(0)
                seen = _Seen(lambda key: size)
                _read_older(_Bounded(file, size), seen, most)
    except (
        AttributeError,
        EOFError,
        IndexError,
        KeyError,
        LookupError,
        TypeError,
        UnicodeError,
        OverflowError,
        pickle.UnpicklingError,
    ) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from None
    held = sum(count for _, count in seen.storages.values())
    if sum(count * _BYTES[kind] for kind, count in seen.storages.values()) > size:
        raise ValueError(f"its storages are said to have {held:,} numbers, which the file does not hold")
    if seen.numbers > MOST_TIMES * held:
        raise ValueError(f"its tensors have {seen.numbers:,} numbers, and the file holds {held:,}")


class _Bounded:
    """A file of which no more is read at once than it has: Python makes room for what is asked for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, count: int) -> bytes:
        if count > self._size:
            raise EOFError
        return self._file.read(count)


def _read_older(file: _Bounded, seen: _Seen, most: int) -> None:
    """The pickles of a file that torch before 1.6 wrote: a number, a version, the machine, the tensors, and the keys of their storages."""
    for number in range(5):
        found = _Reader(file, seen, most).load()
        if number == 0 and found != _MAGIC:
            raise NotPlain("it is no file of torch.save")

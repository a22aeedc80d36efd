"""Tensors for several processes, once in memory: an object is pickled without its tensors' storages, which lie in one block of
shared memory.

One block, because each shared storage takes an open file, and a supernet has thousands of them.
"""

import io
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

ALIGNMENT = 64
"""Bytes, as torch's own allocator aligns tensors: kernels may take other instructions for others, and round differently."""


class NoSharedMemory(Exception):
    """There is no room for the block. The argument is its size in bytes."""


class Block:
    """A block of shared memory on its way into a process that is being started. It opens there when it is asked for, because that
    imports torch.

    Args:
        storage: torch.UntypedStorage in shared memory, or how to open it.
    """

    def __init__(self, storage: Any = None, pickled: bytes | None = None) -> None:
        self._storage, self._pickled = storage, pickled

    def __reduce__(self) -> tuple[type["Block"], tuple[None, bytes]]:
        # torch registers there how storages are handed on; its file goes to the process that is being started.
        return Block, (None, bytes(ForkingPickler.dumps(self._storage)))

    def open(self) -> Any:
        """The storage."""
        if self._pickled is not None:
            self._storage, self._pickled = pickle.loads(self._pickled), None
        return self._storage


@dataclass(frozen=True)
class Packed:
    """An object as bytes, and the block with its tensors if it has any."""

    pickled: bytes
    block: Block | None


def pack(obj: Any, *, pickler: Any = pickle.Pickler, new: Callable[[int], Any] | None = None) -> Packed:
    """Pickles an object; the values of its tensors are copied once, as they are now.

    Args:
        pickler: a class of picklers.
        new: makes the storage of the block, of so many bytes; in shared memory unless another is given.

    Raises:
        NoSharedMemory: for its tensors.
        Exception: what pickling it raises.
    """
    file = io.BytesIO()
    if "torch" not in sys.modules:  # then it has no tensors
        pickler(file, pickle.HIGHEST_PROTOCOL).dump(obj)
        return Packed(file.getvalue(), None)
    import torch

    places: dict[tuple[str, int, int], tuple[int, Any]] = {}
    size = 0

    class Packer(pickler):
        def persistent_id(self, obj: Any) -> Any:
            nonlocal size
            if not isinstance(obj, torch.TypedStorage | torch.UntypedStorage):
                return None
            typed = isinstance(obj, torch.TypedStorage)
            storage = obj._untyped_storage if typed else obj
            if storage.device.type not in ("cpu", "cuda"):
                return None
            key = (str(storage.device), storage.data_ptr(), storage.nbytes())
            if key not in places:
                places[key] = (size, storage)  # the storage too, so that nothing else gets its address meanwhile
                size += -(-storage.nbytes() // ALIGNMENT) * ALIGNMENT
            return places[key][0], storage.nbytes(), key[0], obj.dtype if typed else None

    Packer(file, pickle.HIGHEST_PROTOCOL).dump(obj)
    if size == 0:
        return Packed(file.getvalue(), Block() if places else None)
    try:
        block = torch.UntypedStorage._new_shared(size) if new is None else new(size)
    except RuntimeError as error:
        raise NoSharedMemory(size) from error
    for first, storage in places.values():
        if storage.nbytes():
            block[first : first + storage.nbytes()].copy_(storage)
    return Packed(file.getvalue(), Block(block))


def array_of(block: Block) -> Any:
    """The bytes of a block as an array of NumPy, without a copy."""
    import torch

    empty = torch.empty(0, dtype=torch.uint8)
    return (empty if block.open() is None else empty.set_(block.open())).numpy()


def wrapped(array: Any) -> Block:
    """The block whose bytes are those of an array, which may be one that cannot be written."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return Block(torch.from_numpy(array).untyped_storage())


def unpack(pickled: bytes, block: Block | None) -> Any:
    """The object. Its tensors on the CPU are the shared ones: writing to them writes to those of all processes."""
    if block is None:
        return pickle.loads(pickled)
    import torch

    storage = block.open()
    pieces: dict[tuple[int, int, str], Any] = {}

    class Unpacker(pickle.Unpickler):
        def persistent_load(self, pid: tuple[int, int, str, Any]) -> Any:
            first, length, device, dtype = pid
            if (first, length, device) not in pieces:
                piece = storage[first : first + length] if length else torch.UntypedStorage(0)
                pieces[first, length, device] = piece if device == "cpu" else piece.to(device=torch.device(device))
            piece = pieces[first, length, device]
            return piece if dtype is None else torch.TypedStorage(wrap_storage=piece, dtype=dtype, _internal=True)

    return Unpacker(io.BytesIO(pickled)).load()

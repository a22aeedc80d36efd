"""Names and shapes of the tensors of an architecture, without making any of them, and within limits on how many there are."""

import math

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, quoted
from search_spaces.files.made import MOST_NUMBERS, MOST_TENSORS, limited
from search_spaces.files.sizes import check_sizes
from search_spaces.files.tensors import Announced, Header
from search_spaces.network import Network
from search_spaces.registry import SkipInit, complete

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""What a header calls torch's types."""

_FLOATS = ("F64", "F32", "F16", "BF16")

_INSTEAD = "the folder as `nas extract` wrote it"


def blueprint(arch: Architecture, numbers: int = MOST_NUMBERS, tensors: int = MOST_TENSORS) -> Network:
    """The network of an architecture from outside on the meta device, where tensors have shapes and no values.

    Args:
        numbers, tensors: the most that it may have.

    Raises:
        InputError: it is too large, names what is not known, or cannot be built.
    """
    check_sizes(arch)
    arch = complete(arch)
    try:
        with limited(numbers, tensors), torch.device("meta"), SkipInit():
            return Network(arch)
    except InputError:
        raise
    except (ArithmeticError, AssertionError, LookupError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"no network of the architecture can be made ({type(error).__name__}: {reason[:160]})",
            "sizes that fit each other", _INSTEAD,
        ) from None  # fmt: skip


def announced(network: nn.Module) -> dict[str, Announced]:
    """What the header of its file of weights says."""
    state = network.state_dict()
    return {name: Announced(DTYPES.get(tensor.dtype, ""), tuple(tensor.shape)) for name, tensor in state.items()}


def check_fits(header: Header, arch: Architecture, where: str) -> Network:
    """Compares a file of weights with the architecture that it is for. Nothing is read but its header.

    Args:
        where: the file, for messages.

    Returns:
        The network on the meta device.

    Raises:
        InputError: the weights were made for another architecture; the first difference is named. Or as `blueprint`.
    """
    check_sizes(arch)
    if header.digest not in (None, arch.digest, complete(arch).digest):
        raise InputError(
            f"{where} has weights of network {quoted(header.digest)}, and the description beside it is of {arch.digest}",
            "weights and a description that were written together",
            f"{_INSTEAD}; to load the weights into another network, take the tensors that fit",
        )
    # Statistics of norms that no state dict keeps would be registered too, so a few tensors more are let through to the comparison.
    network = blueprint(arch, numbers=2 * header.numbers + 10**6, tensors=2 * len(header.tensors) + 1000)
    check_tensors(header, announced(network), where)
    return network


def check_tensors(header: Header, own: dict[str, Announced], where: str) -> None:
    """
    Args:
        own: what the file should hold.

    Raises:
        InputError: it holds other names, shapes or kinds of numbers.
    """
    different = [
        name for name in own.keys() | header.tensors.keys() if not _fit(header.tensors.get(name), own.get(name))
    ]
    if different:
        name = min(different)
        found = [_said(table.get(name)) for table in (header.tensors, own)]
        raise InputError(
            f"{where} does not fit: {quoted(name)[1:-1]} is {found[0]} in the file and {found[1]} here ({len(different)} such)",
            "a file made for this architecture or space", "the run folder and version that made it",
        )  # fmt: skip


def _fit(there: Announced | None, here: Announced | None) -> bool:
    if there is None or here is None or there.shape != here.shape:
        return False
    return there.dtype == here.dtype or (there.dtype in _FLOATS and here.dtype in _FLOATS)


def _said(tensor: Announced | None) -> str:
    if tensor is None:
        return "missing"
    shape = str(list(tensor.shape)) if math.prod(tensor.shape) < 10**18 else quoted(10**18)
    return shape if tensor.dtype in _FLOATS else f"{shape} of type {tensor.dtype}"

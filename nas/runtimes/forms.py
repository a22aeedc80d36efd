"""What the runtimes share: copies of a module for running, images in their layout, devices, and the comparison of outputs."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nas.runtimes import Setting
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.network import Network
from search_spaces.reparameterisation import merge_parts
from search_spaces.units import UnitModule, unit_for_inference

K = TypeVar("K")

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1, "float16": 0.02}
"""Largest difference of outputs over the largest output, by the type of numbers. Rounding alone gives 1e-6 to 1e-4 in float32."""

ON_A_GPU = 0.02
"""The least of it on a GPU, whose convolutions round factors to ten bits (TF32) unless told otherwise."""


@torch.no_grad()
def in_groups(items: Iterable[K], params: Callable[[K], int], together: int, most: int) -> Iterator[list[K]]:
    """The items in lists of up to `together` with at most `most` parameters, unless one alone has more."""
    group: list[K] = []
    held = 0
    for item in items:
        size = params(item)
        if group and (len(group) == together or held + size > most):
            yield group
            group, held = [], 0
        group.append(item)
        held += size
    if group:
        yield group


def folded(module: nn.Module) -> nn.Module:
    """A copy for running, with norms folded and branches merged where the module is ours; of another one as it is."""
    if isinstance(module, Network):
        return inference_form(module)
    if isinstance(module, UnitModule):
        return unit_for_inference(module)
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def merged(module: nn.Module) -> nn.Module:
    """A copy for running, with branches merged and norms as they are, for runtimes that fold norms themselves."""
    plain = copy.deepcopy(module).eval().requires_grad_(False)
    merge_parts(plain)
    return plain.requires_grad_(False)


def placed(module: nn.Module, setting: Setting) -> nn.Module:
    """The module on the device, in the type of numbers and in the layout of the setting; changed in place."""
    return module.to(setting.device, getattr(torch, setting.dtype)).to(memory_format=_layout(setting))


def placed_inputs(inputs: tuple[Tensor, ...], setting: Setting) -> tuple[Tensor, ...]:
    """Copies of the inputs on the device, in the type and, where they are maps, the layout of the setting."""
    moved = (x.detach().to(setting.device, getattr(torch, setting.dtype), copy=True) for x in inputs)
    return tuple(x.contiguous(memory_format=_layout(setting)) if x.dim() == 4 else x for x in moved)


def _layout(setting: Setting) -> torch.memory_format:
    return torch.channels_last if setting.layout == "channels_last" else torch.contiguous_format


def check_device(device: str) -> None:
    """
    Raises:
        InputError: there is no such device here.
    """
    try:
        torch.empty(1, device=torch.device(device))
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError, OverflowError) as error:
        found = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise InputError(
            f"device {device!r} cannot be used ({str(error).splitlines()[0]})", ", ".join(found), "device=cpu"
        ) from None


def set_threads(setting: Setting) -> None:
    """Gives torch the threads of the setting, for the whole process, and its maps an allocator that keeps memory."""
    from nas.machine import tune_allocator

    tune_allocator()
    if torch.get_num_threads() != setting.threads:
        torch.set_num_threads(setting.threads)


@torch.inference_mode()
def outputs_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
    """The outputs of the module as it is trained, in evaluation mode, on the CPU."""
    return copy.deepcopy(module).eval()(*inputs)


def check_outputs(found: Any, expected: Any, setting: Setting) -> None:
    """Whether a runtime computes what the network computes.

    Raises:
        InputError: it does not; the difference is said.
    """
    one, other = (torch.as_tensor(y).detach().float().cpu() for y in (found, expected))
    largest = float(other.abs().max()) or 1.0
    difference = float((one - other).abs().max()) / largest if one.shape == other.shape else float("inf")
    allowed = max(TOLERANCE[setting.dtype], ON_A_GPU * (setting.device != "cpu"))
    if not difference <= allowed:
        what = (
            f"shape {list(one.shape)} instead of {list(other.shape)}"
            if one.shape != other.shape
            else f"difference {difference:.1e}"
        )
        raise InputError(
            f"runtime {setting.runtime} computes other outputs than the network ({what})",
            f"outputs that agree to {allowed:g} of the largest",
            "runtime=eager for this network",
        )

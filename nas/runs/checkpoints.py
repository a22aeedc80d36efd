"""Checkpoints of training: written in one piece, and read as what a stranger may have written.

A checkpoint is looked through before torch reads it (`search_spaces.files.pickles`), its size is limited by what is trained, and every value in
it is compared with the training that it is for before any of them is used.
"""

import io
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.machine import memory
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.files.pickles import check_pickled
from search_spaces.textfiles import open_ordinary, size_of
from supernet.optimisation import Optimisation

TIMES = 12
"""A checkpoint has at most so many times the numbers of the module that is trained: weights, averages, and what an optimiser keeps of each."""

BESIDE = 64 * 2**20
"""Bytes of names and of what does not grow with the module."""

LARGEST = 1e30
"""Of a number that is no tensor: it can be multiplied in float32."""

_INSTEAD = "rm {} to train from the start, or restore it from a copy"

_OF_ADAMW = {"step", "exp_avg", "exp_avg_sq"}

_NEEDED = {"lr", "betas", "eps", "weight_decay", "momentum"}
"""Settings of a group of parameters that every version of torch has, of those that an optimiser has at all."""


def save_checkpoint(store: RunStore, name: str, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically. It is made in memory first: nothing half-written, whatever the disk does."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    store.write_bytes(name, buffer.getvalue())


def load_checkpoint(store: RunStore, name: str, optimisation: Optimisation) -> None:
    """Resumes from a checkpoint, if there is one.

    Raises:
        InputError: it is damaged, or was made for another training; it is left as it is, and nothing of it is used.
    """
    path = store.path(name)
    if not os.path.lexists(path):
        return
    state = _read(path, optimisation)
    if wrong := fault_of(state, optimisation):
        raise InputError(
            f"checkpoint {path} does not fit what is trained: its {wrong} is of another type, shape or range",
            "a checkpoint of this training",
            _INSTEAD.replace("{}", shlex.quote(str(path))),
        )
    try:
        optimisation.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:  # of an optimiser of timm's with rules of its own
        if memory.ran_out(error):
            raise
        raise _damaged(path, _first_line(error)) from None


def _read(path: Path, optimisation: Optimisation) -> Any:
    """
    Raises:
        InputError: it is no checkpoint that can be read, or larger than any of this training.
    """
    module = optimisation.module.state_dict().values()
    most = TIMES * sum(tensor.numel() * max(4, tensor.element_size()) for tensor in module) + BESIDE
    try:
        with open_ordinary(path) as file:
            size = size_of(file)
        if size > most:
            raise ValueError(f"it has {size:,} bytes, and one of this training at most {most:,}")
        check_pickled(path)
        # Onto the CPU: `load_state_dict` moves what belongs on the device, and Adam's step counts stay where they are read.
        # From the file and not from its bytes in memory, which would be there beside the tensors.
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from None
    except Exception as error:  # torch raises what its zip reader, its unpickler or its storages raise
        if memory.ran_out(error):
            raise
        raise _damaged(path, _first_line(error)) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _damaged(path: Path, how: str) -> InputError:
    return InputError(
        f"checkpoint {path} is damaged ({how})",
        "a whole checkpoint",
        _INSTEAD.replace("{}", shlex.quote(str(path))),
    )


def fault_of(state: Any, optimisation: Optimisation) -> str:
    """The first place of a checkpoint that does not fit a training; empty if all do."""
    wanted = optimisation.state_dict()
    own, optimizer = {key: wanted[key] for key in wanted if key != "optimizer"}, wanted["optimizer"]
    if not isinstance(state, Mapping) or state.keys() != wanted.keys():
        return "top level"
    return (
        _difference({key: state[key] for key in own}, own, "")
        or _counts_fault(state["counts"])
        or _optimizer_fault(state["optimizer"], optimizer, optimisation)
    )


def _difference(found: Any, like: Any, where: str) -> str:
    """The first place where a value is of another type, shape or keys than one that it has to be like, or is not finite."""
    if isinstance(like, Tensor):
        return "" if _is_like(found, like) else where
    if isinstance(like, Mapping):
        if not isinstance(found, Mapping) or found.keys() != like.keys():
            return where
        pairs = ((found[key], like[key], f"{where}.{key}" if where else str(key)) for key in like)
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(like):
            return where
        pairs = ((one, other, f"{where}[{n}]") for n, (one, other) in enumerate(zip(found, like, strict=True)))
    elif isinstance(like, float):
        return "" if type(found) in (int, float) and abs(found) < LARGEST else where
    else:
        return "" if type(found) is type(like) else where
    return next((wrong for one, other, place in pairs if (wrong := _difference(one, other, place))), "")


def _is_like(found: Any, like: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != like.shape or found.layout != like.layout:
        return False
    if found.dtype != like.dtype and not (found.is_floating_point() and like.is_floating_point()):
        return False
    return not found.is_floating_point() or bool(torch.isfinite(found).all())


def _counts_fault(counts: Any) -> str:
    """Steps that were made, of them skipped, and of these in a row: see `Optimisation`."""
    made, skipped, in_a_row = counts
    return "" if 0 <= in_a_row <= skipped <= made < 10**15 else "counts"


def _optimizer_fault(found: Any, like: Mapping[str, Any], optimisation: Optimisation) -> str:
    """The same of the state of an optimiser, which has entries for the parameters that have been stepped."""
    if not isinstance(found, Mapping) or found.keys() != like.keys():
        return "optimizer"
    groups, states = found["param_groups"], found["state"]
    if not isinstance(groups, list) or len(groups) != len(like["param_groups"]) or not isinstance(states, Mapping):
        return "optimizer.param_groups"
    for group, own in zip(groups, like["param_groups"], strict=True):
        if not isinstance(group, Mapping) or _difference(group.get("params"), own["params"], "params"):
            return "optimizer.param_groups"
        if group["params"] != own["params"] or not own.keys() & _NEEDED <= group.keys():
            return "optimizer.param_groups"
        known = [key for key in own if key in group]  # the others differ between versions of torch
        if wrong := _difference({key: group[key] for key in known}, {key: own[key] for key in known}, ""):
            return f"optimizer.param_groups.{wrong}"
        if wrong := _range_fault(group):
            return f"optimizer.param_groups.{wrong}"
    parameters = [parameter for group in optimisation.optimizer.param_groups for parameter in group["params"]]
    for index, values in states.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(values, Mapping):
            return "optimizer.state"
        wrong = _state_fault(values, parameters[index], isinstance(optimisation.optimizer, torch.optim.AdamW))
        if wrong:
            return f"optimizer.state.{index}{wrong}"
    return ""


def _range_fault(group: Mapping[str, Any]) -> str:
    """The first setting of a group of parameters that no optimiser takes: a negative one, or a decay of averages that is not below 1."""
    for key in ("lr", "eps", "weight_decay", "betas"):
        value = group.get(key)
        numbers = [
            one for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, int | float)
        ]
        if any(one < 0 or (key == "betas" and one >= 1) for one in numbers):
            return key
    return ""


def _state_fault(values: Mapping[Any, Any], parameter: Tensor, adamw: bool) -> str:
    """What an optimiser keeps of one parameter. Other optimisers than AdamW have tensors of other shapes, none larger than the parameter."""
    if adamw and values and values.keys() != _OF_ADAMW:
        return f" with {', '.join(map(str, values))[:80]}"
    for key, value in values.items():
        if isinstance(value, Tensor):
            right = value.numel() <= max(1, parameter.numel()) and not value.is_complex()
            if adamw:
                right = value.is_floating_point() and value.shape == (
                    torch.Size() if key == "step" else parameter.shape
                )
            if not right or (value.is_floating_point() and not bool(torch.isfinite(value).all())):
                return f".{key}"
        elif not (value is None or isinstance(value, bool | int | float | str)) or adamw:
            return f".{key}"
    return ""

"""Files of weights: networks, supernets and checkpoints, read and written through a store."""

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from nas.machine import memory
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.blueprint import announced, check_tensors
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS, load, read_arch, read_config, read_tensors
from search_spaces.files.pickles import check_pickled
from search_spaces.files.tensors import read_header
from search_spaces.network import Network
from search_spaces.textfiles import expanded
from supernet.optimisation import Optimisation


def load_network(folder: str | Path, weights: str = "") -> Network:
    """A network that `nas extract`, `nas retrain` or `nas convert` wrote, or that timm saved, in evaluation mode, on the CPU.

    Args:
        weights: the file in the folder. By default it is what timm loads too: model.safetensors, which has the best retrained weights if
            there are any, else the extracted ones. In folders of earlier versions it is weights.safetensors. In a run's folders,
            weights.safetensors has the weights as searched, and retrained-INIT-SEED.safetensors those of each retraining.

    Raises:
        InputError: no network there, or a damaged one; weights that are not of the network beside them, or too large for what they say
            that they are. No code from the files is run.
    """
    place = expanded(folder)
    name = weights or weights_of(place)
    described = CONFIG if name == MODEL else ARCH
    if not (place / described).exists():
        raise InputError(
            f"{folder} holds no network ({described} is missing)",
            "a folder that `nas extract` wrote",
            "nas extract run=RUN",
        )
    return load(place / name, read_architecture(place / described))


def weights_of(folder: Path) -> str:
    """The file of weights that a network's folder stands for: see `load_network`."""
    return MODEL if (folder / CONFIG).exists() else WEIGHTS


def read_architecture(path: Path) -> Architecture:
    """The architecture in an arch.json, or in a config.json of a network folder.

    Raises:
        InputError: it cannot be read, or is none.
    """
    return read_config(path)[0] if path.name == CONFIG else read_arch(path)


def save_tensors(store: RunStore, name: str, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """Writes tensors as a safetensors file, atomically; `about` goes into its metadata, as JSON under "nas"."""
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # One entry only: safetensors writes several in an order that changes from run to run.
    store.write_bytes(name, save_safetensors(plain, {"nas": json.dumps(about, sort_keys=True)}))


def load_tensors(store: RunStore, name: str, module: torch.nn.Module) -> None:
    """Loads a safetensors file into a module whose names, shapes and kinds of numbers it must have.

    Raises:
        InputError: damaged, not finite, or made for another network; the first difference is named.
    """
    path = store.path(name)
    check_tensors(read_header(path), announced(module), str(path))
    module.load_state_dict(read_tensors(path))


def _check_shapes(store: RunStore, name: str, tensors: dict[str, Tensor], module: torch.nn.Module) -> None:
    """
    Raises:
        InputError: the module has other names or shapes.
    """
    own = module.state_dict()
    different = [
        key
        for key in own.keys() | tensors.keys()
        if key not in own or key not in tensors or own[key].shape != tensors[key].shape
    ]
    if different:
        key = min(different)
        shapes = [list(t[key].shape) if key in t else "missing" for t in (tensors, own)]
        raise InputError(
            f"{store.path(name)} does not fit: {key} is {shapes[0]} in the file and {shapes[1]} here ({len(different)} such)",
            "a file made for this architecture or space", "the run folder and version that made it",
        )  # fmt: skip


MOST_STEPS = 10**7
"""Of the pickle of a checkpoint: about 100 for each tensor, with its moments and its average."""


def save_checkpoint(store: RunStore, name: str, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically. It is made in memory first: nothing half-written, whatever the disk does."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    store.write_bytes(name, buffer.getvalue())


def load_checkpoint(store: RunStore, name: str, optimisation: Optimisation) -> None:
    """Resumes from a checkpoint, if there is one.

    Raises:
        InputError: it is damaged, or was made for another network; it is left as it is.
    """
    path = store.path(name)
    if not path.exists():
        return
    try:
        # Onto the CPU: `load_state_dict` moves what belongs on the device, and Adam's step counts stay where they are read.
        # From the file and not from its bytes in memory, which would be there beside the tensors.
        check_pickled(path, MOST_STEPS)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its zip reader, its unpickler or its storages raise
        if memory.ran_out(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path} is damaged ({reason[:120]})",
            "a whole checkpoint",
            f"rm {path} to train from the start, or restore it from a copy",
        ) from None
    _check_shapes(store, name, state["module"], optimisation.module)
    optimisation.load_state_dict(state)

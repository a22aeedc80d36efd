"""Files of weights: networks and supernets, read and written through a store."""

import json
from pathlib import Path

import torch
from safetensors.torch import save as save_safetensors
from torch import Tensor

from nas.runs.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.blueprint import announced, check_tensors
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS, load, read_arch, read_config, read_tensors
from search_spaces.files.tensors import read_header
from search_spaces.network import Network
from search_spaces.textfiles import expanded


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

"""`nas convert`: converts an official checkpoint of HAT-Net or TransXNet into a network of this project."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from nas.log import say
from nas.networks.folder import described_for_timm
from nas.runs.disk import offering
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, CONFIG, MODEL, load_network, save_tensors
from nas.scoring.classes import imagenet_names
from nas.scoring.entrants import IMAGENET_VIEW
from search_spaces.errors import InputError
from search_spaces.files.archives import NotPlain
from search_spaces.files.pickles import check_pickled
from search_spaces.files.tensors import read_header
from search_spaces.files.values import check_values
from search_spaces.network import Network
from search_spaces.official import check_name
from search_spaces.official import convert as convert_state
from search_spaces.papers import paper_network
from search_spaces.textfiles import expanded

_ALLOWED = "a file of tensors only, which can be read without running code from it"
_INSTEAD = "save model.state_dict() alone, or download the file again"

WRAPPERS = ("state_dict", "model")
"""Keys under which training scripts store the weights, next to other things."""


def read_checkpoint(file: str | Path) -> Mapping[str, Any]:
    """Names to tensors of a .safetensors file, or of one that torch.save wrote; nothing in it is executed.

    Raises:
        InputError: no such file, damaged, or holding anything but plain tensors.
    """
    path = expanded(file)
    if not path.is_file():
        raise InputError(
            f"{path} is no file", "a checkpoint as the authors published it", "nas convert FILE --model NAME"
        )
    try:
        if path.suffix == ".safetensors":
            read_header(path)  # before any tensor takes memory
            return load_file(path)
        check_pickled(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except NotPlain as error:
        raise InputError(
            f"{path} holds more than plain tensors, or no checkpoint at all ({error})", _ALLOWED, _INSTEAD
        ) from None
    except Exception as error:  # a damaged file fails in many ways
        # What torch says of a refused file advises to read it unsafely; that is not passed on.
        what = "holds more than plain tensors, or no checkpoint at all"
        if not isinstance(error, pickle.UnpicklingError) and "weights_only" not in str(error):
            what = f"is damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        raise InputError(
            f"{path} {what}",
            _ALLOWED,
            _INSTEAD,
        ) from None
    for key in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            return state[key]
    if not isinstance(state, Mapping):
        raise InputError(f"{path} holds a {type(state).__name__}", "names to tensors", "save model.state_dict()")
    return state


def _holds(store: RunStore, network: Network) -> bool:
    """Whether the folder already has these weights."""
    state = load_network(store.folder).state_dict()
    return all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())


def _config(network: Network, model: str) -> dict[str, Any]:
    """config.json: images as the authors evaluate them, and ImageNet's classes where the checkpoint has as many."""
    from search_spaces.timm_models import CROP_PCT

    names = imagenet_names(network.arch.num_classes)
    view = {
        "mean": list(IMAGENET_VIEW.mean), "std": list(IMAGENET_VIEW.std), "interpolation": "bicubic",
        "crop_pct": CROP_PCT.get(model, IMAGENET_VIEW.crop_pct), "crop_mode": "center", "fixed_input_size": False,
    }  # fmt: skip
    return described_for_timm(network.arch, names or (), view)


def convert(file: str | Path, model: str, out: str | Path = "") -> Path:
    """Writes a folder that `load_network` and timm's `local-dir:` read: config.json, model.safetensors and arch.json.

    Args:
        file: the official checkpoint.
        model: the network's name, such as "transxnet_tiny".
        out: the folder to write; converted/MODEL unless given. One that holds another network or other weights is left alone.

    Returns:
        The folder.

    Raises:
        InputError: see `read_checkpoint` and `search_spaces.official.convert`.
    """
    check_name(model)
    state = read_checkpoint(file)
    network, family = convert_state(state, model), paper_network(model).family
    check_values(state, str(file))
    store = RunStore(out or Path("converted") / model)
    text = network.arch.to_json(indent=1) + "\n"
    if store.exists(ARCH) and not (store.read_text(ARCH) == text and _holds(store, network)):
        raise InputError(f"{store.folder} holds another network", "a folder of its own", f"--out {store.folder}-2")
    with offering("--out PATH of such a folder"):
        save_tensors(store, MODEL, network.state_dict(), {"digest": network.arch.digest, "source": Path(file).name})
        store.write_text(ARCH, text)
        store.write_json(CONFIG, _config(network, model))
    params = sum(parameter.numel() for parameter in load_network(store.folder).parameters())
    say(f"{model}: {len(network.state_dict())} tensors, {params:,} parameters -> {store.folder}")
    say(f'load it: from nas import load_network; network = load_network("{store.folder}")')
    say(f"start a supernet from it: nas train run=runs/mine space={family} init={store.folder}")
    return store.folder

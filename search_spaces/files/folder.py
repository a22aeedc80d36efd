"""A network's folder as anybody may have written it: which network it is, and its weights, checked against each other.

config.json, model.safetensors      as timm's `local-dir:` and `hf-hub:` read them
arch.json, weights.safetensors      of a search, and of folders that earlier versions wrote
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, quoted
from search_spaces.files.blueprint import check_fits
from search_spaces.files.described import SEARCHED, described, filled_in
from search_spaces.files.plain import read_json
from search_spaces.files.tensors import read_header
from search_spaces.files.values import check_values
from search_spaces.network import Network, build
from search_spaces.registry import allocate
from search_spaces.textfiles import open_ordinary, size_of
from search_spaces.timm_configs import checked_config

CONFIG, MODEL = "config.json", "model.safetensors"
ARCH, WEIGHTS = "arch.json", "weights.safetensors"


def read_arch(path: Path) -> Architecture:
    """The architecture in an arch.json.

    Raises:
        InputError: it cannot be read, or is none.
    """
    return _named(path, read_json(path))


def _named(path: Path, data: Any) -> Architecture:
    try:
        return Architecture.from_dict(data)
    except InputError as error:
        raise InputError(f"{path}: {error.given}", error.allowed, error.instead) from None


def read_config(path: Path) -> tuple[Architecture, Mapping[str, Any]]:
    """The architecture that a config.json describes, and all of the file.

    Raises:
        InputError: it cannot be read, is of a model of timm that is no network of this project, or contradicts itself.
    """
    config = read_json(path)
    if not isinstance(config, dict) or not isinstance(config.get("architecture"), str):
        raise InputError(f"{path} does not say which architecture it is of", 'the key "architecture"', f'"{SEARCHED}"')
    arguments = config.get("model_args", {})
    if not isinstance(arguments, dict):
        raise InputError(f"{path} has model_args {quoted(arguments)}", "a table", "the folder as it was written")
    try:
        cfg, name = _for_timm(config), config["architecture"]
        arch = described(name, filled_in(name, arguments, cfg))
        checked_config(cfg, arch)
    except InputError as error:
        raise InputError(f"{path}: {error.given}", error.allowed, error.instead) from None
    given = config.get("digest", arch.digest)
    if given not in (arch.digest, _own_digest(arguments)):
        raise InputError(
            f"{path} says that it is network {quoted(given)}, and describes {arch.digest}",
            "a description as it was written", "the folder as `nas extract` wrote it",
        )  # fmt: skip
    return arch, config


def _for_timm(config: Mapping[str, Any]) -> Any:
    """What timm takes for the "pretrained_cfg": classes that the file names outside of it count."""
    given = config.get("pretrained_cfg", {})
    return (
        {**given, "num_classes": config["num_classes"]}
        if isinstance(given, dict) and "num_classes" in config
        else given
    )


def _own_digest(arguments: Mapping[str, Any]) -> str | None:
    """Of the description itself, before timm's changes of classes, channels and image size."""
    return Architecture.from_dict(arguments["arch"]).digest if "arch" in arguments else None


def load(path: Path, arch: Architecture) -> Network:
    """The network of an architecture with the weights of a file, in evaluation mode, on the CPU.

    Raises:
        InputError: the file is damaged, or was made for another architecture. Nothing is allocated before that is known.
    """
    network = check_fits(read_header(path), arch, str(path))
    if _is_in_its_state(network):  # then nothing need be drawn that is replaced at once
        allocate(network)
    else:
        network = build(network.arch)
    network.load_state_dict(read_tensors(path))
    return network.eval()


def _is_in_its_state(network: Network) -> bool:
    """Whether the state dict has every tensor of a network. A part of somebody else's may compute tensors that it does not save."""
    kept = network.state_dict().keys()
    tensors = {name for name, _ in (*network.named_parameters(), *network.named_buffers())}
    others = (value for module in network.modules() for value in vars(module).values())
    return tensors <= kept and not any(isinstance(value, Tensor) for value in others)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Whoever asks has compared its header with what the tensors are for (`read_header`), so the file is
    as large as that.

    Raises:
        InputError: the file is missing or damaged, or has weights that are not finite; it is left as it is.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    try:
        with open_ordinary(path) as file:
            tensors = load_safetensors(file.read(size_of(file)))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read ({error})",
            "a whole safetensors file",
            "restore it from a copy, or delete it and run the command that made it",
        ) from None
    check_values(tensors, str(path))
    return tensors

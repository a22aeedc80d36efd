"""Folders that timm loads models of this project from, checked before timm reads the weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.blueprint import blueprint, check_fits
from search_spaces.files.described import described, filled_in
from search_spaces.files.folder import MODEL
from search_spaces.files.tensors import read_header
from search_spaces.timm_configs import checked_config

FOLDERS = ("local-dir", "hf-hub")
"""Sources of a model that are folders which somebody else may have written."""


def check_folder(
    name: str, arguments: Mapping[str, Any], cfg: Mapping[str, Any], pretrained: bool, cache_dir: Any
) -> Architecture:
    """Checks what a folder says, and its weights if they are asked for. No weights are read but the header of their file.

    Args:
        name: of the model.
        arguments: that describe the weights: "model_args" of config.json.
        cfg: its "pretrained_cfg".
        pretrained: whether the weights will be loaded.
        cache_dir: of downloads.

    Returns:
        The architecture of the weights, before anything is changed for the caller.

    Raises:
        InputError: the description or the weights are damaged, too large, or not of each other.
    """
    arch = described(name, filled_in(name, arguments, cfg))
    checked_config(cfg, arch)
    if pretrained:
        path = _weights(name, cfg, cache_dir)
        check_fits(read_header(path), arch, str(path))
    else:
        blueprint(arch)
    return arch


def _weights(name: str, cfg: Mapping[str, Any], cache_dir: Any) -> Path:
    """The file that timm will take the weights from.

    Raises:
        InputError: the folder has no safetensors file; other kinds of files are not read.
    """
    source = cfg.get("source")
    if source == "local-dir":
        path = Path(cfg["file"]) / MODEL
        if path.exists():
            return path
    elif source == "hf-hub":
        from huggingface_hub.utils import EntryNotFoundError
        from timm.models._hub import download_from_hf

        try:
            return Path(download_from_hf(cfg["hf_hub_id"], MODEL, cache_dir=cache_dir))
        except EntryNotFoundError:
            pass
    else:
        raise InputError(
            f"{name} has no weights of its own",
            "the folder of a network", 'timm.create_model("local-dir:FOLDER", pretrained=True)',
        )  # fmt: skip
    where = cfg.get("hf_hub_id") if source == "hf-hub" else cfg["file"]
    raise InputError(
        f"{where} has no {MODEL}", "weights as safetensors, from which no code is run",
        "nas extract out=FOLDER, or timm.models.save_for_hf(model, FOLDER, safe_serialization=True)",
    )  # fmt: skip

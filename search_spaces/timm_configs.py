"""What timm keeps about a model beside its code ("pretrained_cfg"), made for a network and checked where it comes from a file."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, quoted, unknown
from search_spaces.files.plain import fault_of
from search_spaces.registry import make
from search_spaces.timm_sizes import reductions

INTERPOLATIONS = ("bicubic", "bilinear", "nearest", "random")
CROP_MODES = ("center", "squash", "border")

WORDS = (
    "architecture", "tag", "license", "description", "origin_url", "paper_name", "paper_ids", "notes", "label_names", "label_descriptions",
)  # fmt: skip
"""Keys that are only shown."""

NUMBERS = (
    "crop_pct",
    "test_crop_pct",
    "mean",
    "std",
    "pool_size",
    "test_pool_size",
    "test_input_size",
    "min_input_size",
)

ELSEWHERE = ("url", "state_dict", "hf_hub_filename", "custom_load", "label_offset")
"""Keys that would have weights taken from another place than the folder, or not as they are. None may have a value."""

SOURCE = ("file", "hf_hub_id", "source")
"""Keys that timm itself sets to where it found the folder."""

_OTHER = ("input_size", "num_classes", "interpolation", "crop_mode", "fixed_input_size", "first_conv", "classifier")

_AS_WRITTEN = "the folder as `nas extract` wrote it"


def first_conv(arch: Architecture) -> str | None:
    """Name of the convolution that the image goes into; None for a stem of somebody's own that has none."""
    with torch.device("meta"):
        stem = make("embedding", arch.stages[0].embedding, arch.in_channels, arch.stages[0].width)
    names = [name for name, module in stem.named_modules() if isinstance(module, nn.Conv2d)]
    return f"stages.0.embedding.{names[0]}" if names else None


def config_of(arch: Architecture) -> dict[str, Any]:
    """What follows from an architecture, whatever it is trained on."""
    side = -(-arch.resolution // reductions(arch)[-1])
    return {
        "num_classes": arch.num_classes,
        "input_size": (arch.in_channels, arch.resolution, arch.resolution),
        "pool_size": (side, side),
        "first_conv": first_conv(arch),
        "classifier": "head.linear",
    }


def checked_config(given: Mapping[str, Any], arch: Architecture) -> None:
    """Checks the "pretrained_cfg" of a config.json, which somebody else may have written.

    Args:
        arch: that the file describes.

    Raises:
        InputError: a key that timm does not know or that would read another file, a value that is not allowed, or one that contradicts
            the architecture.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"pretrained_cfg is {quoted(given)}", "a table", _AS_WRITTEN)
    if (fault := fault_of(dict(given))) is not None:
        raise InputError(f"pretrained_cfg cannot be used: {fault}", "values as timm writes them", _AS_WRITTEN)
    for key, value in given.items():
        if key in ELSEWHERE and value:
            raise InputError(
                f"pretrained_cfg has {key}={quoted(value)}", "the weights beside it, as they are", f"remove {key}"
            )
        if key not in (*WORDS, *NUMBERS, *ELSEWHERE, *SOURCE, *_OTHER):
            known = (*WORDS, *NUMBERS, *_OTHER)
            raise unknown("key of pretrained_cfg:", key, known, "{}")
        if key in NUMBERS and value is not None and not _are_numbers(value):
            raise InputError(f"pretrained_cfg has {key}={quoted(value)}", "numbers", _AS_WRITTEN)
    for key, allowed in (("interpolation", INTERPOLATIONS), ("crop_mode", CROP_MODES)):
        if given.get(key, allowed[0]) not in allowed:
            raise unknown(f"{key}:", given[key], allowed, f"{key}={{}}")
    size = given.get("input_size", (arch.in_channels, 1, 1))
    sides = (
        isinstance(size, list | tuple)
        and len(size) == 3
        and all(type(side) is int and 0 < side <= 65_536 for side in size)
    )
    if not sides or size[0] != arch.in_channels:
        raise InputError(
            f"pretrained_cfg has input_size={quoted(size)}, and the network takes images of {arch.in_channels} channels",
            "channels, height and width of the network's images", _AS_WRITTEN,
        )  # fmt: skip
    classes = given.get("num_classes", arch.num_classes)
    if type(classes) is not int or classes != arch.num_classes:
        raise InputError(
            f"pretrained_cfg has num_classes={quoted(classes)}, and the network has {arch.num_classes}",
            "as many as the network has", _AS_WRITTEN,
        )  # fmt: skip


def _are_numbers(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return len(items) <= 65_536 and all(isinstance(item, int | float) and not isinstance(item, bool) for item in items)

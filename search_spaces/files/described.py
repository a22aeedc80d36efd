"""The architecture that a name and arguments of timm's `create_model` describe, checked as what comes from outside. timm is not imported."""

from collections.abc import Mapping
from typing import Any

from search_spaces.architecture import Architecture
from search_spaces.errors import InputError, quoted, unknown
from search_spaces.files.blueprint import blueprint
from search_spaces.files.plain import fault_of
from search_spaces.files.sizes import LARGEST_SIZE, MOST_CLASSES, MOST_STAGES, check_sizes
from search_spaces.papers import paper_network, paper_networks
from search_spaces.timm_sizes import adapted

SEARCHED = "hybrid_mixer"
"""What timm calls a network of any architecture: `search_spaces.timm_searched`."""

SIZES = {"num_classes": (0, MOST_CLASSES), "in_chans": (1, LARGEST_SIZE), "img_size": (1, LARGEST_SIZE)}
"""Arguments that are whole numbers, and what they may be; img_size may also be two of them."""

GRIDS = ("window_sizes", "pool_sizes")

TRAINING = ("drop_rate", "drop_path_rate", "global_pool")
"""Arguments that change neither names nor shapes of weights."""


def described(name: str, arguments: Mapping[str, Any]) -> Architecture:
    """The architecture of a model of timm by its name and arguments.

    Args:
        name: `SEARCHED`, whose argument `arch` is an architecture as in an arch.json; or a network of a paper.
        arguments: as in "model_args" of a config.json.

    Raises:
        InputError: another model, arguments that none of ours takes, or values that are not allowed.
    """
    if (fault := fault_of(dict(arguments))) is not None:
        raise InputError(
            f"the arguments of the model cannot be used: {fault}", "arguments as timm writes them", "leave them out"
        )
    taken = ["arch"] * (name == SEARCHED) + [*SIZES, *GRIDS, *TRAINING]
    for key in arguments:
        if key not in taken:
            raise unknown(f"argument of {name}:", key, taken, "{}=...")
    arch = architecture_of(arguments.get("arch")) if name == SEARCHED else _of_a_paper(name)
    for key, (least, most) in SIZES.items():
        value = arguments.get(key)
        sides = value if isinstance(value, list | tuple) and key == "img_size" else [value]
        if value is not None and not (
            0 < len(sides) <= 2 and all(type(side) is int and least <= side <= most for side in sides)
        ):
            raise InputError(
                f"{key} is {quoted(value)}", f"a whole number from {least} to {most:,}", f"{key}={max(least, 10)}"
            )
    for key in GRIDS:
        value = arguments.get(key)
        if value is not None and not (isinstance(value, list | tuple) and len(value) <= MOST_STAGES):
            raise InputError(f"{key} are {quoted(value)}", "a list of whole numbers", f"{key}=(8, 8, 8)")
    changes = {key: arguments[key] for key in (*SIZES, *GRIDS) if arguments.get(key) is not None}
    if changes.get("img_size") is not None:  # for which its parts are run
        blueprint(arch)
    found = adapted(arch, **changes)
    check_sizes(found)
    return found


def filled_in(name: str, arguments: Mapping[str, Any], cfg: Any) -> dict[str, Any]:
    """The arguments of a paper's network with what timm takes from its "pretrained_cfg" where they do not say it. `SEARCHED` says all."""
    if name == SEARCHED or not isinstance(cfg, Mapping):
        return dict(arguments)
    size = cfg.get("input_size")
    found = {
        "num_classes": cfg.get("num_classes"),
        "in_chans": size[0] if isinstance(size, list | tuple) and size else None,
    }
    return {**{key: value for key, value in found.items() if value is not None}, **arguments}


def architecture_of(data: Any) -> Architecture:
    """An architecture from plain values of somebody else.

    Raises:
        InputError: it is none, or of no size that can be used.
    """
    if data is None:
        raise InputError(
            f"{SEARCHED} is a network of any architecture, and none was given",
            "the folder of a network, or arch= with the content of an arch.json",
            'timm.create_model("local-dir:FOLDER", pretrained=True)',
        )
    if (fault := fault_of(data)) is not None:
        raise InputError(
            f"the architecture cannot be used: {fault}", "an architecture as in an arch.json", "extract it again"
        )
    return Architecture.from_dict(data)


def _of_a_paper(name: str) -> Architecture:
    if name not in {network.name for network in paper_networks()}:
        raise InputError(
            f"{quoted(name)} is no network of this project",
            f"{SEARCHED}, or a network of `nas models`",
            "timm.create_model loads the other models of timm",
        )
    return paper_network(name).arch

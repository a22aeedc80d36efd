"""Folders of networks: config.json or arch.json, and weights, loaded by `load_network` and by timm."""

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import save

from search_spaces.architecture import Architecture
from search_spaces.files.folder import ARCH, CONFIG, MODEL, WEIGHTS
from search_spaces.network import build
from search_spaces.registry import complete
from search_spaces.timm_configs import config_of
from tests.fuzzing.mutation import json_bytes, mutated, mutated_text
from tests.fuzzing.target import Target
from tests.fuzzing.targets.safetensors import mutated_file, mutated_header

CORPUS = Path(__file__).parents[1] / "corpus" / "networks.json"

KINDS = ("config", "config", "config", "arch", "arch", "text", "header", "header", "bytes", "other weights")


@cache
def seeds() -> list[dict[str, Any]]:
    """The architectures that are mutated: a small network around each part."""
    return json.loads(CORPUS.read_text())


def renew() -> None:
    """Writes the corpus again, with the parts that there are now. Inputs of equal numbers are then other ones."""
    from search_spaces.testing.spaces import elastic_spaces, ends

    found = dict.fromkeys(json.dumps(complete(ends(space)[0]).to_dict()) for space in elastic_spaces())
    CORPUS.write_text("[\n" + ",\n".join(found) + "\n]\n")


@cache
def base(index: int) -> tuple[dict[str, Any], bytes]:
    """config.json and the bytes of the weights of a network of the corpus."""
    network = build(Architecture.from_dict(seeds()[index]))
    arch = network.arch
    config = {
        "architecture": "hybrid_mixer",
        "num_classes": arch.num_classes,
        "label_names": [str(number) for number in range(arch.num_classes)],
        "digest": arch.digest,
        "model_args": {"arch": arch.to_dict()},
        "pretrained_cfg": json.loads(json.dumps(config_of(arch))),
    }
    return config, save(network.state_dict(), {"nas": json.dumps({"digest": arch.digest})})


def make(rng: random.Random, folder: Path) -> str:
    config, weights = base(rng.randrange(len(seeds())))
    kind = rng.choice(KINDS)
    text = json.dumps(config).encode()
    if kind == "config":
        text = json_bytes(mutated(rng, config))
    elif kind == "text":
        text = mutated_text(rng, text.decode())
    elif kind == "header":
        weights = mutated_header(rng, weights)
    elif kind == "bytes":
        weights = mutated_file(rng, weights)
    elif kind == "other weights":
        weights = base(rng.randrange(len(seeds())))[1]
    if kind == "arch":
        (folder / ARCH).write_bytes(json_bytes(mutated(rng, config["model_args"]["arch"])))
        (folder / WEIGHTS).write_bytes(weights)
    else:
        (folder / CONFIG).write_bytes(text)
        (folder / MODEL).write_bytes(weights)
    return kind


def load_as_nas(folder: Path) -> None:
    from nas import load_network

    load_network(folder)


class LeftToTimmError(Exception):
    """timm refuses the file before it calls anything of ours."""


def load_as_timm(folder: Path) -> None:
    """What timm does with the folder. What its own code makes of a file that is no config.json for it is not ours to judge."""
    import timm
    from timm.models._hub import load_model_config_from_path

    try:
        cfg, name, arguments = load_model_config_from_path(folder)
        timm.models.model_entrypoint(name)
        calls = {key: value for key, value in arguments.items() if value is not None}
    except Exception as error:
        raise LeftToTimmError from error
    if (
        name != "hybrid_mixer"
        or {"pretrained_cfg", "pretrained", "cache_dir", "pretrained_cfg_overlay", "pretrained_model_args"}
        & calls.keys()
    ):
        raise LeftToTimmError
    entry = timm.models.model_entrypoint(name)
    entry(pretrained=True, pretrained_cfg=cfg, pretrained_model_args=dict(arguments), cache_dir=None, **calls)


def read(folder: Path) -> str:
    """Loads the folder both ways. timm is asked first: what it and we refuse is refused."""
    if not (folder / CONFIG).exists():
        load_as_nas(folder)
        return "loaded"
    outcomes = {_outcome(load_as_timm, folder), _outcome(load_as_nas, folder)}
    return " and ".join(sorted(outcomes))


def _outcome(loader: Callable[[Path], None], folder: Path) -> str:
    from search_spaces.errors import InputError
    from tests.fuzzing.trial import check_message

    try:
        loader(folder)
    except LeftToTimmError:
        return "left to timm"
    except InputError as error:
        check_message(error)
        return "refused"
    return "loaded"


def ready() -> None:
    import timm.models  # noqa: F401

    import nas  # noqa: F401

    base(0)


TARGET = Target("networks", make, read, share=50_000, few=300, ready=ready)

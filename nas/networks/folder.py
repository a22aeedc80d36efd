"""A network's folder, in the form that timm's `local-dir:` and `hf-hub:` read.

config.json         architecture, arguments, classes and preprocessing, for timm
model.safetensors   the weights to use: the best retrained ones if there are any, else the extracted ones
README.md           the model card
card.json           the same facts for programs
arch.json           the architecture alone, for `nas cost`, `networks=` and such
weights.safetensors, retrained-INIT-SEED.safetensors    in a run's folder only: the extracted weights, and those of each retraining
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nas.config import Config
from nas.data import Split
from nas.data.augment import CROP_FROM, CROP_SHARE
from nas.networks.card_shape import CARD_SHAPE
from nas.networks.cards import CARD, Chosen
from nas.networks.readme import readme_of
from nas.runs.run import Run
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, CONFIG, MODEL
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.described import SEARCHED
from search_spaces.files.folder import read_config
from search_spaces.files.tensors import read_header
from search_spaces.timm_configs import config_of

README = "README.md"


def timm_config(arch: Architecture, config: Config, split: Split, license: str) -> dict[str, Any]:
    """config.json: what timm needs to make the network again, and to prepare images for it as they were in training.

    Args:
        arch: complete.
    """
    crops = split.decoding > 0 and config.data.resolution >= CROP_FROM
    preprocessing = {
        "interpolation": "bicubic" if split.decoding else "bilinear",
        "crop_pct": CROP_SHARE if crops else 1.0,
        "crop_mode": "center" if crops else "squash",
        "mean": list(split.mean),
        "std": list(split.std),
    }
    return described_for_timm(arch, split.classes, {**preprocessing, "fixed_input_size": False, "license": license})


def described_for_timm(arch: Architecture, classes: Sequence[str], view: Mapping[str, Any]) -> dict[str, Any]:
    """config.json of any network.

    Args:
        arch: complete.
        classes: names by output; empty where they are not known.
        view: what timm's pretrained_cfg says beside what follows from the architecture.
    """
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in config_of(arch).items()}
    return {
        "architecture": SEARCHED,
        "num_classes": arch.num_classes,
        "num_features": arch.stages[-1].width,
        "global_pool": "avg",
        **({"label_names": list(classes)} if classes else {}),
        "digest": arch.digest,
        "model_args": {"arch": arch.to_dict()},
        "pretrained_cfg": {**given, **view},
    }


def write_description(store: RunStore, folder: str, arch: Architecture, run: Run, license: str) -> None:
    """Writes config.json and arch.json into a folder of a store."""
    store.write_json(f"{folder}/{CONFIG}", timm_config(arch, run.config, run.split, license))
    store.write_text(f"{folder}/{ARCH}", arch.to_json(indent=1) + "\n")


def write_card(store: RunStore, folder: str, card: Mapping[str, Any]) -> None:
    """Writes card.json, and README.md from it. Whoever adds a step to `card["checked"]` calls this again."""
    store.write_json(f"{folder}/{CARD}", card)
    store.write_text(f"{folder}/{README}", readme_of(card, read_config(store.path(f"{folder}/{CONFIG}"))[1]))


def add_steps(store: RunStore, folder: str, steps: Sequence[Mapping[str, Any]], weights: str = MODEL) -> None:
    """Adds steps, such as those of exported files, to the card of a network; of one name the last stands.

    Args:
        steps: `nas.networks.steps.Step.to_dict` of each.
        weights: the file that they were compared on.

    Raises:
        InputError: the folder has no card, or a damaged one.
    """
    card = store.read_json(f"{folder}/{CARD}", shape=CARD_SHAPE)
    before = {step["name"]: step for step in card["checked"].get(weights, ())}
    card["checked"][weights] = list((before | {step["name"]: step for step in steps}).values())
    write_card(store, folder, card)


def copy_weights(store: RunStore, folder: str, chosen: Chosen) -> None:
    """Writes model.safetensors from another file of weights in the same folder.

    Raises:
        InputError: that file is damaged; model.safetensors stays as it is.
    """
    read_header(store.path(f"{folder}/{chosen.file}"))
    store.write_bytes(f"{folder}/{MODEL}", store.path(f"{folder}/{chosen.file}").read_bytes())


def known_card(store: RunStore, folder: str) -> dict[str, Any]:
    """The card in a folder; empty where it is missing, damaged or of an earlier version."""
    try:
        card = store.read_json(f"{folder}/{CARD}")
    except InputError:
        return {}
    return {} if CARD_SHAPE.fault(card, "") else card

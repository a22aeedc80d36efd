"""Teachers of distillation: the supernet's largest network, the folder of a network, or a model of timm with its weights.

A teacher sees the images that the network sees, mixed and augmented, normalised as it was trained.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nas.config import Config
from nas.data import Split
from nas.networks.extraction import Extraction
from nas.networks.timm_models import TIMM, name_in_timm
from nas.runs.run import Run
from nas.runs.searches import Search
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, CONFIG, MODEL, WEIGHTS, load_network, save_tensors
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.files.plain import read_json
from search_spaces.textfiles import expanded
from supernet.steps import autocast

SUPERNET, LOCAL = "supernet", "local-dir:"

ALLOWED = "supernet, the folder of a network or a .safetensors file in it, local-dir:FOLDER, or timm/NAME with published weights"


class Teacher:
    """A network whose outputs are learned. It is never trained, and takes part in no state of a training.

    Args:
        module: on the device of the images; maps (b, c, h, w) to (b, classes).
        change: scale and shift per channel from the images' normalisation to the teacher's; None if both are the same.
        amp: number format, as for `supernet.steps.autocast`.
    """

    def __init__(self, module: nn.Module, change: tuple[Tensor, Tensor] | None, amp: str) -> None:
        self.module, self.change, self.amp = module.eval().requires_grad_(False), change, amp

    @torch.no_grad()
    def logits(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Its outputs for images that are normalised as the network takes them."""
        if self.change is not None:
            images = images * self.change[0] + self.change[1]
        with autocast(images.device, self.amp):
            return self.module(images).float()

    def loss(self, logits: Float[Tensor, "b classes"], images: Float[Tensor, "b c h w"], temperature: float) -> Tensor:
        """The mean Kullback-Leibler divergence from the teacher's outputs at a temperature, times its square, as timm scales it."""
        theirs = F.log_softmax(self.logits(images) / temperature, dim=-1)
        ours = F.log_softmax(logits.float() / temperature, dim=-1)
        return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def settled(config: Config) -> Config:
    """With the path of a teacher as an absolute one, which means the same wherever later commands are typed."""
    name = config.retrain.kd_model_name
    if not name or name == SUPERNET or name.startswith(TIMM):
        return config
    start = LOCAL if name.startswith(LOCAL) else ""
    path = os.path.abspath(expanded(name.removeprefix(LOCAL)))
    return replace(config, retrain=replace(config.retrain, kd_model_name=f"{start}{path}"))


def teacher_folder(search: str) -> str:
    """Where the largest network of the supernet is, with the statistics of a search, in the folder of the run."""
    return f"searches/{search}/teacher"


def teacher_of(config: Config, store: RunStore, search: str, split: Split, device: torch.device) -> Teacher | None:
    """The teacher that the recipe of a run names, tried on one image; None if it names none.

    Raises:
        InputError: there is no such network, it does not take these images, or it knows another number of classes.
    """
    name = config.retrain.kd_model_name
    if not name:
        return None
    module, normalisation = _network(name, store.path(teacher_folder(search)), split)
    resolution = config.data.resolution
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(torch.zeros(1, split.in_channels, resolution, resolution)).shape)
    except Exception as error:  # whatever the model's own code raises
        raise InputError(
            f"retrain.kd_model_name={name} does not take images of {split.in_channels} x {resolution} x {resolution} "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]})", "a network for the images of the run", "kd_model_name=supernet",
        ) from error  # fmt: skip
    if shape != (1, len(split.classes)):
        raise InputError(
            f"retrain.kd_model_name={name} gives outputs of shape {shape}, and the run has {len(split.classes)} classes",
            "a network that was trained on the run's classes", "kd_model_name=supernet",
        )  # fmt: skip
    return Teacher(module.to(device), _change(split, normalisation, device), config.retrain.amp)


def write_teacher(run: Run, search: Search) -> None:
    """Writes the largest network of the supernet with its statistics for a search, if it is the teacher and is not written yet.

    Raises:
        InputError: the supernet is not trained, or its file is damaged.
    """
    folder = teacher_folder(search.name)
    if run.config.retrain.kd_model_name != SUPERNET or run.store.exists(f"{folder}/{ARCH}"):
        return
    largest, extraction = run.space.largest(macs), Extraction.of(run, search)
    network = extraction.supernet.extract(largest, extraction.statistics(largest))
    about = {"digest": largest.digest, "split": run.split.digest}
    save_tensors(run.store, f"{folder}/{WEIGHTS}", network.state_dict(), about)
    run.store.write_text(f"{folder}/{ARCH}", largest.to_json(indent=1) + "\n")


def _change(split: Split, theirs: Any, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """From the normalisation of a split to another: images * scale + shift.

    Args:
        theirs: mean and std per channel, or None for the same.
    """
    if theirs is None:
        return None
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (split.mean, split.std))
    their_mean, their_std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in theirs)
    if mean.shape != their_mean.shape:  # a model of colour images that timm has made into one of grey ones
        their_mean, their_std = their_mean.mean(1, keepdim=True), their_std.mean(1, keepdim=True)
    return (std / their_std).to(device), ((mean - their_mean) / their_std).to(device)


def _network(name: str, of_supernet: Path, split: Split) -> tuple[nn.Module, Any]:
    """A teacher on the CPU, and the mean and std that it was trained with if they are not the run's.

    Raises:
        InputError: there is no such network.
    """
    if name == SUPERNET:
        return load_network(of_supernet), None
    if name.startswith((TIMM, LOCAL)):
        return _of_timm(name, split)
    path = expanded(name)
    folder, weights = (path.parent, path.name) if path.suffix == ".safetensors" else (path, "")
    if not ((folder / ARCH).is_file() or (folder / CONFIG).is_file()):
        raise InputError(
            f"retrain.kd_model_name={name} holds no network ({ARCH} is missing)", ALLOWED, "kd_model_name=supernet"
        )
    return load_network(folder, weights), _normalisation(folder / CONFIG)


def _normalisation(path: Path) -> tuple[list[float], list[float]] | None:
    """The mean and std in a network's config.json; None where there is none.

    Raises:
        InputError: the file says something else there.
    """
    if not path.is_file():
        return None
    try:
        about = read_json(path).get("pretrained_cfg", {})
        found = [list(map(float, about[key])) for key in ("mean", "std")]
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} has no mean and std in pretrained_cfg ({error})", "the file as nas wrote it", "another teacher"
        ) from None
    if not found[0] or len(found[0]) != len(found[1]) or not all(0 < std < 1e6 for std in found[1]):
        raise InputError(
            f"{path} has mean {found[0]} and std {found[1]}", "a mean and a std above 0 per channel", "another teacher"
        )
    return found[0], found[1]


def _of_timm(name: str, split: Split) -> tuple[nn.Module, Any]:
    import timm

    called = name if name.startswith(LOCAL) else name_in_timm(name, "retrain.kd_model_name")
    folder = expanded(name.removeprefix(LOCAL))
    if name.startswith(LOCAL) and not (folder / MODEL).is_file():  # timm would load a pickle in its place
        raise InputError(f"{folder} has no {MODEL}", "a folder that timm's save_for_hf wrote with safetensors", ALLOWED)
    called = f"{LOCAL}{folder}" if name.startswith(LOCAL) else called
    try:
        with torch.random.fork_rng(devices=[]):
            model: Any = timm.create_model(called, pretrained=True, in_chans=split.in_channels)
    except (
        Exception
    ) as error:  # whatever timm raises of a model without weights, or of a network that cannot be reached
        raise InputError(
            f"retrain.kd_model_name={name} cannot be loaded with its weights ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]})",
            ALLOWED, "kd_model_name=supernet",
        ) from error  # fmt: skip
    return model, (model.pretrained_cfg["mean"], model.pretrained_cfg["std"])

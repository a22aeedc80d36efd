"""Networks with trained weights by what a user calls them: how each sees images, and the names of its classes where they are known."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas.data.split import Split
from nas.data.view import View
from nas.networks.timm_models import TIMM, fresh_model, name_in_timm
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, CONFIG, MODEL, WEIGHTS, load_network, read_architecture
from nas.scoring.asked import ALLOWED, AUTO, DATA, IMAGENET, Scored
from nas.scoring.classes import IMAGENET_CLASSES, imagenet_names
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.files.plain import read_json
from search_spaces.files.tensors import read_header
from search_spaces.papers import paper_network
from search_spaces.registry import complete
from search_spaces.textfiles import expanded, resolved

IMAGENET_VIEW = View(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 0.875)


@dataclass(frozen=True)
class Entrant:
    """A network to be scored.

    Args:
        name: as it was typed.
        make: the network with its weights, on the CPU, in evaluation mode.
        outputs: how many classes it tells apart.
        view: how it was trained to see images; None where nothing says so.
        classes: their names by output; None where nothing says so.
        resolution: that it is made for.
        digest: of the architecture, of a network of this project.
        split: digest of the split that it was trained on; empty where nothing says so.
        fresh: whether its weights are not trained.
    """

    name: str
    make: Callable[[], nn.Module]
    outputs: int
    resolution: int
    view: View | None
    classes: tuple[str, ...] | None
    digest: str = ""
    split: str = ""
    fresh: bool = False

    def seen(self, asked: Scored, split: Split) -> View:
        """How it is shown the images.

        Raises:
            InputError: nothing says how it was trained, and no other preprocessing was asked for.
        """
        side = asked.resolution or self.resolution
        if asked.preprocess == IMAGENET:
            return replace(IMAGENET_VIEW, resolution=side)
        if asked.preprocess == DATA:
            return View(side, split.mean, split.std)
        if self.view is None:
            raise InputError(
                f"nothing in {self.name} says how its images were resized and normalised in training",
                f"preprocess={DATA} (by the training images of the data source) or preprocess={IMAGENET}",
                f"preprocess={DATA}",
            )
        return replace(self.view, resolution=side)


def entrant(name: str, asked: Scored, split: Split) -> Entrant:
    """A network by its name.

    Args:
        split: of the images that it will be scored on, which a network may have been trained on.

    Raises:
        InputError: there is no such network, or its files cannot be used.
    """
    if name.startswith(TIMM):
        return _of_timm(name, asked)
    path = expanded(name)
    if path.suffix == ".safetensors" and path.is_file() and (path.parent / ARCH).is_file():
        return _of_folder(name, path.parent, path.name, split)
    if not path.is_dir():
        raise InputError(f"{name} is no network that can be scored", ALLOWED, "a folder that `nas extract` wrote")
    if (path / ARCH).is_file():
        for weights in (MODEL, WEIGHTS):
            if (path / weights).is_file():
                return _of_folder(name, path, weights, split)
    if (path / CONFIG).is_file() and (path / MODEL).is_file():
        return _saved_by_timm(name, path, asked)
    missing = f"{ARCH} or {CONFIG} with {MODEL}"
    raise InputError(f"{name} holds no network ({missing} is missing)", ALLOWED, f"{name}/DIGEST")


def _of_folder(name: str, folder: Path, weights: str, split: Split) -> Entrant:
    arch = read_architecture(folder / ARCH)
    view, classes = _of_config(folder) if (folder / CONFIG).is_file() else (None, None)
    trained = _split_of_its_run(folder, arch)
    digest = trained.digest if trained else str(read_header(folder / weights).about.get("split", ""))
    if view is None and trained is not None:
        view, classes = View(arch.resolution, trained.mean, trained.std), trained.classes
    elif view is None:
        view, classes = _of_its_weights(folder / weights, arch, split)
    return Entrant(
        name,
        lambda: load_network(folder, weights),
        arch.num_classes,
        arch.resolution,
        view,
        classes,
        arch.digest,
        digest,
    )


def _of_config(folder: Path) -> tuple[View | None, tuple[str, ...] | None]:
    """What a config.json says, in timm's words."""
    config = _read_config(folder)
    try:
        view = _view_of(config.get("pretrained_cfg") or {})
    except (InputError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            f"{folder / CONFIG} says nothing that can be used of how images are seen ({error})",
            "pretrained_cfg with input_size, mean, std, interpolation and crop_pct, as timm writes it",
            f"fix that file, or preprocess={DATA} on a folder without it",
        ) from None
    names = config.get("label_names")
    named = isinstance(names, list) and all(isinstance(one, str) for one in names)
    return view, tuple(names) if named and names else None


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / CONFIG
    config = read_json(path)
    if not isinstance(config, dict):
        raise InputError(f"{path} is no table of keys", "a config.json as timm writes it", "save the network again")
    return config


def _view_of(cfg: Mapping[str, Any]) -> View | None:
    """What timm calls pretrained_cfg as a `View`; None where it says nothing."""
    if not cfg.get("mean") or not cfg.get("std") or not cfg.get("input_size"):
        return None
    _, height, width = (int(side) for side in cfg["input_size"])
    if height != width:
        raise InputError(f"input_size is {height} x {width}", "squares", "resolution=224")
    mean, std = (tuple(float(value) for value in cfg[key]) for key in ("mean", "std"))
    crop = cfg.get("test_crop_pct") or cfg.get("crop_pct") or 0.875
    interpolation, mode = cfg.get("interpolation") or "bicubic", cfg.get("crop_mode") or "center"
    return View(int(height), mean, std, float(crop), str(interpolation), str(mode))


def _split_of_its_run(folder: Path, arch: Architecture) -> Split | None:
    """Of a network that lies in the folder of the run that trained it: RUN/searches/NAME/networks/DIGEST."""
    for parent in list(resolved(folder).parents)[:4]:
        if (parent / "split.json").is_file() and (parent / "run.json").is_file():
            split = read_split(RunStore(parent))
            if (split.in_channels, len(split.classes)) == (arch.in_channels, arch.num_classes):
                return split
    return None


def _of_its_weights(file: Path, arch: Architecture, split: Split) -> tuple[View | None, tuple[str, ...] | None]:
    """Of what stands in the header of a file of weights: the split that they were trained on, or the checkpoint that they come from."""
    about = read_header(file).about
    if about.get("split") == split.digest:
        return View(arch.resolution, split.mean, split.std), split.classes
    if about.get("source") and arch.in_channels == 3:  # of the authors' training on ImageNet
        view = replace(IMAGENET_VIEW, resolution=arch.resolution, crop_pct=_published_crop(arch))
        return view, imagenet_names(arch.num_classes)
    return None, None


def _published_crop(arch: Architecture) -> float:
    """The share of the resized image that the authors of a paper's network evaluate on; timm's default for any other."""
    from search_spaces.timm_models import CROP_PCT

    for name, share in CROP_PCT.items():
        published = replace(
            complete(paper_network(name).arch), num_classes=arch.num_classes, resolution=arch.resolution
        )
        if published.digest == arch.digest:
            return share
    return IMAGENET_VIEW.crop_pct


def _saved_by_timm(name: str, folder: Path, asked: Scored) -> Entrant:
    """A folder that timm's save_for_hf or a model hub wrote; nothing but its safetensors file is read for weights."""
    import search_spaces.timm_models  # noqa: F401  # whose networks may have been saved

    config = _read_config(folder)
    view, classes = _of_config(folder)
    cfg = config.get("pretrained_cfg")
    outputs = config.get("num_classes", cfg.get("num_classes") if isinstance(cfg, dict) else None)
    side = view.resolution if view else 224
    if not isinstance(outputs, int) or not 1 <= outputs <= 10**6:
        raise InputError(
            f"{folder / CONFIG} has num_classes {outputs!r}", "1 to 1,000,000 classes", "a network with a classifier"
        )
    return Entrant(
        name, lambda: _made_by_timm(name, f"local-dir:{folder}", _other_side(asked, side)), outputs, side,
        view, classes or imagenet_names(outputs) if _of_imagenet(cfg) else classes,
    )  # fmt: skip


def _of_imagenet(cfg: object) -> bool:
    """Whether the classes are those of ImageNet-1K, in the usual order: timm's own weights say so by their tag."""
    return isinstance(cfg, dict) and cfg.get("num_classes") == IMAGENET_CLASSES and "in1k" in str(cfg.get("tag", ""))


def _other_side(asked: Scored, side: int) -> int:
    """The side of the images if it is not that of the network, else 0."""
    return asked.resolution if asked.resolution != side else 0


def _made_by_timm(name: str, called: str, resolution: int) -> nn.Module:
    """A model of timm with its weights, in evaluation mode.

    Args:
        resolution: of its images, for models with tables of positions; 0 leaves it to the model.

    Raises:
        InputError: timm cannot make it, or has no weights of it.
    """
    import timm

    try:
        if resolution:
            with contextlib.suppress(TypeError):  # of a model without such tables, which takes no img_size
                return timm.create_model(called, pretrained=True, img_size=resolution).eval()
        return timm.create_model(called, pretrained=True).eval()
    except InputError:
        raise
    except Exception as error:  # whatever the model, its files or the network raise
        reason = (str(error).splitlines() or [""])[0][:200]
        raise InputError(
            f"{name} cannot be made with its weights ({type(error).__name__}: {reason})",
            "a model whose weights timm finds on this machine or can fetch",
            "a folder of the network, or pretrained=false for fresh weights",
        ) from None


def _of_timm(name: str, asked: Scored) -> Entrant:
    called = name_in_timm(name)
    import timm

    config = timm.get_pretrained_cfg(called, allow_unregistered=True)
    cfg = config.to_dict() if config else {}
    view = _view_of(cfg) if cfg else None
    if asked.pretrained and not any(cfg.get(key) for key in ("url", "hf_hub_id", "file")):
        raise InputError(
            f"timm has no pretrained weights of {called}",
            "a model with pretrained weights, or the folder of a network",
            "pretrained=false for fresh weights, which can only guess",
        )

    side = view.resolution if view else 224

    def make() -> nn.Module:
        if not asked.pretrained:
            return _fresh(called, _other_side(asked, side), asked.seed)
        return _made_by_timm(name, called, _other_side(asked, side))

    outputs = int(cfg.get("num_classes") or IMAGENET_CLASSES)
    tagged = _of_imagenet({**cfg, "tag": getattr(config, "tag", "")})
    names = imagenet_names(outputs) if tagged else None
    return Entrant(name, make, outputs, side, view, names, fresh=not asked.pretrained)


def _fresh(called: str, resolution: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fresh_model(called, resolution).eval()


def entrants(names: Sequence[str], asked: Scored, split: Split) -> list[Entrant]:
    """All networks that were asked for, before any of them is made.

    Raises:
        InputError: as `entrant`, or how one sees images is not known.
    """
    found = [entrant(name, asked, split) for name in names]
    for one in found:
        if asked.preprocess == AUTO:
            one.seen(asked, split)
    return found

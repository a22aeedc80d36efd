"""What a run is configured with: a tree of frozen dataclasses. `nas.config.parsing` reads it from a TOML file and `key=value` overrides.

Standard library only. Every value is checked here, before anything heavy is imported. What a key means is said once, beside its
default; `nas VERB --help` prints it.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from nas.config.keys import at_least, fraction, key, one_of, short
from nas.config.search import SearchConfig
from nas.executors import check_executor
from nas.goals.budget import Budget
from nas.runtimes import check_runtime
from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError, unknown

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}

_HEXADECIMAL = re.compile("#[0-9a-fA-F]{6}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, and how they are cut and augmented."""

    name: str = key(
        "digits",
        "digits, fashion_mnist, folder, or timm/NAME for whatever timm's create_dataset reaches (timm/hfds/user/set, timm/wds/set, timm/tfds/set)",
    )
    root: str = key("", "folder of the files; empty for digits, and for fashion_mnist where Debian's package puts them")
    resolution: int = key(16, "side of the square image that networks see, in pixels")
    validation_fraction: float = key(0.2, "share of the training images set aside for search")
    test_fraction: float = key(0.2, "share set aside for the test where a data set has no test part of its own")
    augment: str = key(
        "light",
        "none; light (random crop with padding of an eighth); standard (light, with horizontal flip and random erasing); timm (timm's RandAugment and random resized crop, for image files only)",
    )
    workers: int = key(
        0,
        "processes that decode image files in every pass, where they are too many to be kept; 0 decodes in the main process",
    )
    layout: str = key(
        "auto",
        "how data=folder reads root. classes: one sub-folder per class; parts: train, validation and test, each with one sub-folder per class; auto: parts where there is a folder train, else classes, and refused where that is a guess",
    )
    conflicts: str = key(
        "error",
        "what becomes of an image that has two labels. error: it is refused; drop: all its copies are left out; keep: each copy keeps its label",
    )
    background: str = key("white", 'colour on which transparent images are laid: white, black, grey or "#rrggbb"')
    white: float = key(
        0.0,
        "value that is white in images of 16 or 32 bits per pixel. 0 takes 65535 for 16 bits and 1.0 for floats, and refuses whole numbers of 32 bits, whose white no file states",
    )

    def __post_init__(self) -> None:
        if self.name not in ("digits", "fashion_mnist", "folder") and not self.name.startswith("timm/"):
            raise unknown("data set", self.name, ("digits", "fashion_mnist", "folder", "timm/NAME"), "data={}")
        if self.name == "folder" and not self.root:
            raise InputError(
                "data=folder without a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
            )
        at_least(self, resolution=4, workers=0, white=0)
        if self.resolution > 4096:
            raise InputError(f"data.resolution is {short(self.resolution)}", "4 to 4096 pixels", "data.resolution=224")
        fraction(self, "validation_fraction", "test_fraction")
        one_of(self, layout=("auto", "classes", "parts"), conflicts=("error", "drop", "keep"))
        if self.background not in _COLOURS and not _HEXADECIMAL.fullmatch(self.background):
            raise InputError(
                f"data.background is {self.background!r}",
                f"{', '.join(_COLOURS)}, or # and six hexadecimal digits",
                "data.background=white",
            )
        if self.validation_fraction == 0:
            raise InputError(
                "data.validation_fraction is 0",
                "more than 0: search needs images of its own",
                "data.validation_fraction=0.2",
            )
        one_of(self, augment=("none", "light", "standard", "timm"))

    @property
    def background_colour(self) -> tuple[int, int, int]:
        """`background` as red, green and blue from 0 to 255."""
        if self.background in _COLOURS:
            return _COLOURS[self.background]
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How the supernet is trained (sandwich rule with in-place distillation; arXiv:2003.11142)."""

    budget: str = key(
        "none",
        "what the networks may cost for which the supernet is made, written as search.budget: choices that no such network has are left out "
        "of the space, and others are not trained. Searches may have an equal or a tighter budget",
    )
    largest: float = key(
        1.0, "multiple of the budget that the largest network of a step may cost; the others are within the budget"
    )
    epochs: int = key(40, "passes over the supernet-train images")
    batch_size: int = key(64, "images per step")
    lr: float = key(2e-3, "peak learning rate of AdamW; linear warm-up, then cosine to zero")
    warmup_epochs: float = key(2.0, "epochs of linear warm-up")
    weight_decay: float = key(0.05, "decay of weights with two or more axes")
    clip: float = key(1.0, "largest gradient norm; 0 for none")
    random_paths: int = key(2, "sub-networks drawn per step beside the largest and the smallest")
    largest_only_epochs: float = key(0.0, "epochs at the start that train the largest network alone")
    distill: float = key(
        0.5, "share of the soft loss for all but the largest network, reached linearly by half of the run"
    )
    label_smoothing: float = key(0.1, "for the largest network's loss")
    ema: float = key(0.99, "decay of the averaged weights that search evaluates, with a warm-up; 0 for none")
    amp: str = key("none", "none or bf16 (autocast)")
    checkpoint_steps: int = key(100, "steps between checkpoints")

    def __post_init__(self) -> None:
        # Equal budgets are equal settings: 2000K is 2M.
        object.__setattr__(self, "budget", str(Budget.parse(self.budget, "train.budget")))
        at_least(self, epochs=1, batch_size=2, lr=0, warmup_epochs=0, weight_decay=0, clip=0, random_paths=0)
        at_least(self, largest_only_epochs=0, checkpoint_steps=1, largest=1)
        fraction(self, "ema", "label_smoothing")
        if not 0 <= self.distill <= 1:
            raise InputError(f"train.distill is {self.distill}", "from 0 to 1", "train.distill=0.5")
        one_of(self, amp=("none", "bf16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """How winners and baselines are trained as stand-alone networks: one recipe for all of them."""

    points: int = key(
        5, "networks of the Pareto front that are retrained, spread over its costs; the best of them is always included"
    )
    inits: tuple[str, ...] = key(
        ("scratch", "inherited"), "initialisations: scratch (fresh weights), inherited (extracted weights)"
    )
    seeds: int = key(1, "repeats of each, for the spread")
    references: tuple[str, ...] = key(
        (),
        "models of timm that are trained from fresh weights by the same recipe and shown beside the Pareto front: timm/resnet18",
    )
    jobs: int = key(0, "networks trained at once, each with one thread; 0 takes the number of cores")
    epochs: int = key(30, "passes over the training images")
    batch_size: int = key(64, "images per step")
    lr: float = key(2e-3, "peak learning rate of AdamW; linear warm-up, then cosine to zero")
    warmup_epochs: float = key(2.0, "epochs of linear warm-up")
    weight_decay: float = key(0.05, "decay of weights with two or more axes")
    clip: float = key(1.0, "largest gradient norm; 0 for none")
    label_smoothing: float = key(0.1, "of the loss")
    drop_path: float = key(0.0, "stochastic depth of the last block, rising linearly from 0 at the first")
    ema: float = key(0.99, "decay of the averaged weights that are tested, with a warm-up; 0 for none")
    amp: str = key("none", "none or bf16 (autocast)")
    checkpoint_steps: int = key(200, "steps between checkpoints")

    def __post_init__(self) -> None:
        at_least(self, points=1, seeds=1, jobs=0, epochs=1, batch_size=2, lr=0, warmup_epochs=0, weight_decay=0)
        at_least(self, clip=0, checkpoint_steps=1)
        fraction(self, "label_smoothing", "drop_path", "ema")
        one_of(self, amp=("none", "bf16"))
        for name in self.inits:
            if name not in ("scratch", "inherited"):
                raise unknown("init", name, ("scratch", "inherited"), "retrain.inits={}")
        for name in self.references:
            if not name.startswith("timm/") or name == "timm/":
                raise InputError(
                    f"retrain.references has {name!r}", "models of timm", "retrain.references=timm/resnet18"
                )
        if not self.inits or len(set(self.inits)) != len(self.inits):
            raise InputError(
                f"retrain.inits are {list(self.inits)}", "scratch, inherited or both", "retrain.inits=scratch"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractConfig:
    """What `nas extract` does."""

    out: str = key(
        "",
        "folder that gets one sub-folder per network; empty for the search's own networks/. The run is then only read",
    )
    verify: bool = key(False, "only check the files that are there, against the supernet and the recorded accuracy")
    merge: bool = key(
        False,
        "write parallel branches that are one convolution after training (RP-CPE) as one, for use and not for retraining; needs out. Outputs are equal up to rounding",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What `nas report` does."""

    out: str = key("", "folder that gets the files of the report; empty for the run's own. The run is then only read")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProfileConfig:
    """What `nas profile` measures."""

    out: str = key("", "file that gets the profile, such as laptop.json")
    name: str = key(
        "", "name of the device in costs (latency_ms@NAME), in lower case; empty takes the name of the file"
    )
    runtime: str = key("eager", "eager, compiled, onnx, or the dotted path of a runtime")
    batch: int = key(1, "images at once")
    resolution: int = key(0, "side of the images in pixels; 0 takes that of the space")
    channels: int = key(0, "channels of the images; 0 takes those of the space")
    classes: int = key(0, "outputs of the networks; 0 takes those of the space")
    calibration: int = key(25, "whole networks that the model is fitted on")
    heldout: int = key(30, "whole networks that only tell the error of the model")
    units: str = key(
        "all",
        "all: what tells the time of every unit of the space; networks: only the units of the networks that are measured; none: the model is "
        "learned from whole networks alone, for runtimes that take long to prepare each unit",
    )
    networks: tuple[str, ...] = key((), "arch.json files of networks that are measured too")
    error: float = key(
        0.01, "half the width of the 95 % confidence interval over the median, at which a network's measurement ends"
    )
    seconds: float = key(0.0, "seconds of measuring, about; 0 for as long as the error needs")
    noisy: bool = key(False, "measure on a machine that is too noisy to be believed, and say so in the profile")
    profile: str = key("", "a profile of this device that gets the units that it lacks, in place of a new one (out)")
    missing: tuple[str, ...] = key((), "arch.json files of networks whose units are added to profile")
    list: str = key(
        "", "CSV file that gets the units of the space, to be measured on another device, in place of measuring here"
    )

    def __post_init__(self) -> None:
        at_least(self, batch=1, resolution=0, channels=0, classes=0, calibration=3, heldout=2, seconds=0)
        check_runtime(self.runtime)
        fraction(self, "error")
        one_of(self, units=("all", "networks", "none"))
        if self.error == 0:
            raise InputError("profile.error is 0", "above 0 and below 1: 0.01 is one per cent", "profile.error=0.01")
        if self.name and not is_cost_name(f"latency_ms@{self.name}"):
            plain = re.sub("[^a-z0-9_.-]+", "-", self.name.lower()).strip("._-") or "mine"
            raise InputError(
                f"profile.name is {short(self.name)}",
                "lower-case letters, digits and _ . -, starting with a letter or digit",
                f"profile.name={plain}",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A whole run."""

    run: str = key(
        "runs/demo",
        "folder of the run. Every verb reads and writes this folder only, unless out names another for what it writes",
    )
    space: str = key("digits", "a named search space (nas spaces), or the path of a space's TOML file")
    seed: int = key(0, "of everything random")
    device: str = key("auto", "auto, cpu, or a torch device such as cuda:0")
    threads: int = key(
        1,
        "threads of one process; 0 takes the number of cores. More than one pays on a quiet machine only: beside a busy neighbour two "
        "threads wait for each other and are slower than one. Results are reproducible for one number of threads",
    )
    executor: str = key(
        "auto",
        "where networks are evaluated and retrained: here (this process), processes (one for each of jobs), auto (processes where they pay), "
        "ray (a Ray cluster: that of RAY_ADDRESS, or of ray start, or this machine's cores), or the dotted path of an executor",
    )
    tensorboard: bool = key(
        False,
        "write scalars of training, search and retraining into tensorboard/ of the run; needs the package tensorboard",
    )
    digest: str = key("", "one network, by the first digits of its digest, instead of the Pareto front's")
    plugins: tuple[str, ...] = key((), "modules to import first, whose parts and costs register themselves")
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)

    def __post_init__(self) -> None:
        at_least(self, seed=0, threads=0)
        check_executor(self.executor)
        if self.threads > 4096:
            raise InputError(f"threads is {self.threads}", "0 to 4096", "threads=1, or 0 for the number of cores")
        if not self.run:
            raise InputError("run is empty", "the path of a folder", "run=runs/mine")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; `nas.config.parsing.config_from(c.to_dict()) == c`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


SECTIONS: dict[str, type] = {
    "data": DataConfig, "train": TrainConfig, "search": SearchConfig, "extract": ExtractConfig, "retrain": RetrainConfig,
    "report": ReportConfig, "profile": ProfileConfig,
}  # fmt: skip

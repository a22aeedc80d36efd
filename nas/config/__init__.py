"""What a run is configured with: a tree of frozen dataclasses. `nas.config.parsing` reads it from a TOML file and `key=value` overrides.

Standard library only. Every value is checked here, before anything slow is imported. The meaning of a key stands beside its default;
`nas VERB --help` prints it.
"""

import dataclasses
import json
import re
from dataclasses import dataclass, field
from typing import Any

from nas.config.extract import ExtractConfig
from nas.config.keys import at_least, check_recipe, fraction, key, one_of
from nas.config.retrain import RetrainConfig
from nas.config.search import SearchConfig
from nas.dotted import check_name, file_names, is_dotted
from nas.executors import check_executor
from nas.goals.budget import Budget
from nas.plugins.given import check_modules
from nas.runtimes import check_runtime
from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError, quoted, unknown
from supernet.recipe import Recipe
from supernet.strategies import NAMES as STRATEGIES

_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}

_HEXADECIMAL = re.compile("#[0-9a-fA-F]{6}")


_STRATEGY_OPTION = re.compile(r"[A-Za-z_]\w*=.+")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, how they are split, and how they are augmented."""

    name: str = key(
        "digits",
        "digits, fashion_mnist, relations (generated; relations/N for N images, relations/N/SERIES for N others), folder, or timm/NAME for whatever timm's create_dataset reaches (timm/hfds/user/set, timm/wds/set, timm/tfds/set), or a class of yours such as my_package.MySource",
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
        "processes that decode image files in every pass if the images do not fit into memory; 0 decodes in the main process",
    )
    layout: str = key(
        "auto",
        "how data=folder reads root. classes: one sub-folder per class; parts: train, validation and test, each with one sub-folder per class; auto: parts if there is a folder train, else classes; what is ambiguous is refused",
    )
    conflicts: str = key(
        "error",
        "what happens to an image that has two labels. error: it is refused; drop: all its copies are left out; keep: each copy keeps its label",
    )
    background: str = key("white", 'colour on which transparent images are laid: white, black, grey or "#rrggbb"')
    most_pixels: int = key(
        100_000_000,
        "pixels that an image file may have, by its header; a small file can announce any number of them, each of which takes memory",
    )
    white: float = key(
        0.0,
        "value that is white in images of 16 or 32 bits per pixel. 0 takes 65535 for 16 bits and 1.0 for floats, and refuses whole numbers of 32 bits, because no file states their white",
    )

    def __post_init__(self) -> None:
        names = [name for name in file_names("data/sources") if name != "timm"]
        if self.name not in names and not self.name.startswith(("timm/", "relations/")) and not is_dotted(self.name):
            instead = "data={}, or a class of yours as my_package.MySource"
            raise unknown("data set", self.name, [*names, "timm/NAME"], instead)
        if self.name == "folder" and not self.root:
            raise InputError(
                "data=folder without a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
            )
        at_least(self, resolution=4, workers=0, white=0, most_pixels=1)
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
class TrainConfig(Recipe):
    """How the supernet is trained: by the sandwich rule (arXiv:2003.11142), or by another strategy."""

    epochs: int = key(40, "passes over the supernet-train images")
    label_smoothing: float = key(0.1, "of the loss on labels; with strategy sandwich, of the largest network only")
    ema: float = key(
        0.99, "decay of the moving average of the weights, which search evaluates, with a warm-up; 0 for none"
    )
    budget: str = key(
        "none",
        "what networks of this supernet may cost, written like search.budget. Choices that no network within the budget can have are left out "
        "of the space, and every step trains networks within it. Searches may have the same or a tighter budget",
    )
    largest: float = key(
        1.0, "multiple of the budget that the largest network of a step may cost; all others are within the budget"
    )
    strategy: str = key(
        "sandwich",
        "which sub-networks a step trains and what they learn from: sandwich, single_path (one uniformly drawn network per step, "
        "arXiv:1904.00420), or the dotted path of a strategy",
    )
    options: tuple[str, ...] = key((), "options of a strategy of yours, such as temperature=2")
    init: str = key(
        "",
        "weights to start from: the folder of a network (of nas extract, retrain or convert), a file of its weights in it, or the folder of "
        "a trained run; classes, channels, resolution and sizes may differ. What fits is taken, and what starts fresh is printed",
    )
    random_paths: int = key(2, "for sandwich: random sub-networks per step, besides the largest and the smallest")
    largest_only_epochs: float = key(0.0, "for sandwich: epochs at the start that train the largest network alone")
    distill: float = key(
        0.5,
        "for sandwich: weight of the distillation loss for all but the largest network; it rises linearly over the first half of the run",
    )
    processes: int = key(
        0,
        "processes that train together, each with a shard of every batch; 0 takes the number of cores where that pays and memory allows it, and one on a GPU. "
        "A run keeps its number. Results depend on it: sums are rounded differently, and batch norms normalise over their own shard",
    )

    def __post_init__(self) -> None:
        # Equal budgets are equal settings: 2000K is 2M.
        object.__setattr__(self, "budget", str(Budget.parse(self.budget, "train.budget")))
        check_recipe(self)
        at_least(self, random_paths=0, largest_only_epochs=0, largest=1, processes=0)
        if not 0 <= self.distill <= 1:
            raise InputError(f"train.distill is {self.distill}", "from 0 to 1", "train.distill=0.5")
        check_name(self.strategy, STRATEGIES, "train.strategy", "MyStrategy")
        for option in self.options:
            if not _STRATEGY_OPTION.fullmatch(option):
                raise InputError(f"train.options has {option!r}", "OPTION=VALUE", "train.options=temperature=2")
        if self.processes > self.batch_size // 2:
            raise InputError(
                f"train.processes is {self.processes} and train.batch_size is {self.batch_size}",
                f"1 to {self.batch_size // 2} processes: each has at least two images of every step",
                f"train.processes={self.batch_size // 2}",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What `nas report` does."""

    out: str = key("", "folder that gets the files of the report; empty for the run's own. The run is then only read")
    sections: tuple[str, ...] = key((), "sections of your own for the page, as my_package.MySection")

    def __post_init__(self) -> None:
        for name in self.sections:
            if not is_dotted(name):
                allowed = "dotted paths of classes; the sections that come with nas are there anyway"
                raise InputError(f"report.sections={name}", allowed, "report.sections=my_package.MySection")


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
    heldout: int = key(30, "whole networks that only serve to test the model")
    units: str = key(
        "all",
        "all: enough to predict every unit of the space; networks: only the units of the networks that are measured; none: the model is "
        "learned from whole networks alone, for runtimes that take long to prepare each unit",
    )
    networks: tuple[str, ...] = key((), "arch.json files of networks that are measured too")
    error: float = key(
        0.01, "measuring ends when half the width of a network's 95 % confidence interval is this share of its median"
    )
    seconds: float = key(0.0, "approximate limit on the seconds of measuring; 0 for as long as the error needs")
    noisy: bool = key(False, "measure even if the machine is too noisy to be trusted, and say so in the profile")
    profile: str = key("", "an existing profile of this device, to which missing units are added; instead of out")
    missing: tuple[str, ...] = key((), "arch.json files of networks whose units are added to profile")
    list: str = key(
        "", "CSV file to write with the units of the space, to be measured on another device; nothing is measured here"
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
                f"profile.name is {quoted(self.name)}",
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
    seed: int = key(0, "seed of everything random")
    device: str = key("auto", "auto, cpu, or a torch device such as cuda:0")
    threads: int = key(
        1,
        "threads of one process; 0 takes the number of cores. More than one helps only on a quiet machine: beside a busy process two "
        "threads wait for each other and are slower than one. Results are reproducible for a fixed number of threads",
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
    digest: str = key("", "one network, by the first digits of its digest, instead of those of the Pareto front")
    plugins: tuple[str, ...] = key(
        (),
        "modules to import first, whose parts and costs register themselves. A run remembers which it needs, and imports none that you do not "
        "give again: type them, or list them in hybrid-mixer-nas/plugins.toml of ~/.config (or of $XDG_CONFIG_HOME)",
    )
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
        check_modules(self.plugins)
        if not self.run:
            raise InputError("run is empty", "the path of a folder", "run=runs/mine")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; `nas.config.parsing.config_from(c.to_dict()) == c`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


SECTIONS: dict[str, type] = {
    "data": DataConfig, "train": TrainConfig, "search": SearchConfig, "extract": ExtractConfig, "retrain": RetrainConfig,
    "report": ReportConfig, "profile": ProfileConfig,
}  # fmt: skip

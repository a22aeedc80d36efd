"""What a run is configured with: a tree of frozen dataclasses, read from a TOML file and `key=value` overrides.

Standard library only. Every key, value and type is checked here, before anything heavy is imported; what a key means is said
once, in the docstring of its section.
"""

import dataclasses
import json
import math
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError, nearest, unknown
from search_spaces.textfiles import expanded, read_text

LARGEST = 10**18
"""Of the numbers that count or bound something: far beyond use, and exact wherever they are computed with."""


def _short(value: Any) -> str:
    """A value as Python writes it, for a message, without the middle of a long one."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:40]}...{text[-10:]}"


_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}

_HEXADECIMAL = re.compile("#[0-9a-fA-F]{6}")


def _typed(section: Any, key: str) -> str:
    """A key as every verb understands it: with its section, if it has one."""
    return f"{type(section).__name__.removesuffix('Config').lower()}.{key}".lstrip(".")


def _at_least(section: Any, **least: float) -> None:
    for key, bound in least.items():
        name, value = _typed(section, key), getattr(section, key)
        if value < bound:
            raise InputError(f"{name} is {_short(value)}", f"{bound} or more", f"{name}={bound}")
        # Shares of it are floats in places, such as the time left. A seed is only hashed.
        if type(value) is int and key != "seed" and value > LARGEST:
            default = typed(section.__dataclass_fields__[key].default)
            raise InputError(f"{name} is {_short(value)}", f"{bound} to {LARGEST:,}", f"{name}={default}")


def _one_of(section: Any, **allowed: tuple[str, ...]) -> None:
    for key, names in allowed.items():
        if getattr(section, key) not in names:
            name = _typed(section, key)
            raise unknown(f"value for {name}:", getattr(section, key), names, f"{name}={{}}")


def _fraction(section: Any, *keys: str) -> None:
    for key in keys:
        if not 0 <= getattr(section, key) < 1:
            name = _typed(section, key)
            raise InputError(f"{name} is {getattr(section, key)}", "from 0 up to, not including, 1", f"{name}=0.2")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """Which images, and how they are cut and augmented.

    name: digits, fashion_mnist, folder, or timm/NAME for whatever timm's create_dataset reaches
        (timm/hfds/user/set, timm/wds/set, timm/tfds/set).
    root: the folder of the files; empty for digits, and for fashion_mnist where Debian's package puts them.
    resolution: side of the square image that networks see, in pixels.
    validation_fraction: share of the training images set aside for search.
    test_fraction: share set aside for the test where a data set has no test part of its own.
    augment: none; light (random crop with padding of an eighth); standard (light, with horizontal flip and random erasing);
        timm (timm's RandAugment and random resized crop, for image files only).
    workers: processes that decode image files in every pass, where they are too many to be kept; 0 decodes in the main process.
    layout: how data=folder reads `root`. classes: one sub-folder per class. parts: train, validation and test, each with
        one sub-folder per class. auto: parts where there is a folder train, else classes; refused where that is a guess.
    conflicts: what becomes of an image that has two labels. error: it is refused. drop: all its copies are left out.
        keep: each copy keeps its label.
    background: the colour on which transparent images are laid: white, black, grey or "#rrggbb".
    white: the value that is white in images of 16 or 32 bits per pixel. 0 takes 65535 for 16 bits and 1.0 for floats, and
        refuses whole numbers of 32 bits, whose white no file states.
    """

    name: str = "digits"
    root: str = ""
    resolution: int = 16
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    augment: str = "light"
    workers: int = 0
    layout: str = "auto"
    conflicts: str = "error"
    background: str = "white"
    white: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("digits", "fashion_mnist", "folder") and not self.name.startswith("timm/"):
            raise unknown("data set", self.name, ("digits", "fashion_mnist", "folder", "timm/NAME"), "data={}")
        if self.name == "folder" and not self.root:
            raise InputError(
                "data=folder without a folder", "a folder with one sub-folder of images per class", "data.root=PATH"
            )
        _at_least(self, resolution=4, workers=0, white=0)
        if self.resolution > 4096:
            raise InputError(f"data.resolution is {_short(self.resolution)}", "4 to 4096 pixels", "data.resolution=224")
        _fraction(self, "validation_fraction", "test_fraction")
        _one_of(self, layout=("auto", "classes", "parts"), conflicts=("error", "drop", "keep"))
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
        _one_of(self, augment=("none", "light", "standard", "timm"))

    @property
    def background_colour(self) -> tuple[int, int, int]:
        """`background` as red, green and blue from 0 to 255."""
        if self.background in _COLOURS:
            return _COLOURS[self.background]
        red, green, blue = bytes.fromhex(self.background[1:])
        return red, green, blue


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How the supernet is trained (sandwich rule with in-place distillation; arXiv:2003.11142).

    epochs, batch_size: passes over the supernet-train images, and images per step.
    lr, warmup_epochs, weight_decay, clip: AdamW's peak rate, linear warm-up then cosine to zero, decay of weights with
        two or more axes, and the largest gradient norm (0 for none).
    random_paths: sub-networks drawn per step beside the largest and the smallest.
    largest_only_epochs: epochs at the start that train the largest network alone.
    distill: share of the soft loss for all but the largest network, reached linearly by half of the run.
    label_smoothing: for the largest network's loss.
    ema: decay of the averaged weights that search evaluates (0 for none), with a warm-up.
    amp: none or bf16 (autocast).
    checkpoint_steps: steps between checkpoints.
    """

    epochs: int = 40
    batch_size: int = 64
    lr: float = 2e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    clip: float = 1.0
    random_paths: int = 2
    largest_only_epochs: float = 0.0
    distill: float = 0.5
    label_smoothing: float = 0.1
    ema: float = 0.99
    amp: str = "none"
    checkpoint_steps: int = 100

    def __post_init__(self) -> None:
        _at_least(self, epochs=1, batch_size=2, lr=0, warmup_epochs=0, weight_decay=0, clip=0, random_paths=0)
        _at_least(self, largest_only_epochs=0, checkpoint_steps=1)
        _fraction(self, "ema", "label_smoothing")
        if not 0 <= self.distill <= 1:
            raise InputError(f"train.distill is {self.distill}", "from 0 to 1", "train.distill=0.5")
        _one_of(self, amp=("none", "bf16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """How sub-networks are searched.

    budget: the most MACs a network may have: a number with K, M or G, or "none".
    evaluations: networks evaluated by each sampler.
    samplers: which propose; random is always among them.
    population: of NSGA-II.
    calibration_images: supernet-train images that recompute the normalisation statistics of each candidate.
    batch_size: images at once.
    """

    budget: str = "none"
    evaluations: int = 100
    samplers: tuple[str, ...] = ("nsga2", "random")
    population: int = 20
    calibration_images: int = 256
    batch_size: int = 256

    def __post_init__(self) -> None:
        parse_macs(self.budget)
        _at_least(self, evaluations=1, population=2, calibration_images=2, batch_size=2)
        for name in self.samplers:
            if name not in ("nsga2", "random"):
                raise unknown("sampler", name, ("nsga2", "random"), "search.samplers=nsga2,random")
        if "random" not in self.samplers or len(set(self.samplers)) != len(self.samplers):
            raise InputError(
                f"search.samplers are {list(self.samplers)}",
                "each at most once, and random among them: no result is shown without it",
                "search.samplers=nsga2,random",
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrainConfig:
    """How winners and baselines are trained as stand-alone networks: one recipe for all of them.

    points: networks of the front that are retrained, spread over its MACs (the best of them always included).
    inits: scratch (fresh weights) and inherited (extracted weights).
    seeds: repeats of each, for the spread.
    jobs: networks trained at once, each with one thread; 0 takes the number of cores.
    the others: as in `train`.
    """

    points: int = 5
    inits: tuple[str, ...] = ("scratch", "inherited")
    seeds: int = 1
    jobs: int = 0
    epochs: int = 30
    batch_size: int = 64
    lr: float = 2e-3
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    clip: float = 1.0
    label_smoothing: float = 0.1
    drop_path: float = 0.0
    ema: float = 0.99
    amp: str = "none"
    checkpoint_steps: int = 200

    def __post_init__(self) -> None:
        _at_least(self, points=1, seeds=1, jobs=0, epochs=1, batch_size=2, lr=0, warmup_epochs=0, weight_decay=0)
        _at_least(self, clip=0, checkpoint_steps=1)
        _fraction(self, "label_smoothing", "drop_path", "ema")
        _one_of(self, amp=("none", "bf16"))
        for name in self.inits:
            if name not in ("scratch", "inherited"):
                raise unknown("init", name, ("scratch", "inherited"), "retrain.inits={}")
        if not self.inits or len(set(self.inits)) != len(self.inits):
            raise InputError(
                f"retrain.inits are {list(self.inits)}", "scratch, inherited or both", "retrain.inits=scratch"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractConfig:
    """What `nas extract` does.

    out: folder that gets one sub-folder per network; empty for the run's own networks/. The run is then only read.
    verify: only check the files that are there, against the supernet and the recorded accuracy.
    merge: parallel branches that are one convolution after training (RP-CPE) are written as one, for use and not for retraining;
        needs `out`. Outputs are equal up to rounding.
    """

    out: str = ""
    verify: bool = False
    merge: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportConfig:
    """What `nas report` does.

    out: folder that gets the files of the report; empty for the run's own. The run is then only read.
    """

    out: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """A whole run.

    run: its folder. Every verb reads and writes this folder only, unless `out` names another for what it writes.
    space: a named search space, or the path of a space's TOML file.
    seed: of everything random.
    device: auto, cpu, or a torch device such as cuda:0.
    threads: of one process; 0 takes the number of cores. More than one pays on a quiet machine only: beside a busy neighbour
        two threads wait for each other and are slower than one. Results are reproducible for one number of threads.
    digest: one network, by the first digits of its digest, instead of the front's (extract, retrain).
    plugins: modules to import first, whose parts register themselves.
    """

    run: str = "runs/demo"
    space: str = "digits"
    seed: int = 0
    device: str = "auto"
    threads: int = 1
    digest: str = ""
    plugins: tuple[str, ...] = ()
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    extract: ExtractConfig = field(default_factory=ExtractConfig)
    retrain: RetrainConfig = field(default_factory=RetrainConfig)
    report: ReportConfig = field(default_factory=ReportConfig)

    def __post_init__(self) -> None:
        _at_least(self, seed=0, threads=0)
        if self.threads > 4096:
            raise InputError(f"threads is {self.threads}", "0 to 4096", "threads=1, or 0 for the number of cores")
        if not self.run:
            raise InputError("run is empty", "the path of a folder", "run=runs/mine")

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars; `config_from(c.to_dict()) == c`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))


SECTIONS: dict[str, type] = {
    "data": DataConfig, "train": TrainConfig, "search": SearchConfig, "extract": ExtractConfig, "retrain": RetrainConfig,
    "report": ReportConfig,
}  # fmt: skip


def typed(value: Any) -> str:
    """A value as it is typed after `key=`, without quotes, which a shell would take away."""
    if isinstance(value, list | tuple):
        return ",".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _convert(value: Any, annotation: Any, key: str, example: str) -> Any:
    """`value` as the field's type; ints pass as floats, lists become tuples.

    Args:
        example: a value as it is typed, for messages.
    """
    if typing.get_origin(annotation) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(item, typing.get_args(annotation)[0], key, example) for item in items)
    if annotation is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{key} is {_short(value)}", "a number below 1.8e308", f"{key}={example}") from None
    if annotation is str and type(value) in (int, float):
        return str(value)
    if type(value) is not annotation:
        words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise InputError(f"{key} is {_short(value)}", words[annotation], f"{key}={example}")
    if annotation is float and not math.isfinite(value):
        raise InputError(f"{key} is {value}", "a finite number", f"{key}={example}")
    return value


def _values(kind: Any, data: Any, prefix: str) -> dict[str, Any]:
    """The fields of `kind` that `data` gives, each of its type; sections as such dicts."""
    if not isinstance(data, Mapping):
        raise InputError(f"{prefix.rstrip('.')} is {data!r}", "a table of keys", f"[{prefix.rstrip('.')}]")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            names = [prefix + name for name in hints]
            table = kind is Config and nearest(key, names) in SECTIONS
            raise unknown("key", prefix + key, names, "[{}]" if table else "{}=VALUE")
        if key in SECTIONS and kind is Config:
            values[key] = _values(SECTIONS[key], value, f"{key}.")
        else:
            default = kind.__dataclass_fields__[key].default
            values[key] = _convert(value, hints[key], prefix + key, typed(default))
    return values


def config_from(data: Mapping[str, Any]) -> Config:
    """The configuration that a mapping (from TOML or JSON) describes; what it leaves out has the default.

    Raises:
        InputError: an unknown key (the nearest is offered), a value of the wrong type or out of range.
    """
    values = _values(Config, data, "")
    return Config(**{key: SECTIONS[key](**value) if key in SECTIONS else value for key, value in values.items()})


def parse_macs(text: str) -> int | None:
    """MACs from "3.5M", "900K", "1.8G" or a plain number; None for "none".

    Raises:
        InputError: anything else.
    """
    if text.strip().lower() == "none":
        return None
    scale = {"K": 10**3, "M": 10**6, "G": 10**9}.get(text.strip()[-1:].upper(), 1)
    digits = text.strip() if scale == 1 else text.strip()[:-1]
    try:
        number = Decimal(digits)  # a float would lose digits, or overflow
    except InvalidOperation:
        number = Decimal(0)
    if number.is_finite() and number > LARGEST // scale:  # not yet a whole number: 1e999999999 would fill the memory
        raise InputError(
            f"search.budget is {_short(text)}", f"at most {LARGEST // 10**9:,}G MACs, or none", "search.budget=none"
        )
    macs = round(number * scale) if number.is_finite() else 0
    if macs < 1:
        raise InputError(
            f"search.budget is {_short(text)}", "a number above 0 with K, M or G for MACs, or none", "search.budget=3M"
        )
    return macs


def parse_override(text: str, section: str | None) -> tuple[tuple[str, ...], Any]:
    """One `key=value` of the command line as (path, value).

    Args:
        section: the verb's own section, in which a key without a dot is looked for first.

    Raises:
        InputError: no "=", or an unknown key.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key:
        instead = f"{text} before all key=value" if text.endswith(".toml") else f"{key or 'run'}=VALUE"
        raise InputError(f"argument {text!r}", "key=value, after at most one config file", instead)
    path = tuple(key.split("."))
    if path == ("data",):
        path = ("data", "name")
    if len(path) == 1 and section and path[0] in {f.name for f in dataclasses.fields(SECTIONS[section])}:
        path = (section, path[0])
    top = {f.name for f in dataclasses.fields(Config)} - set(SECTIONS)
    known = top | {f"{name}.{f.name}" for name, kind in SECTIONS.items() for f in dataclasses.fields(kind)}
    if ".".join(path) not in known:
        # A bare key of another section, or a misspelt one: offer the nearest full name, by its last part first.
        bare = [name for name in known if name.split(".")[-1] == key]
        raise unknown("key", key, bare or known, "{}=" + raw)
    kind = SECTIONS[path[0]] if len(path) == 2 else Config
    annotation = typing.get_type_hints(kind)[path[-1]]
    if annotation is str:
        return path, raw  # as typed: a digest such as 93e457123456 is no number
    if typing.get_origin(annotation) is tuple:  # a,b or ["a", "b"], with or without the quotes
        items = (item.strip(" \"'") for item in raw.strip("[] ").split(","))
        return path, [item for item in items if item]
    try:
        return path, tomllib.loads(f"value = {raw}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return path, raw


def load_config(
    file: str | Path | None, overrides: Iterable[str] = (), *, section: str | None = None, base: Config | None = None
) -> Config:
    """Defaults, or `base`, then the file, then the overrides.

    Raises:
        InputError: the file does not exist or is not TOML, or a key or value is wrong.
    """
    data = (base or Config()).to_dict()
    layers: list[tuple[tuple[str, ...], Any]] = []
    if file is not None:
        path = expanded(file)
        try:
            table = tomllib.loads(read_text(path))
        except (FileNotFoundError, IsADirectoryError):
            raise InputError(
                f"config file {file}", "an existing TOML file", "a key=value argument, or a path ending in .toml"
            ) from None
        except OSError as error:
            raise InputError(
                f"config file {file} cannot be read ({error.strerror})",
                "a file that you may read",
                "another config file",
            ) from None
        except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
            raise InputError(
                f"config file {file} is not TOML: {error}", "TOML, saved as UTF-8", f"mend {file}"
            ) from None
        try:
            _values(Config, table, "")
        except InputError as error:
            raise InputError(f"config file {file}: {error.given}", error.allowed, error.instead) from None
        for key, value in table.items():
            if key in SECTIONS:
                layers += [((key, name), item) for name, item in value.items()]
            else:
                layers.append(((key,), value))
    layers += [parse_override(text, section) for text in overrides]
    for path, value in layers:
        table = data
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value
    return config_from(data)


def describe() -> str:
    """Every key with its default, one a line, for `--help`."""
    lines = []
    for name, kind in {"": Config, **SECTIONS}.items():
        for item in dataclasses.fields(kind):
            if item.name in SECTIONS and kind is Config:
                continue
            lines.append(f"  {name + '.' if name else ''}{item.name}={typed(item.default)}")
    return "\n".join(lines)

"""Which networks a command is asked about: files, folders, papers' networks, models of timm, and members of a space.

    nas cost net/arch.json models/a05d4eb1136f transxnet_tiny timm/resnet50
    nas cost space=images32 sample=5 seed=0
    nas bench transxnet_tiny timm/resnet50 runtime=eager,compiled

Standard library only, so that wrong arguments are refused before torch is imported. `nas.networks.found` makes the networks.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from nas.config.keys import MOST, key
from nas.machine import cores
from nas.plugins.given import give
from nas.runtimes import Setting
from search_spaces.errors import InputError, quoted, unknown
from search_spaces.named import space_file, space_names
from search_spaces.textfiles import expanded

ALLOWED = "an arch.json, the folder of a network, a network of `nas models`, timm/NAME, or space=SPACE"
"""What can be asked about, for messages."""

MEMBERS = ("smallest", "largest")
MOST_DIGITS = 9
"""Of the number of a choice."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Options of every command about networks.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    space: str = key("", "members of this space: its name, or the path of a TOML file")
    sample: int = key(0, "number of members to draw at random from the space")
    seed: int = key(0, "seed of everything random; the same seed draws the same members")
    genes: tuple[str, ...] = key((), "one member of the space: the number of its choice for every gene, counted from 0")
    member: tuple[str, ...] = key(
        (), "smallest, largest or both: the members of the space with the fewest and the most MACs"
    )
    resolution: int = key(0, "side of the image in pixels; 0 is what each network is made for")
    plugins: tuple[str, ...] = key((), "modules to import first, whose parts and costs register themselves")

    def __post_init__(self) -> None:
        for name, most in (("sample", MOST["sample"]), ("resolution", 100_000), ("seed", MOST["seed"])):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {quoted(getattr(self, name))}", f"0 to {most:,}", f"{name}=5")
        for name in self.member:
            if name not in MEMBERS:
                raise unknown("member of a space:", name, MEMBERS, "member={}")
        if any(not text.isdecimal() or len(text) > MOST_DIGITS for text in self.genes):
            raise InputError(f"genes={quoted(','.join(self.genes))[1:-1]}", "whole numbers from 0 up", "genes=0,1,0")
        of_a_space = self.sample or self.genes or self.member
        if of_a_space and not self.space:
            raise InputError("sample, genes or member without a space", "space=SPACE beside them", "space=images32")
        if self.space:
            space_file(self.space)
            if not of_a_space:
                raise InputError(
                    f"space={self.space} without a choice of members",
                    "sample=N, genes=I,J,... or member=smallest,largest with it",
                    f"space={self.space} sample=5 seed=0",
                )


@dataclass(frozen=True, kw_only=True)
class Asked(Networks):
    """Options of `nas cost`. Raises as `Networks`."""

    counters: bool = key(True, "count MACs with fvcore and torch too, which runs each network once on the CPU")
    out: str = key("", "a .json or .csv file to write the numbers to")

    def __post_init__(self) -> None:
        Networks.__post_init__(self)
        if self.out and expanded(self.out).suffix not in (".json", ".csv"):
            raise InputError(f"out={self.out}", "a path that ends in .json or .csv", f"out={self.out}.csv")


@dataclass(frozen=True, kw_only=True)
class Timed(Networks):
    """Options of `nas bench`. Raises as `Networks`."""

    runtime: tuple[str, ...] = key(
        ("eager",), "what runs the networks: eager, compiled, onnx, or the dotted path of a runtime"
    )
    batch: tuple[str, ...] = key(("1", "32"), "images at once: 1 for latency, many for throughput")
    threads: int = key(1, "threads of torch and ONNX Runtime; 0 takes the number of cores")
    device: str = key("cpu", "cpu, or a torch device such as cuda:0")
    dtype: str = key("float32", "number format of weights and maps: float32, bfloat16 or float16")
    error: float = key(
        0.01, "measuring ends when half the width of every 95 % confidence interval is this share of its median"
    )
    seconds: float = key(300.0, "time limit: no round of measurements begins later; 0 for no limit")
    noisy: bool = key(False, "report times even if the machine is too noisy to be trusted; they are marked")
    out: str = key("", "a .csv file to write the times to, with the machine and the versions")

    def __post_init__(self) -> None:
        Networks.__post_init__(self)
        if self.out and expanded(self.out).suffix != ".csv":
            raise InputError(f"out={self.out}", "a path that ends in .csv", f"out={self.out}.csv")
        if not self.error < 1 or not self.error > 0:
            raise InputError(f"error is {self.error}", "above 0 and below 1: 0.01 is one per cent", "error=0.01")
        if not 0 <= self.seconds <= 1e9:
            raise InputError(f"seconds is {self.seconds}", "from 0 to 1e9", "seconds=300")
        for name in ("runtime", "batch"):
            values = getattr(self, name)
            if not values or len(set(values)) != len(values):
                raise InputError(
                    f"{name}={','.join(values)}",
                    "one or more, each once",
                    f"{name}={Timed.__dataclass_fields__[name].default[0]}",
                )
        for text in self.batch:
            if not text.isdecimal() or len(text) > 9:
                raise InputError(f"batch has {text!r}", "whole numbers from 1 up", "batch=1,32")
        self.settings()

    def settings(self) -> list[Setting]:
        """How each network is run: every runtime with every batch."""
        return [
            Setting(runtime, self.device, self.threads or cores(), int(batch), self.dtype)
            for runtime in self.runtime
            for batch in self.batch
        ]


A = TypeVar("A", bound=Networks)


@overload
def parse(arguments: Iterable[str], verb: str) -> tuple[tuple[str, ...], Asked]: ...
@overload
def parse(arguments: Iterable[str], verb: str, kind: type[A]) -> tuple[tuple[str, ...], A]: ...
def parse(arguments: Iterable[str], verb: str, kind: type[Networks] = Asked) -> tuple[tuple[str, ...], Networks]:
    """The names of networks and the options among the arguments of a command.

    Args:
        verb: of the command, for messages.
        kind: the options of the verb.

    Raises:
        InputError: nothing is asked about, or an option is unknown or has a value that cannot be used.
    """
    kinds = {field.name: field for field in dataclasses.fields(kind)}
    names: list[str] = []
    options: dict[str, Any] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if name in kinds and equals:
            options[name] = _value(name, text, kinds[name].default)
            give(name, options[name])
        elif equals and not expanded(word).exists():
            raise unknown(f"option of {verb}:", name, kinds, f"{{}}={text or 'VALUE'}")
        else:
            names.append(word)
    asked = kind(**options)
    if not names and not asked.space:
        raise InputError(f"nas {verb} is given no network", ALLOWED, f"nas {verb} space={space_names()[0]} sample=5")
    return tuple(names), asked


def _value(name: str, text: str, default: Any) -> Any:
    """Text of the command line as a value of the type of an option's default."""
    if isinstance(default, tuple):
        return tuple(item for item in (part.strip(" \"'") for part in text.strip("[] ").split(",")) if item)
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise InputError(f"{name} is {text!r}", "true or false", f"{name}=false")
        return text == "true"
    if isinstance(default, float):
        try:
            return float(text)
        except ValueError:
            raise InputError(f"{name} is {text!r}", "a number", f"{name}={default}") from None
    if isinstance(default, int):
        if not text.isdecimal() or len(text) > 18:
            raise InputError(f"{name} is {text!r}", "a whole number from 0 up", f"{name}={default or 5}")
        return int(text)
    return text

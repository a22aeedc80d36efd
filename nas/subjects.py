"""Which networks a command is asked about: files, folders, papers' networks, models of timm, and members of a space.

    nas cost net/arch.json models/a05d4eb1136f transxnet_tiny timm/resnet50
    nas cost space=images32 sample=5 seed=0

Standard library only, so that wrong arguments are refused before torch is imported. `nas.networks` makes the networks.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from nas.config import key
from search_spaces.errors import InputError, unknown
from search_spaces.named import space_file, space_names
from search_spaces.textfiles import expanded

ALLOWED = "an arch.json, the folder of a network, a network of `nas models`, timm/NAME, or space=SPACE"
"""What can be asked about, for messages."""

MEMBERS = ("smallest", "largest")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Options of a command about networks.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    space: str = key("", "members of this space: its name, or the path of a TOML file")
    sample: int = key(0, "of the space, this many members drawn at random")
    seed: int = key(0, "of the draw; the same seed gives the same members")
    genes: tuple[str, ...] = key((), "of the space, the member with these choices, counted from 0, one per gene")
    member: tuple[str, ...] = key((), "of the space, the smallest, the largest or both, by MACs")
    resolution: int = key(0, "side of the image in pixels; 0 is what each network is made for")
    counters: bool = key(True, "count MACs with fvcore and torch too, which runs each network once on the CPU")
    plugins: tuple[str, ...] = key((), "modules that register parts and costs of yours")
    out: str = key("", "a .json or .csv file to write the numbers to")

    def __post_init__(self) -> None:
        for name, most in (("sample", 1_000_000), ("resolution", 100_000)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}", f"0 to {most:,}", f"{name}=5")
        for name in self.member:
            if name not in MEMBERS:
                raise unknown("member of a space:", name, MEMBERS, "member={}")
        if any(not text.isdecimal() for text in self.genes):
            raise InputError(f"genes={','.join(self.genes)}", "whole numbers from 0 up", "genes=0,1,0")
        if self.out and expanded(self.out).suffix not in (".json", ".csv"):
            raise InputError(f"out={self.out}", "a path that ends in .json or .csv", f"out={self.out}.csv")
        of_a_space = self.sample or self.genes or self.member
        if of_a_space and not self.space:
            raise InputError("sample, genes or member without a space", "space=SPACE beside them", "space=images32")
        if self.space:
            space_file(self.space)
            if not of_a_space:
                raise InputError(
                    f"space={self.space} without a choice of members",
                    "sample=N, genes=I,J,... or member=smallest,largest beside it",
                    f"space={self.space} sample=5 seed=0",
                )


def parse(arguments: Iterable[str], verb: str) -> tuple[tuple[str, ...], Asked]:
    """The names of networks and the options among the arguments of a command.

    Args:
        verb: of the command, for messages.

    Raises:
        InputError: nothing is asked about, or an option is unknown or has a value that cannot be used.
    """
    kinds = {field.name: field for field in dataclasses.fields(Asked)}
    names: list[str] = []
    options: dict[str, Any] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if name in kinds and equals:
            options[name] = _value(name, text, kinds[name].default)
        elif equals and not expanded(word).exists():
            raise unknown(f"option of {verb}:", name, kinds, f"{{}}={text or 'VALUE'}")
        else:
            names.append(word)
    asked = Asked(**options)
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
    if isinstance(default, int):
        if not text.isdecimal() or len(text) > 18:
            raise InputError(f"{name} is {text!r}", "a whole number from 0 up", f"{name}={default or 5}")
        return int(text)
    return text

"""The options of `nas dense`. Standard library only."""

from dataclasses import dataclass

from nas.config.keys import key
from nas.config.options import options_of
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Options of `nas dense`.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    out: str = key("", "a .json or .csv file to write the numbers to")

    def __post_init__(self) -> None:
        if self.out and expanded(self.out).suffix not in (".json", ".csv"):
            raise InputError(f"out={self.out}", "a path that ends in .json or .csv", f"out={self.out}.csv")


def parse(arguments: list[str]) -> tuple[tuple[str, ...], Dense]:
    """The networks and the options of `nas dense`; without a network it is about the papers' tables.

    Raises:
        InputError: an option is unknown or has a wrong value.
    """
    asked, _, names = options_of(Dense, arguments, "dense")
    return tuple(names), asked

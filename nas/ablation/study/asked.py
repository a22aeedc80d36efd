"""What `nas study` is asked to compare, from a TOML file and the words of a command line. Standard library only."""

import dataclasses
import re
from dataclasses import dataclass

from nas.config import Config
from nas.config.keys import key
from nas.config.options import values_typed
from nas.config.parsing import load_config, read_table, values_of
from nas.goals.budget import Budget
from search_spaces.costs import BUILT_IN
from search_spaces.errors import InputError, quoted, unknown

LATENCY = "latency_ms"

MOST = 50
"""Winners of one search."""

EXAMPLE = 'budgets = ["macs=3.8M..4M", "latency_ms=3"]'


@dataclass(frozen=True, kw_only=True)
class Studied:
    """Options of `nas study` that are not those of its configuration.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    budgets: tuple[str, ...] = key(
        (),
        "what networks may cost, each with a comparison of its own: macs=3.8M..4M, or latency_ms=3 on this device. A range keeps winners, "
        "random networks and families at equal costs",
    )
    winners: int = key(3, "best networks of each search that are retrained, and random networks beside them")
    differ: float = key(
        0.25,
        "share of a winner's parts in which it differs from every better winner, from 0 to 1: the best networks of a search are often "
        "nearly the same, and three of them tell little more than one. 0 takes the best, even if they are",
    )
    families: tuple[str, ...] = key((), "the papers' families that are scaled to each budget; empty for all six")
    part: str = key(
        "test",
        "where networks are compared: test (read once, when everything is trained) or val (search-validation; the test images stay unread)",
    )
    noisy: bool = key(False, "use times even if the machine is too noisy to be trusted; the table says so")

    def __post_init__(self) -> None:
        if not 1 <= self.winners <= MOST:
            raise InputError(f"winners is {quoted(self.winners)}", f"1 to {MOST}", "winners=3")
        if not 0 <= self.differ <= 1:
            raise InputError(f"differ is {quoted(self.differ)}", "from 0 to 1", "differ=0.25")
        if self.part not in ("test", "val"):
            raise unknown("part", self.part, ("test", "val"), "part={}")
        if not self.budgets:
            raise InputError("nas study is given no budget", "one or more, each of one cost", EXAMPLE)
        titles = [title_of(found) for found in self.limits]
        for title in titles:
            if titles.count(title) > 1:
                raise InputError(f"two budgets are {title}", "each budget once", EXAMPLE)

    @property
    def limits(self) -> tuple[Budget, ...]:
        """The budgets, each of one cost with a limit from above.

        Raises:
            InputError: a budget is none.
        """
        found = []
        for text in self.budgets:
            budget = Budget.parse(text, "budgets")
            allowed = [*BUILT_IN, LATENCY]
            if len(budget.names) != 1 or budget.names[0] not in allowed or budget.limit(budget.names[0]) is None:
                raise InputError(
                    f"budgets has {text[:80]!r}", f"a limit on one of {', '.join(allowed)} in each", EXAMPLE
                )
            found.append(budget)
        return tuple(found)


def title_of(budget: Budget) -> str:
    """The name of a budget's folder and search."""
    [name] = budget.names
    return re.sub("[^A-Za-z0-9._=+-]+", "-", f"{name}={budget.spelt(name)}".replace("..", "to"))


def parse(arguments: list[str]) -> tuple[Studied, Config]:
    """What the words of the command ask for.

    Raises:
        InputError: no file, no budget, no folder, or an option that is unknown or has a wrong value.
    """
    if not arguments or not arguments[0].endswith(".toml") or "=" in arguments[0]:
        raise InputError("nas study is given no file", "a TOML file with budgets", "nas study study.toml")
    table, words = read_table(arguments[0]), arguments[1:]
    own = {entry.name for entry in dataclasses.fields(Studied)}
    mine = [word for word in words if word.partition("=")[0] in own]
    given = {name: table.pop(name) for name in own if name in table}
    asked = Studied(**(values_of(Studied, given, "") | values_typed(Studied, mine)))
    config = load_config(table, [word for word in words if word not in mine], own=own)
    if "run" not in table and not any(word.startswith("run=") for word in words):
        raise InputError("nas study is given no folder", "run=FOLDER, which gets its results", "run=runs/study")
    typed = {word.partition("=")[0] for word in words}
    for name in ("budget", "name", "profiles"):
        if name in table.get("search", {}) or f"search.{name}" in typed or (name == "name" and "search" in typed):
            raise InputError(
                f"search.{name} is given, and a study has a search for each of its budgets",
                "the other keys of search",
                EXAMPLE,
            )
    if config.retrain.references:
        raise InputError("retrain.references in a study", "the papers' families", "nas ablate for models of timm")
    return asked, config

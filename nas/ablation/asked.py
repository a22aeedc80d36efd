"""Which rows an ablation has, and how they are trained, from a TOML file and the words of a command line. Standard library only."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.config import SECTIONS, Config
from nas.config.keys import at_least, key
from nas.config.options import values_typed
from nas.config.parsing import load_config, read_table, values_of
from search_spaces.errors import InputError, quoted, unknown
from search_spaces.named import space_file
from search_spaces.textfiles import expanded

ALLOWED = "an arch.json, the folder of a network, a network of `nas models`, timm/NAME, space=SPACE, or a TOML file with [rows]"
"""What can be a row, for messages."""

MOST_ROWS = 200
"""Rows of a table that somebody reads."""

MEMBERS = ("smallest", "largest")


@dataclass(frozen=True, kw_only=True)
class Ablated:
    """Options of `nas ablate` that are not those of its configuration.

    Raises:
        InputError: an option has a value that cannot be used.
    """

    part: str = key(
        "test",
        "where networks are scored: test (read once for each trained network, at its end) or val (search-validation; the test images stay unread, "
        "and the same command with part=test reads them later)",
    )
    against: str = key("", "the row that the others are compared with; empty for the first")
    base: str = key("", "the network that the rows of a file change")
    space: str = key("", "members of this space as rows: its name, or the path of a TOML file")
    sample: int = key(0, "number of members to draw at random from the space; 0 for all of a small space")
    member: tuple[str, ...] = key(
        (), "smallest, largest or both instead: the members with the fewest and the most MACs"
    )

    def __post_init__(self) -> None:
        at_least(self, sample=0)
        if self.part not in ("test", "val"):
            raise unknown("part", self.part, ("test", "val"), "part={}")
        for name in self.member:
            if name not in MEMBERS:
                raise unknown("member of a space:", name, MEMBERS, "member={}")
        if self.sample > MOST_ROWS:
            raise InputError(f"sample is {self.sample}", f"0 to {MOST_ROWS}", "sample=5")
        if self.space:
            space_file(self.space)
        elif self.sample or self.member:
            raise InputError(
                "sample or member without a space", "space=SPACE beside them", "space=transxnet_ratio_tied"
            )

    @property
    def reads_test(self) -> bool:
        return self.part == "test"


@dataclass(frozen=True)
class RowText:
    """A row as it was asked for.

    Args:
        name: in the table.
        network: what it starts from, as a user calls it.
        changes: see `nas.ablation.changes`.
    """

    name: str
    network: str
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """What `nas ablate` is asked to do.

    Args:
        rows: those that were written; the members of a space come behind them.
        config: its data, its recipe and where it works.
    """

    rows: tuple[RowText, ...]
    options: Ablated
    config: Config


def parse(arguments: list[str]) -> Asked:
    """What the words of the command ask for.

    Raises:
        InputError: no row, two of one name, no folder, or an option that is unknown or has a wrong value.
    """
    table, words = {}, list(arguments)
    if words and words[0].endswith(".toml") and "=" not in words[0]:
        table = read_table(words.pop(0))
    own = {entry.name: entry for entry in dataclasses.fields(Ablated)}
    typed = [word for word in words if word.partition("=")[0] in own and "=" in word]
    names = [word for word in words if "=" not in word or expanded(word).exists()]
    others = [word for word in words if word not in typed and word not in names]
    given = {name: table.pop(name) for name in [*own, "rows"] if name in table}
    rows = given.pop("rows", {})
    asked = Ablated(**(values_of(Ablated, given, "") | values_typed(Ablated, typed)))
    _check_tables(table)
    config = load_config(table, others, section="retrain", own=own)
    if "run" not in table and not any(word.startswith("run=") for word in others):
        raise InputError("nas ablate is given no folder", "run=FOLDER, which gets its results", "run=runs/ablation")
    if config.retrain.references:
        raise InputError("retrain.references beside rows", "timm/NAME as a row", "nas ablate timm/resnet18 ...")
    found = _rows(rows, asked.base) + [RowText(name, name) for name in names]
    if not found and not asked.space:
        raise InputError(
            "nas ablate is given no row", ALLOWED, "nas ablate mat_1 hat_net_tiny data=digits run=runs/ablation"
        )
    _check_names([row.name for row in found])
    return Asked(tuple(found), asked, config)


def _check_tables(table: Mapping[str, Any]) -> None:
    """
    Raises:
        InputError: a file has a table, such as [[row]], that is neither of rows nor a section of the configuration.
    """
    for name, value in table.items():
        if name not in Config.__dataclass_fields__ and isinstance(value, Mapping | list):
            raise InputError(
                f"{quoted(name)} is no table of nas ablate",
                f"[rows.NAME] for each row, and {', '.join(f'[{section}]' for section in SECTIONS)}",
                '[rows."ratio 0.25"], with network = "NETWORK" and the choices that differ from it',
            )


def _rows(rows: Any, base: str) -> list[RowText]:
    if not isinstance(rows, Mapping):
        raise InputError(f"rows are {str(rows)[:80]!r}", "a table for each row", '[rows."ratio 0.25"]')
    found = []
    for name, table in rows.items():
        if not isinstance(table, Mapping):
            raise InputError(f"row {name!r} is {str(table)[:80]!r}", "a table of changes", f'[rows."{name}"]')
        network = table.get("network", base)
        if not isinstance(network, str) or not network:
            raise InputError(
                f"row {name!r} starts from no network",
                'base = "NETWORK" for all rows, or network = "NETWORK" in the row',
                'base = "transxnet_tiny"',
            )
        found.append(RowText(name, network, {key: value for key, value in table.items() if key != "network"}))
    return found


def _check_names(names: list[str]) -> None:
    """
    Raises:
        InputError: too many rows, an empty name, one that is used twice, or one that no line of a table can hold.
    """
    if len(names) > MOST_ROWS:
        raise InputError(f"there are {len(names)} rows", f"at most {MOST_ROWS}", "fewer rows, or nas search")
    for name in names:
        if not name.strip() or not name.isprintable() or len(name) > 200:
            raise InputError(
                f"a row is called {name[:80]!r}", "1 to 200 characters that can be printed", '[rows."ratio 0.25"]'
            )
        if names.count(name) > 1:
            raise InputError(
                f"two rows are called {name!r}", "a name of its own for each row", "another name for one of them"
            )

"""What a search optimises: one to four of top1 (up), loss (down) and any costs (down). Standard library only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError

SCORES = ("top1", "loss")
"""Objectives that are measured on images; every other is a cost."""

MOST = 4
"""Objectives at once."""


class Scored(Protocol):
    """What objectives are read from."""

    @property
    def top1(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def costs(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True)
class Objective:
    """One quantity and its direction."""

    name: str

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return self.name == "top1"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """As Optuna calls it."""
        return "maximize" if self.up else "minimize"

    @property
    def is_cost(self) -> bool:
        return self.name not in SCORES

    def of(self, scored: Scored) -> float | None:
        """The value, or None where a cost is not known."""
        return scored.costs.get(self.name) if self.is_cost else getattr(scored, self.name)


def parse_objectives(names: Sequence[str], key: str = "search.objectives") -> tuple[Objective, ...]:
    """
    Raises:
        InputError: none, more than four, one twice, or no quality among them. Whether there is a cost of such a name is checked
            where costs are known.
    """
    names = tuple(name.strip().lower() for name in names)
    if not 1 <= len(names) <= MOST or len(set(names)) != len(names) or not all(map(is_cost_name, names)):
        raise InputError(
            f"{key} are {list(names)}",
            f"one to {MOST} of {', '.join(SCORES)} and any costs, each once",
            f"{key}=top1,macs",
        )
    if not set(names) & set(SCORES):
        raise InputError(
            f"{key} are {list(names)}",
            f"{' or '.join(SCORES)} among them: costs alone need no search",
            f"{key}=top1,{names[0]}",
        )
    return tuple(map(Objective, names))


def principal_cost(objectives: Sequence[Objective]) -> str:
    """The cost that stands for "large" and "small": the first among the objectives, else MACs."""
    return next((objective.name for objective in objectives if objective.is_cost), "macs")

"""The rows of an ablation as a paper prints them: mean and standard deviation over the seeds, and the difference to one row."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.ablation.rows import Row
from nas.ablation.training import Result
from nas.reporting.words import listed


@dataclass(frozen=True)
class Spread:
    """A mean of numbers and their standard deviation (n - 1); None of a single one."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Spread":
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)

    def percent(self, sign: str = "") -> str:
        """In per cent with two decimals, such as 83.21 ± 0.35."""
        spread = "" if self.std is None else f" ± {100 * self.std:.2f}"
        return f"{100 * self.mean:{sign}.2f}{spread}"


@dataclass(frozen=True)
class Line:
    """A row of the table.

    Args:
        seeds: that are trained, ascending.
        top1: of each, in [0, 1], on the part that the table is about.
        difference: to the row that others are compared with, over the seeds that both have; None of that row, and where no seed is common.
    """

    row: Row
    seeds: tuple[int, ...]
    top1: tuple[float, ...]
    difference: Spread | None

    @property
    def spread(self) -> Spread:
        return Spread.of(self.top1)


def lines_of(
    rows: Sequence[Row], results: Mapping[tuple[str, int], Result], seeds: int, part: str, against: str = ""
) -> list[Line]:
    """The table of the rows that are trained, in their order.

    Args:
        results: by row and seed.
        seeds: how many of each are asked for.
        part: "test" or "val".
        against: the row that others are compared with; empty for the first.
    """
    found: list[Line] = []
    by_row: dict[str, dict[int, float]] = {}
    for row in rows:
        scores = {seed: _score(results.get((row.name, seed)), part) for seed in range(seeds)}
        by_row[row.name] = {seed: score for seed, score in scores.items() if score is not None}
    reference = against or rows[0].name
    first = by_row[reference]
    for row in rows:
        own = by_row[row.name]
        if not own:
            continue
        common = [own[seed] - first[seed] for seed in own if seed in first]
        difference = Spread.of(common) if common and row.name != reference else None
        found.append(Line(row, tuple(own), tuple(own.values()), difference))
    return found


def _score(result: Result | None, part: str) -> float | None:
    if result is None:
        return None
    return result.test_top1 if part == "test" else result.validation_top1


def said_of_guessing(scores: Mapping[str, Mapping[int, float]], labels: Sequence[int], warm_up: str) -> str:
    """Which trained networks are no better than one answer for all images, as far as the images tell, in a sentence; empty without any.

    Empty, too, where so few images were scored, or so many of one class, that the best network could not be told from a guess.

    Args:
        scores: top-1 in [0, 1] by network and seed.
        labels: of the images that were scored.
        warm_up: the key of the recipe's warm-up, as it is typed here.
    """
    share = max(Counter(labels).values()) / len(labels)
    most = share + 3 * math.sqrt(share * (1 - share) / len(labels))  # three standard errors of a guess
    found = {name: [seed for seed, score in own.items() if score <= most] for name, own in scores.items()}
    words = [f"{name} with {_seeds(seeds)}" for name, seeds in found.items() if seeds]
    if not words or most >= 1:
        return ""
    return (
        f"No better than guessing, as far as {len(labels):,} images tell (at most {100 * most:.1f} %): {'; '.join(words)}. Where a network has not begun "
        f"to learn, its top-1 says more of the recipe than of the network. A longer warm-up for all ({warm_up}), more epochs or another rate may help, in a new folder (run=FOLDER)."
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {listed(map(str, seeds))}"


HEADINGS = ("row", "params M", "MACs M", "top-1 %", "difference", "seeds")


def cells(line: Line) -> tuple[str, ...]:
    """A row as text, under `HEADINGS`."""
    costs = line.row.costs
    return (
        line.row.name, f"{costs['params'] / 1e6:,.3f}", f"{costs['macs'] / 1e6:,.2f}", line.spread.percent(),
        "" if line.difference is None else line.difference.percent("+"), str(len(line.seeds)),
    )  # fmt: skip

"""The comparison as text for a terminal, and as study.csv and study.md with their conditions."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.ablation.study.networks import KINDS
from nas.ablation.study.table import Entry, ranking, verdicts
from nas.ablation.table import Spread
from nas.ablation.writing import cell
from nas.runs.store import RunStore, as_bytes
from nas.runs.tables import csv_text

FILES = ("study.csv", "study.md")

HEADINGS = ("network", "kind", "params M", "MACs M", "ms", "inherited %", "val top-1 %", "test top-1 %", "seeds")

LEGEND = (
    "top-1: mean ± standard deviation (n - 1) over the seeds. inherited: top-1 on search-validation with the supernet's weights. ms: median latency as the conditions say. Differences: in percentage points of top-1, mean ± standard "
    "deviation of the differences at equal seeds; beyond the spread means that the mean is larger than that deviation. The best winner, the best family "
    "and the best random network are chosen on search-validation after retraining."
)


@dataclass(frozen=True)
class Comparison:
    """The networks under one budget.

    Args:
        title: the budget.
        part: where they are compared: "test" or "val".
        noisy: whether latencies are of a noisy machine.
        conditions: what a reader has to know of how the numbers came about.
        guessing: which networks are no better than guessing, in a sentence; empty without any.
    """

    title: str
    part: str
    entries: Sequence[Entry]
    noisy: bool
    conditions: dict[str, str]
    guessing: str = ""

    @property
    def words(self) -> list[str]:
        """What the comparison says, in lines: the verdicts, how far the supernet is to be trusted, and which networks tell nothing."""
        tau, count = ranking(self.entries)
        ranks = (
            f"Kendall's tau between inherited and retrained top-1 of the {count} networks of the space: {tau:.2f}, both on search-validation; "
            "1 if the supernet ranked them as retraining does"
        )
        return [
            *(verdict.words() for verdict in verdicts(self.entries, self.part)),
            ranks,
            *filter(None, [self.guessing]),
        ]


def text(comparison: Comparison) -> list[str]:
    """Aligned lines for a terminal, and the verdicts."""
    rows = [HEADINGS, *map(cells, comparison.entries)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(word.rjust(width) if column > 1 else word.ljust(width) for column, (word, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    return [
        f"\n{comparison.title}", lines[0].rstrip(), "-" * max(map(len, lines)), *(line.rstrip() for line in lines[1:]), "",
        *comparison.words,
    ]  # fmt: skip


def cells(entry: Entry) -> tuple[str, ...]:
    """A row as text, under `HEADINGS`."""
    return (
        entry.name, entry.kind, f"{entry.costs['params'] / 1e6:,.3f}", f"{entry.costs['macs'] / 1e6:,.2f}",
        "" if entry.ms is None else f"{entry.ms:.2f}", "" if entry.inherited is None else f"{100 * entry.inherited:.2f}",
        _percent(entry.validation), _percent(entry.test), str(len(entry.validation)),
    )  # fmt: skip


def _percent(by_seed: Mapping[int, float]) -> str:
    return Spread.of(list(by_seed.values())).percent() if by_seed else ""


def write(store: RunStore, comparisons: Sequence[Comparison]) -> list[Path]:
    """Writes the files into the folder of the study, all of them or none.

    Returns:
        Their paths.
    """
    made = (_csv(comparisons), _markdown(comparisons))
    return store.write_together({name: as_bytes(text) for name, text in zip(FILES, made, strict=True)})


def _csv(comparisons: Sequence[Comparison]) -> str:
    """A line for each network under each budget; the conditions in columns behind."""
    return csv_text(_row(comparison, entry) for comparison in comparisons for entry in comparison.entries)


def _row(comparison: Comparison, entry: Entry) -> dict[str, object]:
    return {
        "budget": comparison.title, "network": entry.name, "kind": entry.kind, "digest": entry.digest, **entry.costs,
        "latency_ms": entry.ms, "latency_noisy": "" if entry.ms is None else str(comparison.noisy).lower(),
        "inherited_validation_top1": entry.inherited, **_columns("validation", entry.validation), **_columns("test", entry.test), **comparison.conditions,
    }  # fmt: skip


def _columns(part: str, by_seed: Mapping[int, float]) -> dict[str, object]:
    values = list(by_seed.values())
    return {
        f"{part}_top1_mean": statistics.fmean(values) if values else None,
        f"{part}_top1_std": statistics.stdev(values) if len(values) > 1 else None,
        f"{part}_top1_by_seed": " ".join(f"{seed}:{score!r}" for seed, score in by_seed.items()),
    }


def _markdown(comparisons: Sequence[Comparison]) -> str:
    found = ["# Searched winners, scaled families, random networks and the fixed ratio", ""]
    for comparison in comparisons:
        found += [f"## {cell(comparison.title)}", ""]
        rule = tuple("---" if column < 2 else "---:" for column in range(len(HEADINGS)))
        found += [f"| {' | '.join(row)} |" for row in (HEADINGS, rule)]
        found += [f"| {' | '.join(map(cell, cells(entry)))} |" for entry in comparison.entries]
        found += ["", *(f"- {cell(line)}" for line in comparison.words), ""]
        if comparison.noisy:
            found += ["The machine was noisy while latencies were measured, and they are not to be relied on.", ""]
        found += ["Conditions:", "", *(f"- {key}: {cell(value)}" for key, value in comparison.conditions.items()), ""]
    found += [LEGEND, "", *(f"- {kind}: {meaning}." for kind, meaning in KINDS.items())]
    return "\n".join(found) + "\n"

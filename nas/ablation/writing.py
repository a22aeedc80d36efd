"""The table of an ablation as text for a terminal, and as ablation.csv, ablation.md and ablation.html with its conditions."""

from collections.abc import Sequence
from pathlib import Path

from nas.ablation.folder import Ablation
from nas.ablation.table import HEADINGS, Line, cells, said_of_guessing
from nas.config.keys import typed
from nas.reporting.markup import Html, h, join
from nas.runs.settings import RETRAIN_FREE, kept
from nas.runs.store import as_bytes
from nas.runs.tables import csv_text

FILES = ("ablation.csv", "ablation.md", "ablation.html")

LEGEND = (
    "top-1: mean ± standard deviation (n - 1) over the seeds. difference: to the first row, or to that of against=ROW, in percentage points: mean ± standard deviation of "
    "the differences at equal seeds, which share their images, their order and their augmentation. params and MACs: for one image."
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ccc}"
    "td:first-child,th:first-child{text-align:left}"
)


def text(lines: Sequence[Line]) -> list[str]:
    """Aligned lines for a terminal."""
    rows = [HEADINGS, *map(cells, lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    found = [
        "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    return [found[0], "-" * max(map(len, found)), *found[1:]]


def notes(ablation: Ablation, lines: Sequence[Line], part: str) -> list[str]:
    """What is said below the table."""
    scores = {line.row.name: dict(zip(line.seeds, line.top1, strict=True)) for line in lines}
    guessing = said_of_guessing(scores, ablation.labels(part), "warmup_epochs")
    return [*filter(None, [guessing]), LEGEND]


def conditions(ablation: Ablation, part: str, seeds: int) -> dict[str, str]:
    """What a reader has to know of how the numbers came about."""
    about, data, split = ablation.about, ablation.config.data, ablation.split
    recipe = {key: value for key, value in kept(ablation.config.retrain).items() if key not in RETRAIN_FREE}
    read = (
        "test, read once for each trained network"
        if part == "test"
        else "search-validation; the test images are unread"
    )
    sizes = ", ".join(f"{len(ids):,} {name}" for name, ids in split.parts.items())
    return {
        "data": f"{data.name} at {data.resolution} pixels, {len(split.classes)} classes, augmentation {data.augment}",
        "images": sizes,
        "split": split.digest,
        "scored on": read,
        "seeds": f"{seeds} (0 to {seeds - 1}), seed of the split {ablation.config.seed}",
        "recipe": ", ".join(f"{key}={typed(value)}" for key, value in recipe.items()),
        "machine": f"{about['machine']['cpu']}, {about['machine']['cores']} cores; one thread for each network; device {ablation.device}",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "commit": about["commit"] or "not recorded",
        "command": " ".join(about["command"]),
    }


def write(ablation: Ablation, lines: Sequence[Line], part: str, seeds: int) -> list[Path]:
    """Writes the three files into the folder, all of them or none.

    Returns:
        Their paths.
    """
    store, about, below = ablation.store, conditions(ablation, part, seeds), notes(ablation, lines, part)
    makers = (_csv(lines, about), _markdown(lines, below, about), _html(lines, below, about))
    return store.write_together({name: as_bytes(made) for name, made in zip(FILES, makers, strict=True)})


def _csv(lines: Sequence[Line], about: dict[str, str]) -> str:
    """A line for each row: its costs, mean and spread, and the top-1 of every seed; the conditions in columns behind."""
    rows = []
    for line in lines:
        difference = line.difference
        rows.append(
            {
                "row": line.row.name, "network": line.row.identity, **line.row.costs, "top1_mean": line.spread.mean, "top1_std": line.spread.std,
                "difference_mean": difference.mean if difference else None, "difference_std": difference.std if difference else None,
                "trained_seeds": " ".join(map(str, line.seeds)), "top1_by_seed": " ".join(map(repr, line.top1)), **about,
            }
        )  # fmt: skip
    return csv_text(rows)


def cell(value: str) -> str:
    """Text that is one cell of a Markdown table and no markup."""
    for sign in "\\`*_[]<>|":
        value = value.replace(sign, f"\\{sign}")
    return value


def _markdown(lines: Sequence[Line], below: Sequence[str], about: dict[str, str]) -> str:
    rows = [HEADINGS, tuple("---" if not column else "---:" for column in range(len(HEADINGS)))]
    found = [f"| {' | '.join(row)} |" for row in rows]
    found += [f"| {' | '.join(map(cell, cells(line)))} |" for line in lines]
    found += [text for note in below for text in ("", cell(note))]
    found += ["", *(f"- {key}: {cell(value)}" for key, value in about.items())]
    return "\n".join(found) + "\n"


def _html(lines: Sequence[Line], below: Sequence[str], about: dict[str, str]) -> str:
    head = h("tr", *(h("th", heading) for heading in HEADINGS))
    body = [h("tr", *(h("td", cell) for cell in cells(line))) for line in lines]
    listed = h("ul", *(h("li", h("b", key), f": {value}") for key, value in about.items()))
    table = h("table", h("thead", head), h("tbody", *body))
    page = join([h("h1", "Ablation"), table, *(h("p", note) for note in below), listed])
    top = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f'<!doctype html>\n<html lang="en"><head>{top}<title>Ablation</title><style>{_STYLE}</style></head>{h("body", Html(page))}</html>\n'

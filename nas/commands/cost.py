"""`nas cost WHAT...`: parameters, MACs, activations and memory of any network, and MACs by other counters beside ours."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas.log import Progress, say
from nas.networks.asked import Asked
from nas.networks.counters import INSTALL, Count, Difference, differences, fvcore_count, torch_count
from nas.networks.found import Subject, subjects
from nas.runs.outputs import check_out, write_out
from nas.runs.tables import csv_text
from search_spaces.costs import BUILT_IN, cost_names, costs_of, pieces
from search_spaces.costs.operators import meta
from search_spaces.reparameterisation import reparameterised


@dataclass(frozen=True)
class Costing:
    """The costs of one network.

    Args:
        costs: by name; of a network of this project also those that plugins registered.
        ours: MACs by this project's rules.
        others: by the counters that ran, "fvcore" and "torch".
        failed: by counter, why it gave no count.
    """

    subject: Subject
    costs: dict[str, float]
    ours: Count
    others: dict[str, Count] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def differences(self) -> list[Difference]:
        """Where other counters disagree with ours."""
        return [gap for name, count in self.others.items() for gap in differences(self.ours, count, name)]

    @property
    def notes(self) -> list[str]:
        """Remarks on the numbers, one sentence each."""
        found = [f"{name} gave no count: {why}" for name, why in self.failed.items()]
        if self.ours.borrowed:
            words = ", ".join(f"{operator} ({macs:,})" for operator, macs in sorted(self.ours.borrowed.items()))
            found.append(f"operators that this project has no rule for were counted by torch's counter: {words}")
        arch = self.subject.arch
        if arch is not None and (merged := reparameterised(arch)) != arch:
            params, macs = pieces.cost(merged)
            found.append(f"with its parallel branches merged: {params:,} parameters, {macs:,} MACs")
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        digest = {} if self.subject.arch is None else {"digest": self.subject.arch.digest}
        return {
            "network": self.subject.name, **digest, "resolution": self.subject.resolution, **self.costs,
            **{f"macs_by_{name}": count.total for name, count in self.others.items()},
            "differences": [gap._asdict() for gap in self.differences],
            "notes": self.notes,
        }  # fmt: skip


def costing(subject: Subject, counters: bool = True) -> Costing:
    """Counts one network on the meta device, at its resolution.

    Args:
        counters: whether fvcore and torch count too. fvcore runs the network once on the CPU.

    Raises:
        InputError: the network does not run on images of its resolution.
    """
    network, costs, ours = subject.counted()
    if subject.arch is not None:
        costs |= costs_of(subject.arch, [name for name in cost_names() if name not in BUILT_IN])
    found = Costing(subject, costs, ours)
    if counters:
        _add_others(found, network, subject.size)
    return found


def _add_others(found: Costing, network: torch.nn.Module, size: Sequence[int]) -> None:
    found.others["torch"] = torch_count(network, meta(*size))
    try:
        count = fvcore_count(network, torch.zeros(*size))
    except MemoryError:
        raise
    except Exception as error:  # whatever tracing a model raises
        found.failed["fvcore"] = f"the network cannot be traced ({type(error).__name__})"
        return
    if count is None:
        found.failed["fvcore"] = f"it is not installed; {INSTALL}"
    else:
        found.others["fvcore"] = count


def cost(*names: str, asked: Asked | None = None) -> list[Costing]:
    """Prints what networks cost, and writes it to a file if asked to.

    Args:
        names: arch.json files, folders of networks, papers' networks, timm/NAME.
        asked: options, among them members of a space.

    Raises:
        InputError: there is no such network, or it cannot be counted. Nothing is written then.
    """
    asked = asked or Asked()
    if asked.out:
        check_out(asked.out)
    wanted = list(subjects(names, asked))
    progress = Progress("counting networks", len(wanted))
    found = []
    for done, subject in enumerate(wanted, 1):
        found.append(costing(subject, asked.counters))
        if len(wanted) > 1:
            progress.update(done)
    say("\n".join(table(found)))
    if asked.out:
        say(f"written to {_write(asked.out, found)}")
    return found


COUNTERS = ("fvcore", "torch")
UNITS = {"activations": "bytes", "memory": "bytes"}


def table(found: Sequence[Costing]) -> list[str]:
    """Lines: the numbers of each network, then where counters differ and by how much, then why and what else has to be known."""
    costs = list(dict.fromkeys(name for one in found for name in one.costs))
    counters = [name for name in COUNTERS if any(name in one.others for one in found)]
    heads = [f"{name} {UNITS[name]}" if name in UNITS else {"macs": "MACs"}.get(name, name) for name in costs]
    rows = [["network", "pixels", *heads, *(f"MACs by {name}" for name in counters)]]
    for one in found:
        numbers = [f"{one.costs[name]:,}" if name in one.costs else "-" for name in costs]
        counts = [f"{one.others[name].total:,}" if name in one.others else "-" for name in counters]
        rows.append([one.subject.name, str(one.subject.resolution), *numbers, *counts])
    lines = _aligned(rows)
    lines.insert(1, "-" * len(lines[0]))
    gaps: dict[str, list[str]] = {}  # by reason, the kinds of operators
    rows = []
    for one in found:
        for name, count in one.others.items():
            own = [gap for gap in one.differences if gap.counter == name]
            if own:
                parts = ", ".join(f"{gap.kind} {gap.theirs - gap.ours:+,}" for gap in own)
                rows.append([one.subject.name, f"{name} {count.total - one.ours.total:+,}", f" {parts}"])
            for gap in own:
                gaps.setdefault(gap.why, []).append(gap.kind)
    if rows:
        lines += ["", "where other counters differ, in MACs:", *_aligned(rows, left=(0, 2))]
        lines += ["", "because:", *(f"  {why} ({', '.join(dict.fromkeys(kinds))})" for why, kinds in gaps.items())]
    notes: dict[str, list[str]] = {}
    for one in found:
        for note in one.notes:
            notes.setdefault(note, []).append(one.subject.name)
    return lines + [""] * bool(notes) + [f"* {', '.join(names)}: {note}" for note, names in notes.items()]


def _aligned(rows: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)) -> list[str]:
    """Rows as lines whose columns are aligned, numbers to the right and the columns `left` to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _write(path: str, found: Iterable[Costing]) -> str:
    rows = [one.to_dict() for one in found]
    if Path(path).suffix == ".json":
        text = json.dumps(rows, indent=1) + "\n"
    else:
        text = csv_text({k: v for k, v in row.items() if k not in ("differences", "notes")} for row in rows)
    return str(write_out(path, text))

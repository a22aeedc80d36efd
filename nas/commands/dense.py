"""`nas dense`: the papers' tables of detectors, segmenters and keypoint estimators, printed and counted; or any network under those heads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.downstream.asked import Dense
from nas.downstream.counting import TASKS, dense_macs, dense_params
from nas.downstream.printed import PRINTED, Printed, cut_to, rounds_to
from nas.log import Progress, say
from nas.networks.asked import Networks
from nas.networks.found import subjects
from nas.runs.outputs import check_out, write_out
from nas.runs.tables import csv_text
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError
from search_spaces.papers import paper_network
from search_spaces.papers.partialformer import unread_queries
from search_spaces.registry import complete
from search_spaces.reparameterisation import reparameterised

NEAR = 0.01
"""Share of a printed figure within which a count is called near."""


@dataclass(frozen=True)
class Counted:
    """A network under a head.

    Args:
        network: its name, or that of a reading of a paper's network.
        params: of backbone and head.
        macs: for one image of `size`, as module hooks count.
    """

    network: str
    task: str
    size: tuple[int, int]
    params: int
    macs: int


@dataclass(frozen=True)
class Compared:
    """A printed row beside our counts, one for each reading of the network."""

    printed: Printed
    counted: tuple[Counted, ...]

    @property
    def params_met(self) -> bool:
        """Whether the parameters of a reading round to the printed figure."""
        return any(rounds_to(one.params / 1e6, self.printed.params) for one in self.counted)

    @property
    def macs_met(self) -> bool:
        """The same of GFLOPs; false where none are printed."""
        return bool(self.printed.macs) and any(rounds_to(one.macs / 1e9, self.printed.macs) for one in self.counted)

    @property
    def macs_near(self) -> bool:
        """Whether GFLOPs of a reading are within one per cent of the printed ones."""
        return bool(self.printed.macs) and any(
            abs(one.macs / 1e9 / float(self.printed.macs) - 1) <= NEAR for one in self.counted
        )

    @property
    def params_cut(self) -> bool:
        """Whether parameters are the printed ones with their other digits cut off instead of rounded."""
        return any(cut_to(one.params / 1e6, self.printed.params) for one in self.counted)

    @property
    def macs_cut(self) -> bool:
        """The same of GFLOPs."""
        return bool(self.printed.macs) and any(cut_to(one.macs / 1e9, self.printed.macs) for one in self.counted)

    @property
    def explained(self) -> bool:
        """Whether each figure is met, rounded or cut off."""
        return (self.params_met or self.params_cut) and (self.macs_met or self.macs_cut or not self.printed.macs)


def compare(printed: Printed) -> Compared:
    """Counts a row in the form that runs (parallel branches merged), with what a paper counts and nothing reads."""
    size = printed.size or TASKS[printed.task].size
    found = []
    for name in printed.readings:
        arch = paper_network(name).arch
        merged = reparameterised(complete(arch))
        unread = unread_queries(arch, *size) if name.startswith("partialformer") else 0
        macs = dense_macs(merged, printed.task, size) + unread
        found.append(Counted(name, printed.task, size, dense_params(merged, printed.task), macs))
    return Compared(printed, tuple(found))


def dense(*names: str, asked: Dense | None = None) -> list[Compared] | list[Counted]:
    """Prints the papers' tables beside our counts, or what networks cost under each head; writes them to a file if asked to.

    Args:
        names: networks of this project with maps at strides 4 to 32: arch.json files, folders, papers' networks. None for the tables.

    Raises:
        InputError: there is no such network, or it has no such maps. Nothing is written then.
    """
    asked = asked or Dense()
    if asked.out:
        check_out(asked.out)
    found: Any = _of_networks(names) if names else _of_papers()
    rows = [_row(one) for one in found]
    say("\n".join(_table(rows)))
    if not names:
        say("\n" + "\n".join(_summary(found)))
    say(
        "\nparams M and 10^9 MACs of backbone and head; MACs as hooks on modules count them, which is what the papers' tools do."
    )
    if asked.out:
        say(f"written to {_write(asked.out, found)}")
    return found


def _of_papers() -> list[Compared]:
    progress = Progress("counting rows", len(PRINTED))
    found = []
    for number, printed in enumerate(PRINTED, 1):
        found.append(compare(printed))
        progress.update(number)
    return found


def _of_networks(names: Sequence[str]) -> list[Counted]:
    found = []
    for subject in subjects(names, Networks()):
        if subject.arch is None:
            raise InputError(
                f"{subject.name} is no network of this project", "networks of this project", "nas dense transxnet_tiny"
            )
        merged = reparameterised(subject.arch)
        found += [_counted(subject.name, merged, task) for task in TASKS]
    return found


def _counted(name: str, arch: Architecture, task: str) -> Counted:
    try:
        return Counted(name, task, TASKS[task].size, dense_params(arch, task), dense_macs(arch, task))
    except InputError as error:
        raise InputError(f"{name}: {error.given}", error.allowed, error.instead) from None


HEADINGS = ("table", "task", "backbone", "image", "params M", "printed", "", "MACs G", "printed", "")


def _error(found: Sequence[float], printed: str) -> str:
    """How the nearest of our counts stands to a printed figure; empty where none is printed."""
    if not printed:
        return ""
    if any(rounds_to(number, printed) for number in found):
        return "met"
    if any(cut_to(number, printed) for number in found):
        return "cut"
    return f"{100 * min((number / float(printed) - 1 for number in found), key=abs):+.2f} %"


def _row(one: Compared | Counted) -> tuple[str, ...]:
    if isinstance(one, Counted):
        size = f"{one.size[0]} x {one.size[1]}"
        return (
            "",
            TASKS[one.task].title,
            one.network,
            size,
            f"{one.params / 1e6:.3f}",
            "",
            "",
            f"{one.macs / 1e9:.2f}",
            "",
            "",
        )
    printed, counted = one.printed, one.counted
    params_error = _error([reading.params / 1e6 for reading in counted], printed.params)
    macs_error = _error([reading.macs / 1e9 for reading in counted], printed.macs)
    return (
        printed.table, TASKS[printed.task].title, printed.network, f"{counted[0].size[0]} x {counted[0].size[1]}",
        " / ".join(f"{reading.params / 1e6:.3f}" for reading in counted), printed.params, params_error,
        " / ".join(f"{reading.macs / 1e9:.2f}" for reading in counted), printed.macs or "-", macs_error,
    )  # fmt: skip


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligned lines; columns that are empty throughout are left out."""
    kept = [column for column in range(len(HEADINGS)) if any(row[column] for row in rows)]
    cells = [tuple(row[column] for column in kept) for row in (HEADINGS, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if kept[place] < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _summary(found: Sequence[Compared]) -> list[str]:
    """Lines: how many figures are met, and why others are not."""
    printed = [one for one in found if one.printed.macs]
    lines = [
        f"{sum(one.params_met for one in found)} of {len(found)} printed parameters are met: ours round to the printed digits. Of {len(printed)} "
        f"printed GFLOPs {sum(one.macs_met for one in printed)} are met, and {sum(one.macs_near for one in printed)} are within 1 %.",
        f"cut: ours has the printed digits and others, which would round it up: {sum(one.params_cut and not one.params_met for one in found)} more "
        f"parameters and {sum(one.macs_cut and not one.macs_met for one in printed)} more GFLOPs.",
        "A PartialFormer is counted in both readings of what its text leaves open (nas models), and met where one of them is.",
    ]
    reasons: dict[str, list[str]] = {}
    for one in found:
        if not one.explained and one.printed.why:
            reasons.setdefault(one.printed.why, []).append(one.printed.table)
    return lines + [f"* {', '.join(dict.fromkeys(tables))}: {why}" for why, tables in reasons.items()]


def _plain(one: Compared | Counted) -> list[dict[str, Any]]:
    """Rows of a file, one for each reading."""
    if isinstance(one, Counted):
        return [_numbers(one)]
    printed = one.printed
    return [
        {
            "table": printed.table, **_numbers(reading), "printed_params_m": printed.params, "printed_gflops": printed.macs,
            "params_met": one.params_met, "gflops_met": one.macs_met, "params_cut": one.params_cut, "gflops_cut": one.macs_cut, "why": "" if one.explained else printed.why,
        }
        for reading in one.counted
    ]  # fmt: skip


def _numbers(one: Counted) -> dict[str, Any]:
    return {
        "task": one.task, "network": one.network, "height": one.size[0], "width": one.size[1], "params": one.params, "macs": one.macs,
    }  # fmt: skip


def _write(path: str, found: Sequence[Compared] | Sequence[Counted]) -> str:
    rows = [row for one in found for row in _plain(one)]
    text = json.dumps(rows, indent=1) + "\n" if Path(path).suffix == ".json" else csv_text(rows)
    return str(write_out(path, text))

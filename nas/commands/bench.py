"""`nas bench NETWORK...`: how long networks take, measured side by side in one run."""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nas import machine
from nas.log import Progress, say
from nas.machine import memory
from nas.measuring.fingerprint import fingerprint
from nas.measuring.noise import Measurement, measure
from nas.measuring.timing import Timing
from nas.networks.asked import Timed
from nas.networks.found import Subject, subjects
from nas.runs.outputs import check_out, write_out
from nas.runs.tables import csv_text
from nas.runtimes import Runtime, Setting, make_runtime
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Benched:
    """How long one network takes in one setting.

    Args:
        params, macs: of the network as it is trained, for one image; MACs by this project's conventions.
        timing: of one batch.
    """

    subject: Subject
    params: int
    macs: int
    setting: Setting
    timing: Timing

    @property
    def images_per_second(self) -> float:
        """Throughput."""
        return self.setting.batch / self.timing.ms * 1e3

    def to_dict(self) -> dict[str, Any]:
        """A row of the CSV file, without what is common to all rows."""
        timing = self.timing
        return {
            "network": self.subject.name,
            "digest": "" if self.subject.arch is None else self.subject.arch.digest,
            "params": self.params,
            "macs": self.macs,
            "resolution": self.subject.resolution,
            **self.setting.to_dict(),
            "ms": round(timing.ms, 6),
            "ms_low": round(timing.low, 6),
            "ms_high": round(timing.high, 6),
            "error": round(timing.error, 6),
            "spread": round(timing.spread, 4),
            "rounds": timing.rounds,
            "images_per_second": round(self.images_per_second, 3),
        }  # fmt: skip


def bench(*names: str, asked: Timed | None = None) -> list[Benched]:
    """Prints how long networks take, and writes it to a file if asked to.

    Args:
        names: arch.json files, folders of networks, papers' networks, timm/NAME.
        asked: options, among them members of a space.

    Returns:
        A row for each network, runtime and batch.

    Raises:
        InputError: there is no such network, or it cannot be run in this setting. Nothing is written then.
        NoisyMachine: something disturbs the machine. Nothing is written then, either.
    """
    asked = asked or Timed()
    runtimes = {name: make_runtime(name) for name in asked.runtime}
    settings = [runtimes[setting.runtime].settled(setting) for setting in asked.settings()]
    machine.prepare(settings[0].threads, settings[0].device)
    if asked.out:
        check_out(asked.out)
    wanted = list(subjects(names, asked))
    if asked.seconds and len(wanted) * len(settings) > 1:
        say(f"{len(wanted)} networks, each in {len(settings)} settings")
    found = measured(wanted, runtimes, settings, asked)
    say("\n".join(table(found.rows)))
    say("\n" + "\n".join(conditions(found, settings)))
    if asked.out:
        say(f"written to {_write(asked.out, found, settings)}")
    return found.rows


@dataclass(frozen=True)
class Benching:
    """All rows of a run, and how quiet the machine was."""

    rows: list[Benched]
    measurement: Measurement[tuple[int, Setting]]


def measured(
    wanted: Sequence[Subject], runtimes: dict[str, Runtime], settings: Sequence[Setting], asked: Timed
) -> Benching:
    """Prepares every network in every setting, then times them in common rounds."""
    runs: dict[tuple[int, Setting], Callable[[], object]] = {}
    counts: list[tuple[int, int]] = []
    progress = Progress("preparing", len(wanted) * len(settings))
    for number, subject in enumerate(wanted):
        network = _ready(subject)
        counts.append(_count(subject, network))
        for setting in settings:
            runs[number, setting] = _prepared(subject, network, runtimes[setting.runtime], setting, asked.seed)
            progress.update(len(runs))
    measurement = measure(
        runs,
        seed=asked.seed,
        error=asked.error,
        seconds=asked.seconds or None,
        noisy=asked.noisy,
        progress=Progress("rounds", 1),
    )
    rows = [
        Benched(wanted[number], *counts[number], setting, timing)
        for (number, setting), timing in measurement.timings.items()
    ]
    return Benching(rows, measurement)


def _ready(subject: Subject) -> nn.Module:
    """
    Raises:
        InputError: the network cannot be made, or its weights cannot be read.
    """
    try:
        return subject.ready()
    except InputError:
        raise
    except Exception as error:  # whatever the code of a model raises
        if memory.ran_out(error):
            raise InputError(
                f"there is not enough memory to make {subject.name}",
                "networks that fit into memory",
                "a smaller network",
            ) from None
        raise InputError(
            f"{subject.name} cannot be made ({_said(error)})",
            "networks that can be made without pretrained weights",
            f"nas cost {subject.name}, which needs no values",
        ) from error


def _said(error: BaseException) -> str:
    """The kind and the first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"


def _count(subject: Subject, network: nn.Module) -> tuple[int, int]:
    """Parameters and MACs.

    Raises:
        InputError: the network does not run on images of its resolution.
    """
    _, costs, _ = subject.counted(lambda: copy.deepcopy(network).to("meta"))
    return int(costs["params"]), int(costs["macs"])


def _prepared(
    subject: Subject, network: nn.Module, runtime: Runtime, setting: Setting, seed: int
) -> Callable[[], object]:
    """What runs a network, after it has run once.

    Raises:
        InputError: the runtime cannot run the network, or there is no memory for it; the network is named.
    """
    generator = torch.Generator().manual_seed(seed)
    size = (setting.batch, subject.in_channels, subject.resolution, subject.resolution)
    try:
        run = runtime.prepare(network, (torch.randn(size, generator=generator),), setting)
        run()
        return run
    except InputError as error:
        raise InputError(f"{subject.name}: {error.given}", error.allowed, error.instead) from error
    except Exception as error:  # whatever the code of a model or of a runtime raises
        if not memory.ran_out(error):
            raise InputError(
                f"{subject.name} does not run with runtime {setting.runtime} in {setting.dtype} on {setting.device} ({_said(error)})",
                "runtimes and types of numbers that have every operator of the network",
                "runtime=eager" if setting.dtype == "float32" else "dtype=float32",
            ) from error
        raise InputError(
            f"there is not enough memory to run {subject.name} on {setting.batch} images of {size[2]} x {size[3]} at once",
            "a batch that fits",
            f"batch={max(1, setting.batch // 2)}",
        ) from None


HEADINGS = ("network", "params M", "MACs M", "runtime", "batch", "ms", "95 % interval", "images/s")


def table(rows: Sequence[Benched]) -> list[str]:
    """Lines: a row for each network, runtime and batch, in aligned columns."""
    cells: list[tuple[str, ...]] = [HEADINGS]
    for row in rows:
        timing = row.timing
        digits = 3 if timing.ms < 10 else 2 if timing.ms < 100 else 1
        cells.append(
            (
                row.subject.name,
                f"{row.params / 1e6:,.3f}",
                f"{row.macs / 1e6:,.1f}",
                row.setting.runtime,
                str(row.setting.batch),
                f"{timing.ms:.{digits}f}",
                f"{timing.low:.{digits}f} to {timing.high:.{digits}f}",
                f"{row.images_per_second:,.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 3) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def conditions(found: Benching, settings: Sequence[Setting]) -> list[str]:
    """Lines: what the numbers are, what they were measured on, and whether the machine was quiet."""
    marks = [fingerprint(setting) for setting in settings]
    versions = {name: version for mark in marks for name, version in mark["versions"].items()}
    first = marks[0]
    place = first["gpu"] or f"{first['processor']}, {first['cores']} cores"
    timings = [row.timing for row in found.rows]
    noise = found.measurement.noise
    lines = [
        "ms: median of a batch; params and MACs: of the network as it is trained, for one image.",
        *_forms(found.rows),
        f"{place}; {first['threads']} thread{'s' * (first['threads'] > 1)}, {first['dtype']}, allocator {first['allocator']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"{min(t.rounds for t in timings)} to {max(t.rounds for t in timings)} rounds; largest error {max(t.error for t in timings):.1%}; "
        f"p90 / p50 {noise.spread:.2f}, drift {noise.drift:+.1%}, waiting for a core {noise.waiting:.0%} of the time",
    ]
    if hurry := noise.hurry():
        lines.append(hurry[0].upper() + hurry[1:] + ".")
    if found.measurement.noisy:
        lines.append(f"THE MACHINE WAS NOISY, and these times are not to be relied on: {'; '.join(noise.problems())}.")
    return lines


def _forms(rows: Sequence[Benched]) -> list[str]:
    """Lines: in which form the networks were timed."""
    ours = "timed in the form for inference: norms folded, branches merged, LayerScale folded"
    others = "timed as they come, in evaluation mode: only the runtime may fold their norms"
    kinds = {row.subject.arch is not None for row in rows}
    if len(kinds) == 2:
        return [f"Networks of this project are {ours}; models of timm are {others}."]
    return [f"The networks are {ours if True in kinds else others}."]


def _write(path: str, found: Benching, settings: Sequence[Setting]) -> Path:
    marks = {setting: fingerprint(setting) for setting in settings}
    noise = found.measurement.noise
    rows = []
    for row in found.rows:
        mark = marks[row.setting]
        own = row.to_dict()
        machine = {key: value for key, value in mark.items() if key not in own}
        machine |= {"flags": " ".join(mark["flags"]), "versions": json.dumps(mark["versions"])}
        rows.append(
            own
            | machine
            | {
                "noisy": str(found.measurement.noisy).lower(),
                "reference_spread": round(noise.spread, 4),
                "drift": round(noise.drift, 4),
                "waiting": round(noise.waiting, 4),
                "load": "" if noise.load is None else round(noise.load, 2),
            }
        )
    return write_out(path, csv_text(rows))

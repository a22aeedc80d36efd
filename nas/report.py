"""The report of a run, written from its folder alone: a page, a picture, two tables, and a text for the terminal.

    collect      run.json, evaluations.jsonl and retrained.jsonl as one value, with the front
    tables       front.csv and trials.csv; the text that `nas demo` ends with
    charts       one description of a chart, drawn twice: as SVG into the page, by matplotlib into front.png
    page         report.html: one file, no script, nothing loaded

Equal folders give equal bytes: there is no clock in any output. matplotlib and pandas are imported here, when first
needed, and nowhere else.
"""

import html
import io
import itertools
import json
import math
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from nas.config import parse_macs
from nas.pareto import front, hypervolume_curve
from nas.store import RunStore
from search_spaces.architecture import Architecture, Block, Part
from search_spaces.errors import InputError

ROLES = {
    "front": "no evaluated sub-network within the budget has fewer MACs and an equal or higher search-validation top-1",
    "random_best": "the best search-validation top-1 that random search found within the budget",
    "smallest": "the smallest network of the space",
    "hand_made": "a network drawn by hand",
    "largest": "the largest network of the space; the budget does not apply to it",
    "retrained": "retrained earlier; not on the front of the evaluations as they are now",
}
"""Why a network is in the report, in the order in which roles are printed."""

BASELINES = ("smallest", "hand_made", "largest")
"""Values of `sampler` in evaluations.jsonl that are no search: such networks are shown, and never enter a front."""

INITS = {"scratch": "fresh weights", "inherited": "weights extracted from the supernet"}
"""Where retraining starts from."""

_RETRAINED_COLUMNS = {
    "test_top1_mean": "mean test top-1 over the seeds, in [0, 1]",
    "test_top1_min": "lowest test top-1 of the seeds, in [0, 1]",
    "test_top1_max": "highest test top-1 of the seeds, in [0, 1]",
    "validation_top1_mean": "mean search-validation top-1 over the seeds, in [0, 1]",
    "seeds": "number of seeds",
}

FRONT_COLUMNS: dict[str, str] = {
    "digest": "first 12 hexadecimal digits of the SHA-256 of the architecture",
    "role": f"why the network is listed, joined by +: {', '.join(ROLES)}",
    "sampler": "what proposed the network first: a sampler, or the kind of baseline",
    "within_budget": "true if macs is no more than the budget, or if there is none",
    "macs": "fused multiply-adds of one image (the papers' FLOPs)",
    "params": "number of trainable parameters",
    "depth": "number of blocks in all stages",
    "depths": "blocks of each stage, joined by |",
    "widths": "channels of each stage, joined by |",
    "mixers": "token mixer of each block; blocks joined by a space, stages by |",
    "inherited_validation_top1": "search-validation top-1 with inherited weights, in [0, 1]; chose the front",
    "inherited_validation_loss": "search-validation cross-entropy with inherited weights, in nats",
    "validation_images": "search-validation images behind inherited_validation_top1",
    **{f"scratch_{name}": f"retrained from scratch: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    **{f"inherited_init_{name}": f"retrained from inherited: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    "test_images": "test images behind each test top-1",
}
"""Columns of front.csv, one row a reported network, and their meaning. A value that does not exist (yet) is empty."""

TRIAL_COLUMNS: dict[str, str] = {
    "n": "number of the evaluation in the run",
    "sampler": "what proposed the network: a sampler, or the kind of baseline",
    "trial": "number of the proposal of that sampler",
    "digest": FRONT_COLUMNS["digest"],
    "within_budget": FRONT_COLUMNS["within_budget"],
    "on_front": "true if this evaluation is on the front of all samplers",
    "on_sampler_front": "true if this evaluation is on the front of its own sampler",
    "macs": FRONT_COLUMNS["macs"],
    "params": FRONT_COLUMNS["params"],
    "depth": FRONT_COLUMNS["depth"],
    "depths": FRONT_COLUMNS["depths"],
    "widths": FRONT_COLUMNS["widths"],
    "mixers": FRONT_COLUMNS["mixers"],
    "top1": FRONT_COLUMNS["inherited_validation_top1"].split(";")[0],
    "loss": FRONT_COLUMNS["inherited_validation_loss"],
    "images": "search-validation images behind top1",
}
"""Columns of trials.csv, one row an evaluation, oldest first, and their meaning."""


# -------------------------------------------------------------------------------------------------------------- collect


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A line of evaluations.jsonl: a sub-network's search-validation score with inherited weights."""

    n: int
    sampler: str
    trial: int
    digest: str
    architecture: Architecture
    params: int
    macs: int
    top1: float
    loss: float
    images: int

    @property
    def error(self) -> float:
        """Binomial standard error of `top1`, in units of top-1."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.images)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """A line of retrained.jsonl: one network trained by itself, from one start, with one seed."""

    digest: str
    init: str
    seed: int
    architecture: Architecture
    params: int
    macs: int
    epochs: int
    validation_top1: float
    test_top1: float
    test_images: int


@dataclass(frozen=True, slots=True)
class Result:
    """The retrainings of one network from one start, by rising seed; there is at least one."""

    repeats: tuple[Retraining, ...]

    @property
    def tests(self) -> list[float]:
        return [repeat.test_top1 for repeat in self.repeats]

    @property
    def mean(self) -> float:
        """Mean test top-1 over the seeds."""
        return math.fsum(self.tests) / len(self.tests)

    @property
    def validation(self) -> float:
        """Mean search-validation top-1 over the seeds: what a choice between results may look at."""
        return math.fsum(repeat.validation_top1 for repeat in self.repeats) / len(self.repeats)

    @property
    def images(self) -> int:
        return self.repeats[0].test_images

    @property
    def error(self) -> float:
        """Binomial standard error of a test top-1 of `mean`, in units of top-1; seeds do not make it smaller."""
        return math.sqrt(self.mean * (1 - self.mean) / self.images)

    def __str__(self) -> str:
        if len(self.tests) == 1:
            return f"{self.mean:.3f} (1 seed)"
        return f"{self.mean:.3f} (mean of {len(self.tests)} seeds, {min(self.tests):.3f} to {max(self.tests):.3f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network that the report has a row for, with everything known about it.

    inherited: its evaluation, if it has one. results: per init that it was retrained from.
    """

    digest: str
    roles: tuple[str, ...]
    architecture: Architecture
    params: int
    macs: int
    inherited: Trial | None
    results: dict[str, Result]

    @property
    def on_front(self) -> bool:
        return "front" in self.roles


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a run found.

    run: run.json.
    budget: MACs, or None.
    trials: all evaluations, oldest first.
    candidates: per sampler (NSGA-II first), its evaluations, whether within the budget or not.
    fronts: per sampler, the front of its candidates within the budget.
    front: the front of all candidates within the budget, by rising MACs.
    networks: the front, then the baselines and the rest, by the order of `ROLES` and rising MACs.
    """

    run: Mapping[str, Any]
    budget: int | None
    trials: tuple[Trial, ...]
    candidates: dict[str, tuple[Trial, ...]]
    fronts: dict[str, tuple[Trial, ...]]
    front: tuple[Trial, ...]
    networks: tuple[Network, ...]

    def within(self, macs: int) -> bool:
        """Whether the budget allows so many MACs."""
        return self.budget is None or macs <= self.budget

    @property
    def inits(self) -> list[str]:
        """The starts that anything was retrained from."""
        return [init for init in INITS if any(init in network.results for network in self.networks)]

    @property
    def best(self) -> tuple[Network, str] | None:
        """The network of the front, and its init, that is best on validation after retraining. The test has no say."""
        choices = [(network, init) for network in self.networks if network.on_front for init in network.results]
        return max(choices, key=lambda choice: choice[0].results[choice[1]].validation, default=None)

    @property
    def title(self) -> str:
        return _plain(f"Space {self.run['space_name']}, data {self.run['config']['data']['name']}")


Record = TypeVar("Record", Trial, Retraining)


def _records(store: RunStore, name: str, kind: type[Record], known: dict[str, Architecture]) -> tuple[Record, ...]:
    """The lines of a file. Lines of one digest share one Architecture, kept in `known`."""
    found = []
    for number, line in enumerate(store.records(name), 1):
        try:
            if line["digest"] not in known:
                known[line["digest"]] = Architecture.from_dict(line["architecture"])
            values: dict[str, Any] = {field.name: line[field.name] for field in fields(kind)}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"line {number} of {store.path(name)} is not a record of this version (at {error})",
                "lines as nas wrote them",
                "a copy of the file, or a new folder: run=runs/new",
            ) from None
        values["architecture"] = known[line["digest"]]
        found.append(kind(**values))
    return tuple(found)


def _front(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    trials = tuple(trials)
    return tuple(trials[index] for index in front([(trial.macs, trial.top1) for trial in trials]))


def collect(store: RunStore) -> Findings:
    """Reads a run that has been searched; retraining may or may not have happened.

    Of several lines of retrained.jsonl with one digest, init and seed, the last counts.

    Raises:
        InputError: nothing has been evaluated yet, or a file is damaged.
    """
    run = store.read_json("run.json")
    known: dict[str, Architecture] = {}
    trials = _records(store, "evaluations.jsonl", Trial, known)
    if not trials:
        given = f"{store.folder} has no evaluations to report"
        raise InputError(given, "a run that has been searched", f"nas search run={store.folder}")
    retrained = {(r.digest, r.init, r.seed): r for r in _records(store, "retrained.jsonl", Retraining, known)}
    budget = parse_macs(run["config"]["search"]["budget"])

    samplers = sorted({t.sampler for t in trials} - set(BASELINES), key=lambda name: (name != "nsga2", name))
    candidates = {name: tuple(t for t in trials if t.sampler == name) for name in samplers}
    allowed = [t for t in trials if t.sampler in candidates and (budget is None or t.macs <= budget)]
    fronts = {name: _front(t for t in allowed if t.sampler == name) for name in samplers}
    whole = _front(allowed)

    roles: dict[str, set[str]] = {trial.digest: {"front"} for trial in whole}
    if fronts.get("random"):
        roles.setdefault(fronts["random"][-1].digest, set()).add("random_best")
    for trial in trials:
        if trial.sampler in BASELINES:
            roles.setdefault(trial.digest, set()).add(trial.sampler)
    for digest, _, _ in retrained:
        roles.setdefault(digest, {"retrained"})

    evaluated = {trial.digest: trial for trial in (*reversed(trials), *whole)}
    networks = []
    for digest, names in roles.items():
        own = sorted((r for r in retrained.values() if r.digest == digest), key=lambda r: r.seed)
        source = evaluated.get(digest) or own[0]
        networks.append(
            Network(
                digest=digest,
                roles=tuple(role for role in ROLES if role in names),
                architecture=source.architecture,
                params=source.params,
                macs=source.macs,
                inherited=evaluated.get(digest),
                results={init: Result(of) for init in INITS if (of := tuple(r for r in own if r.init == init))},
            )
        )
    networks.sort(key=lambda network: (list(ROLES).index(network.roles[0]), network.macs, network.digest))
    return Findings(
        run=run,
        budget=budget,
        trials=trials,
        candidates=candidates,
        fronts=fronts,
        front=whole,
        networks=tuple(networks),
    )


# --------------------------------------------------------------------------------------------------------------- tables


def _count(number: float) -> str:
    """Three significant digits with K, M or G: 847, 31.2K, 2.35M."""
    for scale, letter in ((10**9, "G"), (10**6, "M"), (10**3, "K")):
        value = number / scale
        if value >= 0.9995:
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{letter}"
    return f"{number:.0f}"


def _shape(arch: Architecture) -> dict[str, Any]:
    """The columns that describe an architecture."""
    return {
        "depth": arch.depth,
        "depths": "|".join(str(len(stage.blocks)) for stage in arch.stages),
        "widths": "|".join(str(stage.width) for stage in arch.stages),
        "mixers": "|".join(" ".join(block.mixer.name for block in stage.blocks) for stage in arch.stages),
    }


def _plain(text: str) -> str:
    """Text that UTF-8 can write: half of a surrogate pair, from a file name that is no UTF-8, becomes a question mark."""
    return text.encode(errors="replace").decode()


def _csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    import pandas as pd

    # Objects keep whole numbers whole beside empty cells, and floats print in full.
    table = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    return _plain(table.to_csv(index=False, lineterminator="\n"))


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _front_row(network: Network, found: Findings) -> dict[str, Any]:
    row: dict[str, Any] = {
        "digest": network.digest,
        "role": "+".join(network.roles),
        "within_budget": _yes(found.within(network.macs)),
        "macs": network.macs,
        "params": network.params,
        **_shape(network.architecture),
    }
    if network.inherited:
        row |= {
            "sampler": network.inherited.sampler,
            "inherited_validation_top1": network.inherited.top1,
            "inherited_validation_loss": network.inherited.loss,
            "validation_images": network.inherited.images,
        }
    for init, prefix in (("scratch", "scratch"), ("inherited", "inherited_init")):
        result = network.results.get(init)
        row[f"{prefix}_seeds"] = len(result.repeats) if result else 0
        if result:
            row |= {
                f"{prefix}_test_top1_mean": result.mean,
                f"{prefix}_test_top1_min": min(result.tests),
                f"{prefix}_test_top1_max": max(result.tests),
                f"{prefix}_validation_top1_mean": result.validation,
                "test_images": result.images,
            }
    return row


def _trial_row(trial: Trial, found: Findings) -> dict[str, Any]:
    return {
        **{name: getattr(trial, name) for name in TRIAL_COLUMNS if name in Trial.__slots__},
        **_shape(trial.architecture),
        "within_budget": _yes(found.within(trial.macs)),
        "on_front": _yes(any(trial is other for other in found.front)),
        "on_sampler_front": _yes(any(trial is other for other in found.fronts.get(trial.sampler, ()))),
    }


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."


def table(store: RunStore) -> str:
    """The networks of the front and the baselines as aligned plain text, no line longer than 100 characters.

    Raises:
        InputError: nothing has been evaluated yet, or a file is damaged.
    """
    found = collect(store)
    rows = [["network", "role", "MACs", "params", "search-val", *INITS, "blocks x width"]]
    for network in found.networks:
        results = [network.results.get(init) for init in INITS]
        rows.append(
            [
                _cut(network.digest, 12),
                _cut("+".join(network.roles), 26),
                _count(network.macs),
                _count(network.params),
                f"{network.inherited.top1:.3f}" if network.inherited else "-",
                *(f"{result.mean:.3f} ({len(result.repeats)})" if result else "-" for result in results),
                " ".join(f"{len(stage.blocks)}x{stage.width}" for stage in network.architecture.stages),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    rest = 100 - sum(widths) - 2 * len(widths)
    lines = []
    for row in rows:
        cells = [
            text.ljust(w) if k < 2 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, _cut(row[-1], rest)]))
    lines.insert(1, "-" * max(map(len, lines)))
    images = found.trials[0].images
    lines += ["", f"search-val: top-1 on {images} search-validation images with inherited weights; it chose the front."]
    if found.inits:
        lines.append("scratch, inherited: mean test top-1 after retraining from that start (number of seeds).")
    else:
        lines.append("scratch, inherited: test top-1 after retraining; nothing is retrained yet.")
    return "\n".join(lines) + "\n"


# --------------------------------------------------------------------------------------------------------------- charts


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A point of a chart.

    title: said on hover. label: written beside it. low, high: ends of its error bar. noise: half the length of a
    second, fainter bar.
    """

    x: float
    y: float
    title: str
    label: str = ""
    low: float | None = None
    high: float | None = None
    noise: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Points of one meaning.

    colour, shape: keys of `COLOURS` and `SHAPES`. step: joined by a staircase. aside: drawn so many pixels to the right
    of the true place, so that two results of one network do not hide each other.
    """

    name: str
    colour: str
    shape: str
    marks: tuple[Mark, ...]
    size: float = 1.0
    faint: bool = False
    hollow: bool = False
    step: bool = False
    aside: float = 0.0

    @property
    def classes(self) -> str:
        return f"{self.colour}{' faint' * self.faint}{' hollow' * self.hollow}"


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`, linear or logarithmic."""

    low: float
    high: float
    log: bool

    @classmethod
    def over(cls, values: Iterable[float], *, positive: bool = False) -> "Scale":
        """An axis that holds all values, with a margin.

        positive: all values are above 0; it is then logarithmic where they differ by more than a factor of 6.
        """
        values = list(values)
        low, high = min(values), max(values)
        if positive and high > 6 * low:
            return cls(low / 1.15, high * 1.15, True)
        margin = 0.05 * ((high - low) or abs(high) or 1.0)
        return cls(low - margin, high + margin, False)

    def at(self, value: float) -> float:
        """Where a value lies, from 0 (low) to 1 (high)."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int = 8) -> list[float]:
        """Round values within the axis: 1, 2 or 5 times a power of ten; about `most` at most."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            rounds = [(times, times * 10.0**power) for power in powers for times in (1, 2, 5)]
            found = [(times, value) for times, value in rounds if self.low <= value <= self.high]
            return [value for times, value in found if times == 1 or len(found) <= most]
        raw = (self.high - self.low) / most
        power = math.floor(math.log10(raw))
        times = next(times for times in (1, 2, 5, 10) if times * 10.0**power >= raw * 0.999)
        step = times * 10.0**power
        whole = range(math.ceil(self.low / step), math.floor(self.high / step) + 1)
        # Dividing by a whole power of ten keeps 0.3 from being 0.30000000000000004.
        return [n * times * 10**power if power >= 0 else n * times / 10**-power for n in whole]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Layers on two axes, x in MACs or a plain count.

    description: what is seen, for those who do not see it. limit: MACs of a vertical line, or None.
    """

    x_name: str
    y_name: str
    x: Scale
    y: Scale
    layers: tuple[Layer, ...]
    description: str
    limit: int | None = None
    macs: bool = True

    @property
    def limit_name(self) -> str:
        return "" if self.limit is None else f"budget {_count(self.limit)}"

    def x_ticks(self, most: int = 8) -> dict[float, str]:
        """Where the x axis has ticks, and what is written there."""
        ticks = self.x.ticks(most)
        if not self.macs:
            return {tick: f"{tick:.0f}" for tick in ticks if tick >= 0 and tick == int(tick)}
        units = ((10**9, "G"), (10**6, "M"), (10**3, "K"))
        scale, letter = next((unit for unit in units if max(ticks, default=0) >= unit[0]), (1, ""))
        return {tick: f"{tick / scale:g}{letter}" for tick in ticks}

    def y_ticks(self) -> dict[float, str]:
        """Where the y axis has ticks, and what is written there."""
        ticks = self.y.ticks()
        step = min((after - before for before, after in itertools.pairwise(ticks)), default=1.0)
        return {tick: f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}" for tick in ticks}


COLOURS = {
    "sampler0": ("#0072B2", "#5CB8F2"),
    "sampler1": ("#D55E00", "#FFA05C"),
    "sampler2": ("#7A6F00", "#E8DC5A"),
    "scratch": ("#00805E", "#3FD9AE"),
    "inherited": ("#A8478A", "#EE9FD3"),
    "baseline": ("#1B1F24", "#F0F2F4"),
}
"""What is drawn in which colour, on a light and on a dark page: after Okabe and Ito, with the contrast a page needs."""

_STAR = "L".join(
    f"{(6.6, 2.9)[k % 2] * math.sin(k * math.pi / 5):.2f} {-(6.6, 2.9)[k % 2] * math.cos(k * math.pi / 5):.2f}"
    for k in range(10)
)
SHAPES = {
    "circle": ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "o"),
    "square": ("M-3.7-3.7h7.4v7.4h-7.4z", "s"),
    "diamond": ("M0-5.6L5 0L0 5.6L-5 0z", "D"),
    "up": ("M0-5L4.8 4H-4.8z", "^"),
    "down": ("M0 5L4.8-4H-4.8z", "v"),
    "star": (f"M{_STAR}z", "*"),
}
"""Marks by name: an SVG path around the origin, and matplotlib's letter."""

_BASELINE_SHAPES = {"smallest": "down", "hand_made": "star", "largest": "up"}
_SAMPLER_SHAPES = ("circle", "square", "down")
_MACS = "MACs (the papers' FLOPs)"


def _words(role: str) -> str:
    return role.replace("_", "-" if role == "hand_made" else " ")


def _sampler(name: str) -> str:
    return {"nsga2": "NSGA-II", "random": "random search"}.get(name, _plain(_words(name)))


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def _trial_mark(trial: Trial, label: str = "") -> Mark:
    title = (
        f"{trial.digest}\n{_sampler(trial.sampler)}, evaluation {trial.trial}\n{_count(trial.macs)} MACs, "
        f"{_count(trial.params)} params\nsearch-validation top-1 {trial.top1:.3f}, inherited weights"
    )
    return Mark(x=trial.macs, y=trial.top1, label=label, title=title)


def _retrained_layers(found: Findings, *, detailed: bool) -> list[Layer]:
    """One layer a start. detailed: with the standard errors, and names beside all that is not of the front alone."""
    layers = []
    for init in found.inits:
        marks = []
        for network in found.networks:
            if init not in network.results:
                continue
            result = network.results[init]
            names = [_words(role) for role in network.roles if role not in ("front", "retrained")]
            highest = max(network.results, key=lambda other: network.results[other].mean)
            title = (
                f"{network.digest} ({', '.join(map(_words, network.roles))})\nretrained from {INITS[init]}\n"
                f"{_count(network.macs)} MACs, {_count(network.params)} params\ntest top-1 {result}"
            )
            marks.append(
                Mark(
                    x=network.macs,
                    y=result.mean,
                    title=title,
                    label=", ".join(names) if detailed and init == highest else "",
                    low=min(result.tests),
                    high=max(result.tests),
                    noise=result.error if detailed else 0.0,
                )
            )
        layers.append(
            Layer(
                name=f"retrained from {'scratch' if init == 'scratch' else 'inherited weights'}, test",
                colour=init,
                shape="diamond",
                marks=tuple(marks),
                size=1.15,
                hollow=init == "inherited",
                aside=0 if len(found.inits) == 1 else -3.5 if init == "scratch" else 3.5,
            )
        )
    return layers


def _extent(layers: Iterable[Layer]) -> list[float]:
    """Every height that the layers reach."""
    marks = [mark for layer in layers for mark in layer.marks]
    ends = [end for mark in marks for end in (mark.low, mark.high) if end is not None]
    return ends + [mark.y + sign * mark.noise for mark in marks for sign in (-1, 1)]


def _macs_scale(layers: Iterable[Layer], budget: int | None) -> Scale:
    macs = [mark.x for layer in layers for mark in layer.marks]
    return Scale.over(macs if budget is None else [*macs, budget], positive=True)


def _front_chart(found: Findings) -> Chart:
    """Every evaluation, the front of each sampler, the baselines and the retrained networks."""
    every, fronts = [], []
    for index, name in enumerate(found.candidates):
        colour, shape = f"sampler{index % 3}", _SAMPLER_SHAPES[index % 3]
        marks = tuple(map(_trial_mark, found.candidates[name]))
        every.append(
            Layer(name=f"{_sampler(name)}: all", colour=colour, shape=shape, marks=marks, faint=True, size=0.65)
        )
        if found.fronts[name]:
            marks = tuple(map(_trial_mark, found.fronts[name]))
            fronts.append(Layer(name=f"{_sampler(name)}: front", colour=colour, shape=shape, marks=marks, step=True))
    layers = every + fronts
    for role, shape in _BASELINE_SHAPES.items():
        marks = tuple(_trial_mark(trial, _words(role)) for trial in found.trials if trial.sampler == role)
        if marks:
            layers.append(Layer(name=_words(role), colour="baseline", shape=shape, marks=marks, size=1.2))
    layers += _retrained_layers(found, detailed=False)
    description = "Top-1 against MACs. " + " ".join(f"{o.name}: {_plural(len(o.marks), 'point')}." for o in layers)
    if found.front:
        low, high = found.front[0], found.front[-1]
        description += f" The front runs from {_count(low.macs)} MACs at top-1 {low.top1:.3f} "
        description += f"to {_count(high.macs)} MACs at top-1 {high.top1:.3f}."
    return Chart(
        x_name=_MACS,
        y_name="top-1",
        x=_macs_scale(layers, found.budget),
        y=Scale.over(_extent(layers)),
        layers=tuple(layers),
        limit=found.budget,
        description=description,
    )


def _retrained_chart(found: Findings) -> Chart:
    layers = _retrained_layers(found, detailed=True)
    extent = _extent(layers)
    room = max(extent) + 0.06 * (max(extent) - min(extent))  # for a name above the highest bar
    return Chart(
        x_name=_MACS,
        y_name="test top-1",
        x=_macs_scale(layers, found.budget),
        y=Scale.over([*extent, room]),
        layers=tuple(layers),
        limit=found.budget,
        description="Test top-1 of the retrained networks against MACs; the table of networks lists each value.",
    )


def _reference(found: Findings) -> tuple[float, float]:
    """The corner that hypervolume is measured from: a tenth beyond the budget or the largest candidate, top-1 of 0."""
    return 1.1 * (found.budget or max(t.macs for trials in found.candidates.values() for t in trials)), 0.0


def _curves(found: Findings) -> dict[str, list[float]]:
    """Per sampler, its hypervolume after each evaluation, as a share of the reference box. Over budget adds nothing."""
    corner = _reference(found)
    curves = {}
    for name, trials in found.candidates.items():
        points = [(t.macs, t.top1) if found.within(t.macs) else corner for t in trials]
        curves[name] = [volume / corner[0] for volume in hypervolume_curve(points, corner)]
    return curves


def _hypervolume_chart(curves: Mapping[str, Sequence[float]]) -> Chart:
    layers = []
    for index, (name, curve) in enumerate(curves.items()):
        # The last evaluation and those that changed the value draw the whole staircase.
        turns = [n for n in range(len(curve)) if n in (0, len(curve) - 1) or curve[n] != curve[n - 1]]
        titles = {n: f"{_sampler(name)}\n{_plural(n + 1, 'evaluation')}: {curve[n]:.4f}" for n in turns}
        layers.append(
            Layer(
                name=_sampler(name),
                colour=f"sampler{index % 3}",
                shape=_SAMPLER_SHAPES[index % 3],
                marks=tuple(Mark(x=n + 1, y=curve[n], title=titles[n]) for n in turns),
                size=0.5,
                step=True,
            )
        )
    ends = ", ".join(f"{_sampler(name)} {curve[-1]:.4f} after {len(curve)}" for name, curve in curves.items())
    return Chart(
        x_name="evaluations of the sampler",
        y_name="hypervolume",
        x=Scale.over([0, *map(len, curves.values())]),
        y=Scale.over(_extent(layers)),
        layers=tuple(layers),
        description=f"Hypervolume of the front against the number of evaluations. It ends at: {ends}.",
        macs=False,
    )


def _png(chart: Chart, title: str) -> bytes:
    """The chart by matplotlib, 1650 x 990 pixels, on white, without a clock or a version in the file."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke
    from matplotlib.transforms import ScaledTranslation

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own style file has no say
        matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(11, 6.6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if chart.x.log:
            axes.set_xscale("log")
        for order, layer in enumerate(chart.layers, 2):
            colour = COLOURS[layer.colour][0]
            moved = axes.transData + ScaledTranslation(layer.aside / 72, 0, figure.dpi_scale_trans)
            for mark in layer.marks:
                if mark.low is not None and mark.high is not None and mark.low < mark.high:
                    bar = ([mark.x, mark.x], [mark.low, mark.high])
                    axes.plot(*bar, color=colour, linewidth=1.8, zorder=order, transform=moved)
                if mark.label:
                    place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "zorder": 30}
                    text = axes.annotate(mark.label, (mark.x, mark.y), fontsize=9, parse_math=False, **place)
                    text.set_path_effects([withStroke(linewidth=3, foreground="white")])
            axes.plot(
                [mark.x for mark in layer.marks],
                [mark.y for mark in layer.marks],
                label=layer.name,
                color=colour,
                alpha=0.35 if layer.faint else 1.0,
                linestyle="-" if layer.step else "none",
                drawstyle="steps-post",
                linewidth=1.5,
                marker=SHAPES[layer.shape][1],
                markersize=7.5 * layer.size,
                markerfacecolor="white" if layer.hollow else colour,
                markeredgewidth=1.6 if layer.hollow else 0.0,
                zorder=order,
                transform=moved,
            )
        if chart.limit is not None:
            axes.axvline(chart.limit, color="#6B7480", linestyle=(0, (4, 3)), linewidth=1.2, label=chart.limit_name)
        axes.set_xlim(chart.x.low, chart.x.high)
        axes.set_ylim(chart.y.low, chart.y.high)
        axes.set_xticks(list(chart.x_ticks()), list(chart.x_ticks().values()))
        axes.set_xticks([], minor=True)
        axes.set_yticks(list(chart.y_ticks()), list(chart.y_ticks().values()))
        axes.grid(color="#E3E7EB", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(chart.x_name)
        axes.set_ylabel(chart.y_name)
        axes.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
        legend = figure.legend(loc="outside lower center", fontsize=9, ncols=4, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
        picture = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the font lacks shows as boxes
            figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


# ----------------------------------------------------------------------------------------------------------------- page


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


_OWN_LINE = {"body", "section", "figure", "tr", "p", "h1", "h2", "h3", "li", "div", "svg", "g", "path", "line", "text"}


def _text(value: object) -> str:
    """Anything as HTML text."""
    return value if isinstance(value, Html) else _plain(html.escape(str(value)))


def _join(parts: Iterable[object]) -> Html:
    return Html("".join(map(_text, parts)))


def _h(tag: str, *children: object, **attributes: object) -> Html:
    """An element, closed. All that is not `Html` is escaped, so no text from a file can become markup.

    Attribute names lose a trailing underscore (`class_`) and get hyphens (`aria_label`); None leaves one out.
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    opening = "".join(f' {key}="{_text(value)}"' for key, value in given.items())
    return Html(f"<{tag}{opening}>{_join(children)}</{tag}>" + "\n" * (tag in _OWN_LINE))


def _box(name: str, *children: object, class_: str | None = None) -> Html:
    """A table in a box of its own, which scrolls where the window is narrow."""
    contents = _h("table", *children, class_=class_)
    return _h("div", contents, class_="box", tabindex=0, role="region", aria_label=name)


def _heads(*names: str) -> list[Html]:
    """Headings of a first column of names and further ones of numbers."""
    return [_h("th", name, scope="col", class_="num" if k else None) for k, name in enumerate(names)]


def _cell(value: object, small: str = "", title: str | None = None) -> Html:
    """A table cell with a number."""
    return _h("td", value, _h("small", small) if small else "", class_="num", title=title)


def _swatch(*children: Html) -> Html:
    return _h("svg", *children, width=26, height=16, viewBox="0 0 26 16", aria_hidden="true")


def _legend(chart: Chart) -> Html:
    items = []
    for layer in chart.layers:
        line = _h("path", class_="step", d="M0 8H26") if layer.step else ""
        place = f"translate(13 8) scale({max(layer.size, 0.8)})"
        mark = _h("path", class_="mark", d=SHAPES[layer.shape][0], transform=place)
        items.append(_h("li", _swatch(_h("g", line, mark, class_=layer.classes)), layer.name))
    if chart.limit is not None:
        items.append(_h("li", _swatch(_h("path", class_="limit", d="M13 0V16")), chart.limit_name))
    return _h("ul", *items, class_="legend")


def _svg(chart: Chart, name: str, *, width: int, height: int, wide: bool) -> Html:
    """The chart as SVG in the page's colours. On the wide one each mark says on hover what it is."""
    left, right, top, bottom = 56 if wide else 48, width - 22, 34, height - 58

    def across(value: float) -> float:
        return round(left + chart.x.at(value) * (right - left), 1)

    def down(value: float) -> float:
        return round(bottom - chart.y.at(min(max(value, chart.y.low), chart.y.high)) * (bottom - top), 1)

    def text(words: str, x: float, y: float, anchor: str = "middle", class_: str | None = None) -> Html:
        return _h("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)

    def bar(x: float, low: float, high: float, class_: str, ends: str) -> Html:
        return _h("path", class_=class_, d=f"M{x} {down(low)}V{down(high)}" + ends)

    parts = []
    for tick, words in chart.y_ticks().items():
        parts.append(_h("line", class_="grid", x1=left, x2=right, y1=down(tick), y2=down(tick)))
        parts.append(text(words, left - 8, down(tick) + 4, "end"))
    for tick, words in chart.x_ticks(8 if wide else 5).items():
        parts.append(_h("line", class_="grid", x1=across(tick), x2=across(tick), y1=top, y2=bottom))
        parts.append(text(words, across(tick), bottom + 20))
    parts.append(_h("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
    parts.append(text(chart.y_name, 4, 18, "start", "name"))
    parts.append(text(chart.x_name, (left + right) / 2, height - 10, class_="name"))
    if chart.limit is not None:
        parts.append(_h("path", class_="limit", d=f"M{across(chart.limit)} {top}V{bottom}"))
        anchor = "end" if chart.x.at(chart.limit) > 0.85 else "middle"
        parts.append(text(chart.limit_name, across(chart.limit), top - 8, anchor, "note"))
    labels = []
    for layer in chart.layers:
        marks = []
        if layer.step:
            first, *rest = layer.marks
            line = f"M{across(first.x)} {down(first.y)}" + "".join(f"H{across(m.x)}V{down(m.y)}" for m in rest)
            marks.append(_h("path", class_="step", d=line))
        for mark in layer.marks:
            x, y = round(across(mark.x) + layer.aside, 1), down(mark.y)
            highest = mark.y + mark.noise
            if mark.noise:
                low = mark.y - mark.noise
                caps = f"M{x - 5:.1f} {down(low)}h10M{x - 5:.1f} {down(highest)}h10"
                marks.append(bar(x, low, highest, "noise", caps))
            if mark.low is not None and mark.high is not None and mark.low < mark.high:
                marks.append(bar(x, mark.low, mark.high, "bar", ""))
                highest = max(highest, mark.high)
            hover = _h("title", mark.title) if wide else ""
            place = f"translate({x} {y}) scale({layer.size})"
            marks.append(_h("path", hover, class_="mark", d=SHAPES[layer.shape][0], transform=place))
            if mark.label:
                anchor = "end" if chart.x.at(mark.x) > 0.88 else "start" if chart.x.at(mark.x) < 0.08 else "middle"
                labels.append(text(mark.label, x, down(highest) - 9, anchor, "note"))
        parts.append(_h("g", *marks, class_=layer.classes))
    return _h(
        "svg",
        *parts,
        *labels,
        class_="chart wide" if wide else "chart narrow",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{chart.y_name} against {chart.x_name}",
        aria_describedby=f"{name}-text",
    )


def _figure(chart: Chart, name: str, caption: str, height: int = 440) -> Html:
    """A chart twice, of which the page shows the one that fits; its description for screen readers; a caption."""
    return _h(
        "figure",
        _legend(chart),
        _svg(chart, name, width=860, height=height, wide=True),
        _svg(chart, name, width=400, height=360, wide=False),
        _h("p", chart.description, class_="unseen", id=f"{name}-text"),
        _h("figcaption", caption),
    )


@dataclass(frozen=True, slots=True)
class Mixers:
    """The token mixers of a run, and the two characters of each on its coloured cell."""

    codes: dict[str, str]

    @classmethod
    def of(cls, architectures: Iterable[Architecture]) -> "Mixers":
        """Codes for all mixers in the architectures, no two alike: initials where a name has several words."""
        codes: dict[str, str] = {}
        for name in sorted({block.mixer.name for a in architectures for stage in a.stages for block in stage.blocks}):
            words = re.findall(r"[A-Za-z0-9]+", name) or ["x"]
            letters = "".join(words)
            wishes = [words[0][0] + words[1][0]] if len(words) > 1 else []
            wishes += [letters[0] + other for other in letters[1:]]
            wishes += [f"{letters[0]}{number}" for number in range(2, len(codes) + 4)]
            codes[name] = next(w for wish in wishes if (w := wish.capitalize()) not in codes.values())
        return cls(codes)

    def colour(self, name: str) -> str:
        number = list(self.codes).index(name)
        return f"k{number % len(CELLS)}{' again' * (number >= len(CELLS))}"

    def cell(self, block: Block, where: str) -> Html:
        """A block as a coloured cell, which says on hover everything about the block."""

        def said(part: Part) -> str:
            options = ", ".join(f"{key}={json.dumps(value)}" for key, value in part.options)
            return f"{part.name}({options})" if options else part.name

        slots = (f"{slot}: {said(getattr(block, slot))}" for slot in ("mixer", "ffn", "position", "norm", "scale"))
        name = block.mixer.name
        return _h("span", self.codes[name], class_=f"cell {self.colour(name)}", title="\n".join((where, *slots)))

    def legend(self) -> Html:
        cells = {name: _h("span", code, class_=f"cell {self.colour(name)}") for name, code in self.codes.items()}
        return _h("ul", *(_h("li", cell, name) for name, cell in cells.items()), class_="legend")

    def columns(self, arch: Architecture, stages: int) -> list[Html]:
        """A table cell for each of so many stages: blocks x width, and a coloured cell a block."""
        columns = []
        for number, stage in enumerate(arch.stages, 1):
            cells = [self.cell(block, f"stage {number}, block {k}") for k, block in enumerate(stage.blocks, 1)]
            names = ", ".join(block.mixer.name for block in stage.blocks) or "no blocks"
            size = _h("span", f"{len(stage.blocks)} × {stage.width}", class_="size")
            squares = _h("span", *cells, class_="cells", role="img", aria_label=f"stage {number}: {names}")
            columns.append(_h("td", size, squares))
        return columns + [_h("td")] * (stages - len(columns))


def _big(value: object) -> Html:
    """A whole number for reading: 1,234,567, or from a thousand million up 1.23 × 10¹² with a superscript."""
    digits = str(value)
    if len(digits) <= 9:
        return Html(f"{int(digits):,}")
    return Html(f"{int(digits[0])}.{int(digits[1:3]):02} × 10<sup>{len(digits) - 1}</sup>")


def _lead(found: Findings) -> Html:
    """The result in one paragraph."""
    run, splits = found.run, found.run["split_sizes"]
    counts = [f"{_plural(len(trials), 'evaluation')} by {_sampler(name)}" for name, trials in found.candidates.items()]
    budget = "there was no budget" if found.budget is None else f"the budget was {_count(found.budget)} MACs"
    parts: list[object] = [
        "A weight-sharing supernet was trained on ",
        _h("b", run["config"]["data"]["name"]),
        f" ({splits['train']:,} images train it, {splits['validation']:,} choose, {splits['test']:,} test; "
        f"{_plural(len(run['classes']), 'class')}). The space ",
        _h("b", run["space_name"]),
        " holds ",
        _big(run["space_size"]),
        f" networks; {budget}. ",
        f"The search took {' and '.join(counts)}. " if counts else "No sampler has evaluated a network yet. ",
    ]
    if found.front:
        low, high = found.front[0], found.front[-1]
        reach = f" to {_count(high.macs)} MACs at {high.top1:.3f}" if len(found.front) > 1 else ""
        parts.append(
            f"The front has {_plural(len(found.front), 'network')}:{' from' * bool(reach)} {_count(low.macs)} MACs at "
            f"search-validation top-1 {low.top1:.3f}{reach}, with inherited weights. "
        )
    elif found.candidates:
        parts.append("None of the evaluated networks is within the budget, so there is no front. ")
    if not found.best:
        parts.append("No network of the front is retrained yet, so no test result belongs to it.")
        return _h("p", *parts, class_="lead")
    network, init = found.best
    result = network.results[init]
    found_by = f"found by {_sampler(network.inherited.sampler)}, " if network.inherited else ""
    parts += [
        "Of its retrained networks, the best on validation is ",
        _h("a", _h("code", network.digest), href=f"#commands-{network.digest}"),
        f" ({_count(network.macs)} MACs, {found_by}retrained from {INITS[init]}): test top-1 ",
        _h("b", result),
        f"; the binomial standard error on {_plural(result.images, 'image')} is {result.error:.3f}.",
    ]
    rivals = [other for other in found.networks if init in other.results and not other.on_front]
    if rivals:
        named = (
            f"{', '.join(map(_words, o.roles))} ({_count(o.macs)} MACs) {o.results[init].mean:.3f}" for o in rivals
        )
        parts.append(f" By the same recipe and start: {'; '.join(named)}.")
    return _h("p", *parts, class_="lead")


def _tiles(found: Findings) -> Html:
    tiles: list[tuple[object, str]] = [
        (_big(found.run["space_size"]), "networks in the space"),
        ("none" if found.budget is None else _count(found.budget), "MACs budget"),
        (f"{sum(map(len, found.candidates.values())):,}", "evaluated with inherited weights"),
        (len(found.front), "on the front"),
    ]
    if found.best:
        network, init = found.best
        tiles.append((f"{network.results[init].mean:.3f}", "test top-1, retrained best"))
    return _h("div", *(_h("div", _h("b", value), _h("span", text)) for value, text in tiles), class_="tiles")


def _result_cell(result: Result | None) -> Html:
    if result is None:
        return _cell("–")
    spread = f"n = {len(result.tests)}"
    if len(result.tests) > 1:
        spread = f"{min(result.tests):.3f}–{max(result.tests):.3f}, {spread}"
    title = f"binomial standard error {result.error:.3f} on {_plural(result.images, 'test image')}"
    return _cell(f"{result.mean:.3f}", spread, title)


def _network_row(network: Network, found: Findings, mixers: Mixers, stages: int) -> Html:
    badges = [_h("span", _words(r), class_="badge", title=ROLES[r]) for r in network.roles if r != "front"]
    if found.best and network is found.best[0]:
        why = "highest mean validation top-1 after retraining"
        badges.append(_h("span", "best on validation", class_="badge good", title=why))
    if not found.within(network.macs):
        badges.append(_h("span", "over budget", class_="badge", title="more MACs than the budget"))
    scored = _cell("–")
    if trial := network.inherited:
        title = f"± one binomial standard error on {_plural(trial.images, 'image')}"
        scored = _cell(f"{trial.top1:.3f}", f"± {trial.error:.3f}", title)
    link = _h("a", _h("code", network.digest), href=f"#commands-{network.digest}")
    return _h(
        "tr",
        _h("th", _h("div", link), *badges, scope="row"),
        _cell(_count(network.macs), title=f"{network.macs:,}"),
        _cell(_count(network.params), title=f"{network.params:,}"),
        scored,
        *(_result_cell(network.results.get(init)) for init in found.inits),
        *mixers.columns(network.architecture, stages),
    )


def _networks(found: Findings, mixers: Mixers) -> Html:
    stages = max(len(network.architecture.stages) for network in found.networks)
    starts = [f"test top-1, retrained from {init}{' weights' * (init == 'inherited')}" for init in found.inits]
    heads = _heads("network", "MACs", "params", "search-validation top-1, inherited weights", *starts)
    heads += [_h("th", f"stage {k}", scope="col") for k in range(1, stages + 1)]
    bodies = []
    for title, on_front in (("Front", True), ("Baselines and comparisons", False)):
        rows = [_network_row(n, found, mixers, stages) for n in found.networks if n.on_front is on_front]
        if rows:
            group = _h("tr", _h("th", title, colspan=len(heads), scope="colgroup"), class_="group")
            bodies.append(_h("tbody", group, *rows))
    return _box("Networks", _h("thead", _h("tr", *heads)), *bodies, class_="networks")


def _choices(found: Findings, mixers: Mixers) -> Html:
    """Share of each mixer among a stage's blocks, on the front and in what was tried; each network counts once."""
    groups = {"front": found.front}
    if len(found.candidates) > 1:
        groups["all trials"] = tuple(trial for trials in found.candidates.values() for trial in trials)
    groups |= {f"{_sampler(name)} trials": trials for name, trials in found.candidates.items()}
    cards = []
    for stage in range(max(len(trial.architecture.stages) for trials in groups.values() for trial in trials)):
        bars = []
        for name, trials in groups.items():
            different = {trial.digest: trial.architecture for trial in trials}.values()
            blocks = [block for arch in different if stage < len(arch.stages) for block in arch.stages[stage].blocks]
            counts = Counter(block.mixer.name for block in blocks)
            segments, said = [], []
            for mixer in (mixer for mixer in mixers.codes if counts[mixer]):
                share = 100 * counts[mixer] / len(blocks)
                said.append(f"{mixer} {share:.1f} %")
                words = f"{mixers.codes[mixer]} {share:.0f}" if share > 7 else ""
                look = {"class_": mixers.colour(mixer), "style": f"width:{share:.3f}%"}
                segments.append(_h("span", words, title=said[-1], **look))
            label = f"stage {stage + 1}, {name}: {', '.join(said) or 'no blocks'}"
            bar = _h("div", *segments, class_="shares", role="img", aria_label=label)
            size = _h("span", _plural(len(blocks), "block"), class_="size")
            bars.append(_h("div", _h("span", name), bar, size, class_="share"))
        cards.append(_h("div", _h("h3", f"Stage {stage + 1}"), *bars, class_="choice"))
    return _join(cards)


def _commands(found: Findings, store: RunStore) -> Html:
    """What to type for each network, with the folder as it was given to this report."""
    run = shlex.quote(str(store.folder))
    cards = []
    for network in found.networks:
        digest = shlex.quote(network.digest)
        commands = {
            "extract": f"nas extract run={run} digest={digest}",
            "retrain": f"nas retrain run={run} digest={digest}",
            "verify": f"nas extract run={run} digest={digest} verify=true",
        }
        about = f" {_count(network.macs)} MACs · {', '.join(map(_words, network.roles))}"
        lines = [
            _h("div", _h("span", verb), _h("code", command, class_="copy"), class_="command")
            for verb, command in commands.items()
        ]
        if store.exists(f"networks/{network.digest}/arch.json"):
            lines.append(_h("p", f"extracted in networks/{network.digest}/", class_="size"))
        title = _h("p", _h("b", _h("code", network.digest)), about)
        cards.append(_h("div", title, *lines, class_="commands", id=f"commands-{network.digest}"))
    return _h("div", *cards, class_="grid")


def _hypervolume(found: Findings) -> Html:
    curves = _curves(found)
    common = min(map(len, curves.values()))
    uneven = common < max(map(len, curves.values()))
    names = [
        "sampler",
        "evaluations",
        "different networks",
        "within budget",
        "on its front",
        "best top-1 within budget",
    ]
    names += [f"hypervolume after {common}"] * uneven + ["hypervolume, final"]
    rows = []
    for name, curve in curves.items():
        trials, own = found.candidates[name], found.fronts[name]
        cells: list[object] = [len(trials), len({trial.digest for trial in trials})]
        cells += [sum(found.within(trial.macs) for trial in trials), len(own), f"{own[-1].top1:.3f}" if own else "–"]
        cells += [f"{curve[common - 1]:.4f}"] * uneven + [f"{curve[-1]:.4f}"]
        rows.append(_h("tr", _h("th", _sampler(name), scope="row"), *map(_cell, cells)))
    caption = (
        f"Share of the box from 0 to {_count(_reference(found)[0])} MACs (a tenth beyond "
        f"{'the budget' if found.budget else 'the largest candidate'}) and from top-1 0 to 1 that a sampler's front "
        "dominates, by search-validation top-1 with inherited weights. More is better. One run of each sampler: a "
        "small difference may be luck."
    )
    figure = _figure(_hypervolume_chart(curves), "volume", caption, 340)
    return _join([figure, _box("Samplers", _h("thead", _h("tr", *_heads(*names))), _h("tbody", *rows))])


def _meanings(found: Findings) -> Html:
    search, data = found.run["config"]["search"], found.run["config"]["data"]
    side = f"{data['resolution']} × {data['resolution']}"
    epochs = sorted({r.epochs for network in found.networks for of in network.results.values() for r in of.repeats})
    long = f" for {' or '.join(map(str, epochs))} epochs" if epochs else ""
    items = {
        "MACs": f"Fused multiply-adds of one forward pass of one {side} image, counted on the network itself, the "
        "products inside attention included. The papers print this count under the name FLOPs; a count that takes a "
        "multiplication and an addition as two operations is twice as high.",
        "params": "Trainable parameters of the stand-alone network, not of the supernet.",
        "search-validation top-1, inherited weights": f"Share of {found.trials[0].images:,} search-validation images "
        "whose first guess is right, with weights cut out of the supernet and normalisation recalibrated on "
        f"{search['calibration_images']:,} training images. It chose the winners, so for them it is too high on "
        "average (the best of many noisy scores). It ranks networks; it does not say what one reaches when trained by "
        "itself.",
        "test top-1": "Share of the test images whose first guess is right, after retraining the network by itself"
        f"{long}, with one recipe for all networks. The test part had no share in training, search or the choice of "
        "winners: it "
        f"was read only after the choice.{'' if epochs else ' Here it has not been read yet.'}",
        "from scratch, from inherited weights": "Retraining starts from fresh random weights, or from the weights that "
        "were extracted from the supernet.",
        "a–b, n": "Lowest and highest result of n retrainings that differ in the seed alone; the value before them is "
        "the mean. Bars in the charts span the same range.",
        "±, binomial standard error": "√(p(1 − p)/m) for a top-1 of p on m images: how far the value would move with "
        "other images of the same kind. It does not contain the luck of training, which the seeds show, and more seeds "
        "do not make it smaller. At a top-1 of 0 or 1 it is 0 and says nothing.",
        "front": "The evaluated networks within the budget, of all samplers together, for which no other such network "
        "has fewer MACs and at least the same search-validation top-1, or the same MACs and a higher one. Baselines do "
        "not enter it.",
        "hypervolume": "One number for a whole front: the share of a fixed box, MACs by top-1, in which each point has "
        "at least the MACs and at most the top-1 of some network of the front.",
        "best on validation": "Of the retrained networks of the front, the one with the highest mean search-validation "
        "top-1 after retraining. Its test result had no say.",
    }
    return _h("dl", *(_join([_h("dt", name), _h("dd", text)]) for name, text in items.items()))


def _conditions(found: Findings) -> Html:
    run = found.run
    config, splits, machine = run["config"], run["split_sizes"], run["machine"]
    classes = ", ".join(map(str, run["classes"][:20]))
    more = f" and {len(run['classes']) - 20:,} more" if len(run["classes"]) > 20 else ""
    seeds = sorted({r.seed for network in found.networks for of in network.results.values() for r in of.repeats})
    retraining = f"; {', '.join(map(str, seeds))} (retraining)" if seeds else ""
    rows: dict[str, object] = {
        "data": f"{config['data']['name']}, {config['data']['resolution']} × {config['data']['resolution']} pixels",
        "split": f"{splits['train']:,} train, {splits['validation']:,} search-validation, {splits['test']:,} test",
        "split digest": _h("code", run["split_digest"]),
        "classes": classes + more,
        "space": _join([run["space_name"], ", ", _h("code", run["space_digest"]), f", {run['space_size']} networks"]),
        "seeds": f"{config['seed']} (supernet and search){retraining}",
        "machine": f"{machine['cpu']}; {_plural(machine['cores'], 'core')}, {_plural(machine['threads'], 'thread')} used; "
        + (f"{machine['memory_gib']:g} GiB" if machine["memory_gib"] else "memory unknown"),
        "versions": ", ".join(f"{name} {version}" for name, version in run["versions"].items()),
        "commit": _h("code", run["commit"] or "unknown"),
        "command": _h("code", shlex.join(run["command"]), class_="copy"),
    }
    lines = []
    for key, value in config.items():
        pairs = {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
        lines += [f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in pairs.items()]
    listing = (_h("tr", _h("th", name, scope="row"), _h("td", value)) for name, value in rows.items())
    box = _box("Conditions", _h("tbody", *listing), class_="conditions")
    return _join([box, _h("h3", "Configuration"), _h("pre", _h("code", "\n".join(lines)), tabindex=0)])


def _page(found: Findings, store: RunStore) -> str:
    mixers = Mixers.of(known.architecture for known in (*found.trials, *found.networks))
    sections: dict[str, list[Html]] = {}
    caption = (
        "Small marks: every evaluated sub-network, search-validation top-1 with inherited weights. Stairs: the front "
        "of each sampler."
    )
    if found.inits:
        caption += " Diamonds: retrained networks, test top-1; another quantity, so compare diamonds with diamonds."
    charts = [_figure(_front_chart(found), "front", caption)]
    if found.inits:
        caption = (
            "The retrained networks alone. Thick bar: lowest to highest seed. Thin bar with ends: ± one binomial "
            "standard error, from the number of test images alone. Networks without a name are of the front."
        )
        charts.append(_figure(_retrained_chart(found), "retrained", caption, 380))
    sections["Accuracy against cost"] = charts

    text = (
        "Per stage: blocks × channels, and a cell for each block with its token mixer; options and FFN show on hover."
    )
    text += " A dash: not retrained." * bool(found.inits)
    sections["Networks"] = [_h("p", text), mixers.legend(), _networks(found, mixers)]
    if found.candidates:
        sections["How fast each sampler found it"] = [_hypervolume(found)]
        text = "Per cent of a stage's blocks that use each token mixer; every network counts once."
        text += " Random search shows what sampling alone offers." * ("random" in found.candidates)
        sections["What the front chose"] = [_h("p", text), mixers.legend(), _choices(found, mixers)]
    folder = " is where the run lay when this was written; type its present path if it has moved."
    about = _h("p", "One click selects a command. ", _h("code", "run="), folder)
    sections["Take a network"] = [about, _commands(found, store)]
    sections["What each number means"] = [_meanings(found)]
    sections["Conditions"] = [_conditions(found)]

    files = {"front.csv": "the networks", "trials.csv": "every evaluation", "front.png": "the first chart"}
    beside = _join(_join([", " * bool(k), _h("a", n, href=n), f" ({files[n]})"]) for k, n in enumerate(files))
    head = _h(
        "head",
        Html('<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'),
        _h("title", f"Pareto report: {found.title}"),
        Html(f"\n<style>\n{_style()}</style>\n"),
    )
    body = _h(
        "body",
        _h("header", _h("p", "Pareto report", class_="kicker"), _h("h1", found.title), _lead(found), _tiles(found)),
        _h("main", *(_h("section", _h("h2", name), *parts) for name, parts in sections.items())),
        _h("footer", _h("p", "Beside this file: ", beside, ".")),
    )
    return "<!DOCTYPE html>\n" + _h("html", head, body, lang="en") + "\n"


CELLS = ("#77AADD", "#EE8866", "#EEDD88", "#FFAABB", "#99DDFF", "#44BB99", "#BBCC33", "#AAAA00", "#DDDDDD")
"""Colours of the cells: Paul Tol's "light" scheme, told apart by colour-blind readers and fit for dark letters."""


def _style() -> str:
    colours = [";".join(f"--{name}:{pair[k]}" for name, pair in COLOURS.items()) for k in (0, 1)]
    rules = [f".{name}{{--c:var(--{name})}}" for name in COLOURS]
    rules += [f".k{number}{{background-color:{colour}}}" for number, colour in enumerate(CELLS)]
    return _CSS.replace("/*light*/", colours[0]).replace("/*dark*/", colours[1]) + "\n".join(rules) + "\n"


_CSS = """\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#59636e;--rule:#dfe3e8;--page:#f7f8f9;--card:#fff;--link:#0b62a4;
--good:#00664b;/*light*/}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#a0a9b4;--rule:#343a42;--page:#14171a;
--card:#1c2024;--link:#7cc4ff;--good:#5fe0ba;/*dark*/}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font-variant-numeric:tabular-nums;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
header,main,footer{max-width:1120px;margin:0 auto;padding:0 24px}
header{padding-top:48px}
footer{padding-top:24px;padding-bottom:48px;color:var(--soft)}
.kicker{margin:0;color:var(--soft);font-size:13px;letter-spacing:.08em;text-transform:uppercase}
h1{margin:2px 0 12px;font-size:32px;line-height:1.2;overflow-wrap:anywhere}
h2{margin:48px 0 12px;font-size:22px;line-height:1.3}
h3{margin:20px 0 6px;font-size:15px}
p{max-width:78ch;overflow-wrap:break-word}
.lead{font-size:17px}
a{color:var(--link)}
sup{line-height:0}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
pre{margin:0;padding:12px 16px;overflow:auto}
small,.size{color:var(--soft);font-size:12px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-top:24px}
.tiles div{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:12px 16px}
.tiles b{display:block;white-space:nowrap;font-size:24px;line-height:1.25}
.tiles span{color:var(--soft);font-size:13px}
figure,.box,pre,.commands,.choice{background:var(--card);border:1px solid var(--rule);border-radius:10px}
figure{margin:0 0 20px;padding:16px 20px}
figcaption{color:var(--soft);font-size:14px;max-width:90ch;margin-top:6px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 8px;padding:0;list-style:none;font-size:13.5px}
.legend li{display:flex;align-items:center;gap:6px}
.legend svg{flex:none}
.legend .faint .mark{opacity:.7}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);margin:0}
.chart{display:block;width:100%;height:auto;overflow:visible}
.narrow{display:none}
.chart text{fill:var(--soft);font-size:11.5px}
.chart .name{fill:var(--ink)}
.chart .note{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-opacity:.75;stroke-width:3px;
stroke-linejoin:round}
line.grid{stroke:var(--rule)}
.axis{stroke:var(--soft)}
.limit{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4;fill:none}
.mark{fill:var(--c)}
.faint .mark{opacity:.38}
.hollow .mark{fill:var(--card);stroke:var(--c);stroke-width:1.8}
.mark:hover{stroke:var(--ink);stroke-width:2;opacity:1}
.step{fill:none;stroke:var(--c);stroke-width:1.8}
.bar{fill:none;stroke:var(--c);stroke-width:3;stroke-linecap:round}
.noise{fill:none;stroke:var(--c);stroke-width:1;opacity:.75}
.box{overflow-x:auto;margin:0 0 16px}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:8px 12px;text-align:left;vertical-align:top;border-top:1px solid var(--rule)}
thead th{border-top:0;color:var(--soft);font-size:12.5px;font-weight:600;line-height:1.35;vertical-align:bottom}
tbody th{font-weight:500}
.num{text-align:right;white-space:nowrap}
thead .num{white-space:normal}
.num small{display:block}
.conditions tr:first-child>*{border-top:0}
.group th{background:var(--page);font-size:12.5px;font-weight:600;padding:6px 12px}
.badge{display:inline-block;margin:4px 6px 0 0;padding:0 7px;border:1px solid var(--rule);border-radius:99px;
color:var(--soft);font-size:11.5px;white-space:nowrap}
.good{color:var(--good);border-color:currentColor}
.networks .size{display:block;white-space:nowrap}
.cells{display:flex;flex-wrap:wrap;gap:2px;width:max-content;max-width:198px}
.cell{display:inline-block;flex:none;width:23px;height:20px;border-radius:4px;color:#14171a;text-align:center;
font:600 10.5px/20px ui-monospace,Menlo,Consolas,"Liberation Mono",monospace}
.again{background-image:repeating-linear-gradient(45deg,#0003 0 2px,#0000 2px 6px)}
.choice{padding:6px 20px 14px;margin-bottom:12px}
.choice h3{margin-top:6px}
.share{display:grid;grid-template-columns:150px 1fr 92px;gap:12px;align-items:center;font-size:13.5px;margin-top:4px}
.share>.size{text-align:right}
.shares{display:flex;height:22px;border-radius:4px;overflow:hidden;background:var(--rule)}
.shares span{color:#14171a;font-size:12px;line-height:22px;text-align:center;overflow:hidden;white-space:nowrap}
.shares span+span{border-left:1px solid var(--card)}
div.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(500px,100%),1fr));gap:12px}
.commands{padding:10px 16px}
.commands:target{border-color:var(--link)}
.commands p{margin:0 0 4px;font-size:14px}
.commands p.size{margin:4px 0 0;font-size:12px}
.command{display:grid;grid-template-columns:56px 1fr;font-size:13px;color:var(--soft);align-items:baseline}
.copy{user-select:all;color:var(--ink)}
.commands .copy{font-size:12px}
dl{display:grid;grid-template-columns:minmax(150px,230px) 1fr;gap:10px 24px;margin:0}
dt{font-weight:600}
dd{margin:0;max-width:78ch}
@media (max-width:640px){
header,main,footer{padding-left:14px;padding-right:14px}
header{padding-top:24px}
h1{font-size:25px}
h2{margin-top:36px}
figure{padding:12px 10px}
.wide{display:none}
.narrow{display:block}
.chart text{font-size:12.5px}
dl{grid-template-columns:1fr;gap:2px}
dd{margin-bottom:12px}
.share{grid-template-columns:1fr auto;gap:2px 8px}
.shares{grid-column:1/3;grid-row:2}
}
@media print{
body{font-size:10.5pt;background:none}
header,main,footer{max-width:none;padding:0}
figure,.commands,.choice,tr{break-inside:avoid}
h2,h3{break-after:avoid}
.box{overflow:visible}
table{font-size:8.5pt}
th,td{padding:4px 6px}
.cells{max-width:120px}
.cell,.shares span,.group th{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""


def write_report(store: RunStore) -> Path:
    """Writes front.csv, trials.csv, front.png and, last, report.html into the run folder; each atomically.

    It can be called as soon as the search has evaluated one network, and again at any time. CSV and HTML are the same
    bytes for the same folder (the page names its path); the picture is, where matplotlib is the same.

    Returns:
        The path of report.html.

    Raises:
        InputError: nothing has been evaluated yet, a file is damaged, or the disk is full.
    """
    found = collect(store)
    store.write_text("front.csv", _csv((_front_row(network, found) for network in found.networks), FRONT_COLUMNS))
    store.write_text("trials.csv", _csv((_trial_row(trial, found) for trial in found.trials), TRIAL_COLUMNS))
    store.write_bytes("front.png", _png(_front_chart(found), _cut(found.title, 90)))
    return store.write_text("report.html", _page(found, store))

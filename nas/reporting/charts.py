"""What the charts show, before anything is drawn: layers of marks on two axes, and one function for each chart."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas.pareto import hypervolume_curve
from nas.reporting.findings import INITS, Findings, Trial
from nas.reporting.words import compact, plural, sampler_name, spoken


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A point of a chart.

    title: said on hover. label: written beside it, on the page. low, high: ends of its error bar. noise: half the length of a
    second, fainter bar.
    """

    x: float
    y: float
    title: str
    label: str = ""
    low: float | None = None
    high: float | None = None
    noise: float = 0.0

    @property
    def reach(self) -> tuple[float, float]:
        """Lowest and highest value that the mark covers with its bars."""
        ends = [self.y - self.noise, self.y + self.noise, *(end for end in (self.low, self.high) if end is not None)]
        return min(ends), max(ends)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Points of one meaning.

    colour, shape: keys of `COLOURS` and `SHAPES` in drawing.py. step: joined by a staircase. aside: drawn so many pixels to the right
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
        return "" if self.limit is None else f"budget {compact(self.limit)}"

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


_BASELINE_SHAPES = {"smallest": "down", "hand_made": "star", "largest": "up"}

_SAMPLER_SHAPES = ("circle", "square", "down")

_MACS = "MACs (the papers' FLOPs)"


def front_chart(found: Findings) -> Chart:
    """Every evaluation, the front of each sampler, the baselines and the retrained networks."""
    every, fronts = [], []
    for index, name in enumerate(found.candidates):
        colour, shape = f"sampler{index % 3}", _SAMPLER_SHAPES[index % 3]
        marks = tuple(map(_trial_mark, found.candidates[name]))
        every.append(
            Layer(name=f"{sampler_name(name)}: all", colour=colour, shape=shape, marks=marks, faint=True, size=0.65)
        )
        if found.fronts[name]:
            marks = tuple(map(_trial_mark, found.fronts[name]))
            fronts.append(
                Layer(name=f"{sampler_name(name)}: front", colour=colour, shape=shape, marks=marks, step=True)
            )
    layers = every + fronts
    for role, shape in _BASELINE_SHAPES.items():
        marks = tuple(_trial_mark(trial, spoken(role)) for trial in found.trials if trial.sampler == role)
        if marks:
            layers.append(Layer(name=spoken(role), colour="baseline", shape=shape, marks=marks, size=1.2))
    layers += _retrained_layers(found, detailed=False)
    description = "Top-1 against MACs. " + " ".join(f"{o.name}: {plural(len(o.marks), 'point')}." for o in layers)
    if found.front:
        low, high = found.front[0], found.front[-1]
        description += f" The front runs from {compact(low.macs)} MACs at top-1 {low.top1:.3f} "
        description += f"to {compact(high.macs)} MACs at top-1 {high.top1:.3f}."
    return Chart(
        x_name=_MACS,
        y_name="top-1 (sub-networks: search-validation; retrained: test)" if found.inits else "search-validation top-1",
        x=_macs_scale(layers, found.budget),
        y=Scale.over(_extent(layers)),
        layers=tuple(layers),
        limit=found.budget,
        description=description,
    )


def retrained_chart(found: Findings) -> Chart:
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


def _trial_mark(trial: Trial, label: str = "") -> Mark:
    title = (
        f"{trial.digest}\n{sampler_name(trial.sampler)}, evaluation {trial.trial}\n{compact(trial.macs)} MACs, "
        f"{compact(trial.params)} params\nsearch-validation top-1 {trial.top1:.3f}, inherited weights"
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
            names = [spoken(role) for role in network.roles if role not in ("front", "retrained")]
            highest = max(network.results, key=lambda other: network.results[other].mean)
            title = (
                f"{network.digest} ({', '.join(map(spoken, network.roles))})\nretrained from {INITS[init]}\n"
                f"{compact(network.macs)} MACs, {compact(network.params)} params\ntest top-1 {result}"
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
    return [end for layer in layers for mark in layer.marks for end in mark.reach]


def _macs_scale(layers: Iterable[Layer], budget: int | None) -> Scale:
    macs = [mark.x for layer in layers for mark in layer.marks]
    return Scale.over(macs if budget is None else [*macs, budget], positive=True)


def hypervolume_reference(found: Findings) -> tuple[float, float]:
    """The corner that hypervolume is measured from: a tenth beyond the budget or the largest candidate, top-1 of 0."""
    return 1.1 * (found.budget or max(t.macs for trials in found.candidates.values() for t in trials)), 0.0


def hypervolume_curves(found: Findings) -> dict[str, list[float]]:
    """Per sampler, its hypervolume after each evaluation, as a share of the reference box. Over budget adds nothing."""
    corner = hypervolume_reference(found)
    curves = {}
    for name, trials in found.candidates.items():
        points = [(t.macs, t.top1) if found.within(t.macs) else corner for t in trials]
        curves[name] = [volume / corner[0] for volume in hypervolume_curve(points, corner)]
    return curves


def hypervolume_chart(curves: Mapping[str, Sequence[float]]) -> Chart:
    layers = []
    for index, (name, curve) in enumerate(curves.items()):
        # The last evaluation and those that changed the value draw the whole staircase.
        turns = [n for n in range(len(curve)) if n in (0, len(curve) - 1) or curve[n] != curve[n - 1]]
        titles = {n: f"{sampler_name(name)}\n{plural(n + 1, 'evaluation')}: {curve[n]:.4f}" for n in turns}
        layers.append(
            Layer(
                name=sampler_name(name),
                colour=f"sampler{index % 3}",
                shape=_SAMPLER_SHAPES[index % 3],
                marks=tuple(Mark(x=n + 1, y=curve[n], title=titles[n]) for n in turns),
                size=0.5,
                step=True,
            )
        )
    ends = ", ".join(f"{sampler_name(name)} {curve[-1]:.4f} after {len(curve)}" for name, curve in curves.items())
    return Chart(
        x_name="evaluations of the sampler",
        y_name="hypervolume",
        x=Scale.over([0, *map(len, curves.values())]),
        y=Scale.over(_extent(layers)),
        layers=tuple(layers),
        description=f"Hypervolume of the front against the number of evaluations. It ends at: {ends}.",
        macs=False,
    )

"""What a chart is, before anything is drawn: layers of marks on two axes."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "K"))


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

    colour, shape: keys of `COLOURS` and `SHAPES` in looks.py. step: joined by a staircase. aside: drawn so many pixels to the right
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A straight line between two points, such as the diagonal. name: empty where the legend leaves it out. strong: drawn as one that
    matters, not as one that only helps to read.
    """

    name: str
    start: tuple[float, float]
    end: tuple[float, float]
    strong: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A range of the x axis, such as the tolerance around a limit."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from `low` to `high`, linear or logarithmic; flipped where it runs downwards, with the better end up."""

    low: float
    high: float
    log: bool
    flipped: bool = False

    @classmethod
    def over(cls, values: Iterable[float], *, logarithmic: bool = False) -> "Scale":
        """An axis that holds all values, with a margin.

        logarithmic: where all values are above 0 and differ by more than a factor of 6.
        """
        values = list(values)
        low, high = min(values), max(values)
        if logarithmic and low > 0 and high > 6 * low:
            return cls(low / 1.15, high * 1.15, True)
        size = max(abs(low), abs(high))
        # Values that differ by rounding alone are drawn as equal ones: no axis has ticks between them.
        margin = 0.05 * (high - low if high - low > 1e-9 * size else size or 1.0)
        return cls(low - margin, high + margin, False)

    def downwards(self) -> "Scale":
        """The same axis with its low end up."""
        return replace(self, flipped=True)

    def at(self, value: float) -> float:
        """Where a value lies, from 0 (left, or below) to 1 (right, or above)."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return 1 - share if self.flipped else share

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
    """Layers on two axes, x a quantity of any size or a plain count.

    description: what is seen, for those who do not see it. limits: places of vertical lines on the x axis, and their names.
    lines, bands: what helps to read it. left_out: a sentence about what could not be drawn, or nothing.
    """

    x_name: str
    y_name: str
    x: Scale
    y: Scale
    layers: tuple[Layer, ...]
    description: str
    limits: tuple[tuple[float, str], ...] = ()
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    counts: bool = False
    left_out: str = ""

    def x_ticks(self, most: int = 8) -> dict[float, str]:
        """Where the x axis has ticks, and what is written there."""
        ticks = self.x.ticks(most)
        if self.counts:
            return {tick: f"{tick:.0f}" for tick in ticks if tick >= 0 and tick == int(tick)}
        scale, letter = next((unit for unit in _UNITS if max(ticks, default=0) >= unit[0]), (1, ""))
        return {tick: f"{tick / scale:g}{letter}" for tick in ticks}

    def y_ticks(self) -> dict[float, str]:
        """Where the y axis has ticks, and what is written there."""
        ticks = self.y.ticks()
        step = min((after - before for before, after in itertools.pairwise(ticks)), default=1.0)
        return {tick: f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}" for tick in ticks}


def extent(layers: Iterable[Layer]) -> list[float]:
    """Every height that the layers reach."""
    return [end for layer in layers for mark in layer.marks for end in mark.reach]


def across(layers: Iterable[Layer]) -> list[float]:
    """Every x of the layers."""
    return [mark.x for layer in layers for mark in layer.marks]


EMPTY = Chart(
    x_name="",
    y_name="",
    x=Scale(0.0, 1.0, False),
    y=Scale(0.0, 1.0, False),
    layers=(),
    description="Nothing has been evaluated yet.",
)
"""Of a run without any evaluation."""

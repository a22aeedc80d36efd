"""A chart as SVG, in the page's colours."""

from dataclasses import dataclass

from nas.reporting.chart import Chart, Layer, Mark
from nas.reporting.looks import SHAPES, line_class
from nas.reporting.markup import Html, h

Place = tuple[float, float, str]
"""Where a name stands: x, y, and which part of it is at x: its start, middle or end."""

_SHARES = {"middle": 0.5, "start": 0.0, "end": 1.0}
"""By anchor, the share of a name that lies left of its place."""


@dataclass(frozen=True)
class _Frame:
    """From values of a chart to pixels of its SVG, from left and from above."""

    chart: Chart
    width: int
    height: int
    wide: bool

    @property
    def left(self) -> int:
        return 56 if self.wide else 48

    @property
    def right(self) -> int:
        return self.width - 22

    @property
    def top(self) -> int:
        return 42

    @property
    def bottom(self) -> int:
        return self.height - 58

    def across(self, value: float) -> float:
        return round(self.left + self.chart.x.at(value) * (self.right - self.left), 1)

    def down(self, value: float) -> float:
        y = self.chart.y
        return round(self.bottom - y.at(min(max(value, y.low), y.high)) * (self.bottom - self.top), 1)

    def ends(self, mark: Mark) -> tuple[float, float]:
        """Top and bottom of what a mark covers."""
        first, second = map(self.down, mark.reach)
        return min(first, second), max(first, second)

    def bar(self, x: float, low: float, high: float, class_: str, ends: str = "") -> Html:
        return h("path", class_=class_, d=f"M{x} {self.down(low)}V{self.down(high)}" + ends)


def _text(words: str, x: float, y: float, anchor: str = "middle", class_: str | None = None) -> Html:
    return h("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def _span(place: Place, letters: int) -> tuple[float, float]:
    """Left and right end of a name of so many letters."""
    x, _, anchor = place
    return x - 7 * letters * _SHARES[anchor], x + 7 * letters * (1 - _SHARES[anchor])


class _Names:
    """Finds for each name of a mark the place beside it where it covers least."""

    def __init__(self, frame: _Frame) -> None:
        self._frame = frame
        self._solid = [
            (frame.across(mark.x) + layer.aside, frame.ends(mark))
            for layer in frame.chart.layers
            if not layer.faint
            for mark in layer.marks
        ]
        self._named: list[tuple[float, float, float]] = []

    def place(self, mark: Mark, x: float, y: float) -> Place:
        """Where the name of a mark at (x, y) stands; names that come later avoid it."""
        share = self._frame.chart.x.at(mark.x)
        upper, lower = self._frame.ends(mark)
        anchor = "end" if share > 0.88 else "start" if share < 0.08 else "middle"
        places = [(x, upper - 9, anchor), (x, lower + 19, anchor), (x - 11, y + 4, "end"), (x + 11, y + 4, "start")]
        place = min(places, key=lambda place: self._crowd(place, len(mark.label)))
        self._named.append((*_span(place, len(mark.label)), place[1]))
        return place

    def _crowd(self, place: Place, letters: int) -> float:
        """How much a name of so many letters would cover there: marks, other names, the limit's line, or the border."""
        frame, (start, end), y = self._frame, _span(place, letters), place[1]
        covered = sum(
            start - 5 < other < end + 5 and upper - 5 < y and y - 10 < lower + 5
            for other, (upper, lower) in self._solid
        )
        covered += sum(one < end and start < other and abs(y - line) < 12 for one, other, line in self._named)
        crossed = any(start < frame.across(limit) < end for limit, _ in frame.chart.limits)
        return covered + 0.5 * crossed + (start < frame.left or end > frame.right)


def svg(chart: Chart, name: str, *, width: int, height: int, wide: bool) -> Html:
    """The chart as SVG in the page's colours. On the wide one each mark says on hover what it is.

    Args:
        name: of the chart on the page, whose description has the id NAME-text.
        width, height: in pixels.
    """
    frame = _Frame(chart, width, height, wide)
    return h(
        "svg",
        *_axes(frame),
        *_guides(frame),
        *_layers(frame),
        class_="chart wide" if wide else "chart narrow",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{chart.y_name} against {chart.x_name}",
        aria_describedby=f"{name}-text",
    )


def _axes(frame: _Frame) -> list[Html]:
    """The grid, the axis, and the names of both axes."""
    chart, left, right, top, bottom = frame.chart, frame.left, frame.right, frame.top, frame.bottom
    parts = []
    for tick, words in chart.y_ticks().items():
        parts.append(h("line", class_="grid", x1=left, x2=right, y1=frame.down(tick), y2=frame.down(tick)))
        parts.append(_text(words, left - 8, frame.down(tick) + 4, "end"))
    for tick, words in chart.x_ticks(8 if frame.wide else 5).items():
        parts.append(h("line", class_="grid", x1=frame.across(tick), x2=frame.across(tick), y1=top, y2=bottom))
        parts.append(_text(words, frame.across(tick), bottom + 20))
    parts.append(h("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
    parts.append(_text(chart.y_name, 4, 14, "start", "name"))
    parts.append(_text(chart.x_name, (left + right) / 2, frame.height - 10, class_="name"))
    return parts


def _guides(frame: _Frame) -> list[Html]:
    """Bands, straight lines and limits."""
    chart, across, down, top, bottom = frame.chart, frame.across, frame.down, frame.top, frame.bottom
    parts = []
    for band in chart.bands:
        start, end = (across(min(max(edge, chart.x.low), chart.x.high)) for edge in (band.low, band.high))
        parts.append(h("path", class_="band", d=f"M{start} {top}H{end}V{bottom}H{start}z"))
    for line in chart.lines:
        (x1, y1), (x2, y2) = line.start, line.end
        parts.append(h("path", class_=line_class(line), d=f"M{across(x1)} {down(y1)}L{across(x2)} {down(y2)}"))
    taken = -1.0
    for limit, words in chart.limits:
        parts.append(h("path", class_="limit", d=f"M{across(limit)} {top}V{bottom}"))
        anchor = "end" if chart.x.at(limit) > 0.85 else "middle"
        start, end = _span((across(limit), top, anchor), len(words))
        if start > taken:  # the legend has its name too
            parts.append(_text(words, across(limit), top - 6, anchor, "note"))
            taken = end
    return parts


def _layers(frame: _Frame) -> list[Html]:
    """The marks of each layer with its staircase, and above all of them the names of marks."""
    names, groups, labels = _Names(frame), [], []
    for layer in frame.chart.layers:
        marks = []
        if layer.step:
            first, *rest = layer.marks
            line = f"M{frame.across(first.x)} {frame.down(first.y)}"
            line += "".join(f"H{frame.across(mark.x)}V{frame.down(mark.y)}" for mark in rest)
            marks.append(h("path", class_="step", d=line))
        for mark in layer.marks:
            x, y = round(frame.across(mark.x) + layer.aside, 1), frame.down(mark.y)
            marks += _mark(frame, layer, mark, x, y)
            if mark.label:
                labels.append(_text(mark.label, *names.place(mark, x, y), "note"))
        groups.append(h("g", *marks, class_=layer.classes))
    return [*groups, *labels]


def _mark(frame: _Frame, layer: Layer, mark: Mark, x: float, y: float) -> list[Html]:
    """A mark at (x, y), behind it its noise and its spread."""
    parts = []
    if mark.noise:
        low, high = mark.y - mark.noise, mark.y + mark.noise
        caps = f"M{x - 5:.1f} {frame.down(low)}h10M{x - 5:.1f} {frame.down(high)}h10"
        parts.append(frame.bar(x, low, high, "noise", caps))
    if mark.low is not None and mark.high is not None and mark.low < mark.high:
        parts.append(frame.bar(x, mark.low, mark.high, "bar"))
    hover = h("title", mark.title) if frame.wide else ""
    place = f"translate({x} {y}) scale({layer.size})"
    parts.append(h("path", hover, class_="mark", d=SHAPES[layer.shape][0], transform=place))
    return parts

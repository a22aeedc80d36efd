"""A chart drawn twice: as SVG into the page, and by matplotlib, imported here alone, into front.png."""

import io
import math
import warnings

from nas.reporting.chart import Chart, Line, Mark
from nas.reporting.markup import Html, h

COLOURS = {
    "series0": ("#0072B2", "#5CB8F2"),
    "series1": ("#D55E00", "#FFA05C"),
    "series2": ("#7A6F00", "#E8DC5A"),
    "series3": ("#6A4FB3", "#B7A3FF"),
    "scratch": ("#00805E", "#3FD9AE"),
    "inherited": ("#A8478A", "#EE9FD3"),
    "baseline": ("#1B1F24", "#F0F2F4"),
}
"""What is drawn in which colour, on a light and on a dark page: after Okabe and Ito, with the contrast a page needs."""


def _around(*radii: float, corners: int) -> str:
    """An SVG path of so many corners around the origin, the first at the top, at these distances in turn."""
    turns = ((radii[k % len(radii)], 2 * math.pi * k / corners) for k in range(corners))
    return f"M{'L'.join(f'{radius * math.sin(turn):.2f} {-radius * math.cos(turn):.2f}' for radius, turn in turns)}z"


SHAPES = {
    "circle": ("M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "o"),
    "square": ("M-3.7-3.7h7.4v7.4h-7.4z", "s"),
    "diamond": ("M0-5.6L5 0L0 5.6L-5 0z", "D"),
    "up": ("M0-5L4.8 4H-4.8z", "^"),
    "down": ("M0 5L4.8-4H-4.8z", "v"),
    "cross": ("M-4.4-2L-2-4.4L0-2.4L2-4.4L4.4-2L2.4 0L4.4 2L2 4.4L0 2.4L-2 4.4L-4.4 2L-2.4 0z", "X"),
    "pentagon": (_around(4.6, corners=5), "p"),
    "star": (_around(6.6, 2.9, corners=10), "*"),
}
"""Marks by name: an SVG path around the origin, and matplotlib's letter."""


def png(chart: Chart, title: str) -> bytes:
    """The chart by matplotlib, 1650 x 990 pixels, on white, without a clock or a version in the file."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.transforms import ScaledTranslation

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own style file has no say
        matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
        figure = Figure(figsize=(11, 6.6), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        if chart.x.log:
            axes.set_xscale("log")
        if chart.y.log:
            axes.set_yscale("log")
        for order, layer in enumerate(chart.layers, 2):
            colour = COLOURS[layer.colour][0]
            moved = axes.transData + ScaledTranslation(layer.aside / 72, 0, figure.dpi_scale_trans)
            for mark in layer.marks:
                if mark.low is not None and mark.high is not None and mark.low < mark.high:
                    bar = ([mark.x, mark.x], [mark.low, mark.high])
                    axes.plot(*bar, color=colour, linewidth=1.8, zorder=order, transform=moved)
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
                markersize=(11 if layer.shape == "star" else 7.5) * layer.size,
                markerfacecolor="white" if layer.hollow else colour,
                markeredgewidth=1.6 if layer.hollow else 0.0,
                zorder=order,
                transform=moved,
            )
        for band in chart.bands:
            axes.axvspan(band.low, band.high, color="#6B7480", alpha=0.14, linewidth=0, label=band.name)
        for line in chart.lines:
            style: tuple[float, tuple[float, ...]] = (0, ()) if line.strong else (0, (1, 3))
            axes.plot(
                *zip(line.start, line.end, strict=True),
                color="#6B7480",
                linewidth=1.2,
                linestyle=style,
                label=line.name,
            )
        for limit, words in chart.limits:
            axes.axvline(limit, color="#6B7480", linestyle=(0, (4, 3)), linewidth=1.2, label=words)
        axes.set_xlim(chart.x.low, chart.x.high)
        axes.set_ylim(*((chart.y.high, chart.y.low) if chart.y.flipped else (chart.y.low, chart.y.high)))
        axes.set_xticks(list(chart.x_ticks()), list(chart.x_ticks().values()))
        axes.set_xticks([], minor=True)
        axes.set_yticks(list(chart.y_ticks()), list(chart.y_ticks().values()))
        axes.set_yticks([], minor=True)
        axes.grid(color="#E3E7EB", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel(chart.x_name, parse_math=False)
        axes.set_ylabel(chart.y_name, parse_math=False)
        if not chart.layers:
            axes.text(0.5, 0.5, chart.description, horizontalalignment="center", fontsize=12)
        axes.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
        if chart.layers:
            longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
            columns = max(1, min(4, 132 // (longest + 8)))  # of the width of the picture at this size of letters
            legend = figure.legend(loc="outside lower center", fontsize=9, ncols=columns, frameon=False)
            for text in legend.get_texts():
                text.set_parse_math(False)
        picture = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the font lacks shows as boxes
            figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def chart_figure(chart: Chart, name: str, caption: str, height: int = 440) -> Html:
    """A chart twice, of which the page shows the one that fits; its description for screen readers; a caption."""
    return h(
        "figure",
        _legend(chart),
        _svg(chart, name, width=860, height=height, wide=True),
        _svg(chart, name, width=400, height=360, wide=False),
        h("p", chart.description, class_="unseen", id=f"{name}-text"),
        h("figcaption", f"{caption} {chart.left_out}".strip()),
    )


def _legend(chart: Chart) -> Html:
    items = []
    for layer in chart.layers:
        line = h("path", class_="step", d="M0 8H26") if layer.step else ""
        place = f"translate(13 8) scale({max(layer.size, 0.8)})"
        mark = h("path", class_="mark", d=SHAPES[layer.shape][0], transform=place)
        items.append(h("li", _swatch(h("g", line, mark, class_=layer.classes)), layer.name))
    items += [h("li", _swatch(h("path", class_="band", d="M2 1H24V15H2z")), band.name) for band in chart.bands]
    named = [line for line in chart.lines if line.name]
    items += [h("li", _swatch(h("path", class_=_line_class(line), d="M1 15L25 1")), line.name) for line in named]
    for _, words in chart.limits:
        items.append(h("li", _swatch(h("path", class_="limit", d="M13 0V16")), words))
    return h("ul", *items, class_="legend")


def _line_class(line: Line) -> str:
    return "line strong" if line.strong else "line"


def _swatch(*children: Html) -> Html:
    return h("svg", *children, width=26, height=16, viewBox="0 0 26 16", aria_hidden="true")


def _svg(chart: Chart, name: str, *, width: int, height: int, wide: bool) -> Html:
    """The chart as SVG in the page's colours. On the wide one each mark says on hover what it is."""
    left, right, top, bottom = 56 if wide else 48, width - 22, 42, height - 58

    def across(value: float) -> float:
        return round(left + chart.x.at(value) * (right - left), 1)

    def down(value: float) -> float:
        return round(bottom - chart.y.at(min(max(value, chart.y.low), chart.y.high)) * (bottom - top), 1)

    def ends(mark: Mark) -> tuple[float, float]:
        """Top and bottom of what a mark covers, in pixels from above."""
        first, second = map(down, mark.reach)
        return min(first, second), max(first, second)

    def text(words: str, x: float, y: float, anchor: str = "middle", class_: str | None = None) -> Html:
        return h("text", words, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)

    def bar(x: float, low: float, high: float, class_: str, ends: str) -> Html:
        return h("path", class_=class_, d=f"M{x} {down(low)}V{down(high)}" + ends)

    solid = [(across(m.x) + layer.aside, ends(m)) for layer in chart.layers if not layer.faint for m in layer.marks]

    named: list[tuple[float, float, float]] = []
    shares = {"middle": 0.5, "start": 0.0, "end": 1.0}

    def span(place: tuple[float, float, str], letters: int) -> tuple[float, float]:
        """Left and right end of a name of so many letters there."""
        x, _, anchor = place
        return x - 7 * letters * shares[anchor], x + 7 * letters * (1 - shares[anchor])

    def crowd(place: tuple[float, float, str], letters: int) -> float:
        """How much a name of so many letters would cover there: marks, other names, the limit's line, or the border."""
        (start, end), y = span(place, letters), place[1]
        covered = sum(
            start - 5 < other < end + 5 and upper - 5 < y and y - 10 < lower + 5 for other, (upper, lower) in solid
        )
        covered += sum(one < end and start < other and abs(y - line) < 12 for one, other, line in named)
        crossed = any(start < across(limit) < end for limit, _ in chart.limits)
        return covered + 0.5 * crossed + (start < left or end > right)

    parts = []
    for tick, words in chart.y_ticks().items():
        parts.append(h("line", class_="grid", x1=left, x2=right, y1=down(tick), y2=down(tick)))
        parts.append(text(words, left - 8, down(tick) + 4, "end"))
    for tick, words in chart.x_ticks(8 if wide else 5).items():
        parts.append(h("line", class_="grid", x1=across(tick), x2=across(tick), y1=top, y2=bottom))
        parts.append(text(words, across(tick), bottom + 20))
    parts.append(h("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom))
    parts.append(text(chart.y_name, 4, 14, "start", "name"))
    parts.append(text(chart.x_name, (left + right) / 2, height - 10, class_="name"))
    for band in chart.bands:
        start, end = (across(min(max(edge, chart.x.low), chart.x.high)) for edge in (band.low, band.high))
        parts.append(h("path", class_="band", d=f"M{start} {top}H{end}V{bottom}H{start}z"))
    for line in chart.lines:
        (x1, y1), (x2, y2) = line.start, line.end
        parts.append(h("path", class_=_line_class(line), d=f"M{across(x1)} {down(y1)}L{across(x2)} {down(y2)}"))
    taken = -1.0
    for limit, words in chart.limits:
        parts.append(h("path", class_="limit", d=f"M{across(limit)} {top}V{bottom}"))
        anchor = "end" if chart.x.at(limit) > 0.85 else "middle"
        start, end = span((across(limit), top, anchor), len(words))
        if start > taken:  # the legend has its name too
            parts.append(text(words, across(limit), top - 6, anchor, "note"))
            taken = end
    labels = []
    for layer in chart.layers:
        marks = []
        if layer.step:
            first, *rest = layer.marks
            line = f"M{across(first.x)} {down(first.y)}" + "".join(f"H{across(m.x)}V{down(m.y)}" for m in rest)
            marks.append(h("path", class_="step", d=line))
        for mark in layer.marks:
            x, y = round(across(mark.x) + layer.aside, 1), down(mark.y)
            if mark.noise:
                low, high = mark.y - mark.noise, mark.y + mark.noise
                caps = f"M{x - 5:.1f} {down(low)}h10M{x - 5:.1f} {down(high)}h10"
                marks.append(bar(x, low, high, "noise", caps))
            if mark.low is not None and mark.high is not None and mark.low < mark.high:
                marks.append(bar(x, mark.low, mark.high, "bar", ""))
            hover = h("title", mark.title) if wide else ""
            place = f"translate({x} {y}) scale({layer.size})"
            marks.append(h("path", hover, class_="mark", d=SHAPES[layer.shape][0], transform=place))
            if mark.label:
                upper, lower = ends(mark)
                anchor = "end" if chart.x.at(mark.x) > 0.88 else "start" if chart.x.at(mark.x) < 0.08 else "middle"
                places = [
                    (x, upper - 9, anchor), (x, lower + 19, anchor), (x - 11, y + 4, "end"), (x + 11, y + 4, "start"),
                ]  # fmt: skip
                place = min(places, key=lambda place: crowd(place, len(mark.label)))
                named.append((*span(place, len(mark.label)), place[1]))
                labels.append(text(mark.label, *place, "note"))
        parts.append(h("g", *marks, class_=layer.classes))
    return h(
        "svg",
        *parts,
        *labels,
        class_="chart wide" if wide else "chart narrow",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{chart.y_name} against {chart.x_name}",
        aria_describedby=f"{name}-text",
    )

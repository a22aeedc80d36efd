"""A chart on the page: as SVG, with a legend and a description."""

from nas.reporting.chart import Chart
from nas.reporting.looks import SHAPES, line_class
from nas.reporting.markup import Html, h
from nas.reporting.svg import svg


def chart_figure(chart: Chart, name: str, caption: str, height: int = 440) -> Html:
    """A chart twice, of which the page shows the one that fits; its description for screen readers; a caption."""
    return h(
        "figure",
        _legend(chart),
        svg(chart, name, width=860, height=height, wide=True),
        svg(chart, name, width=400, height=360, wide=False),
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
    items += [h("li", _swatch(h("path", class_=line_class(line), d="M1 15L25 1")), line.name) for line in named]
    for _, words in chart.limits:
        items.append(h("li", _swatch(h("path", class_="limit", d="M13 0V16")), words))
    return h("ul", *items, class_="legend")


def _swatch(*children: Html) -> Html:
    return h("svg", *children, width=26, height=16, viewBox="0 0 26 16", aria_hidden="true")

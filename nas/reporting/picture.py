"""A chart as a picture: by matplotlib, imported here alone, into front.png."""

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from nas.reporting.chart import Chart
from nas.reporting.looks import COLOURS, SHAPES
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _check_settings() -> None:
    """matplotlib opens such a file when it is imported, and would wait for a pipe.

    Raises:
        InputError: it is no ordinary file.
    """
    name = Path("matplotlibrc")
    if name.exists() and not name.is_file() and not name.is_dir():
        raise InputError(
            f"{name.absolute()} is no ordinary file, and matplotlib would open it",
            "a folder without one",
            "another folder",
        )


def png(chart: Chart, title: str) -> bytes:
    """The chart by matplotlib, 1650 x 990 pixels, on white, without a clock or a version in the file."""
    _check_settings()
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
        _draw_layers(axes, chart)
        _draw_guides(axes, chart)
        _draw_axes(axes, chart)
        if not chart.layers:
            axes.text(0.5, 0.5, chart.description, horizontalalignment="center", fontsize=12)
        axes.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
        if chart.layers:
            _draw_legend(figure, axes)
        picture = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph")  # a name in letters that the font lacks shows as boxes
            figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def _draw_layers(axes: "Axes", chart: Chart) -> None:
    """Marks, what joins them, and their spreads."""
    from matplotlib.transforms import ScaledTranslation

    for order, layer in enumerate(chart.layers, 2):
        colour = COLOURS[layer.colour][0]
        moved = axes.transData + ScaledTranslation(layer.aside / 72, 0, axes.figure.dpi_scale_trans)
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


def _draw_guides(axes: "Axes", chart: Chart) -> None:
    """Bands, straight lines and limits."""
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


def _draw_axes(axes: "Axes", chart: Chart) -> None:
    """Limits, ticks, grid and names of both axes."""
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


def _draw_legend(figure: "Figure", axes: "Axes") -> None:
    """The legend below the axes, in as many columns as its longest name leaves room for."""
    longest = max(len(text) for text in axes.get_legend_handles_labels()[1])
    columns = max(1, min(4, 132 // (longest + 8)))  # of the width of the picture at this size of letters
    legend = figure.legend(loc="outside lower center", fontsize=9, ncols=columns, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)

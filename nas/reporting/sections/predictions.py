"""Predicted against measured: how far the model of a device is from whole networks that were measured on it."""

from nas.records.device_times import OVER, PREDICTED, DeviceTime, changed_speed
from nas.reporting.chart import Chart, Layer, Line, Mark, Scale, extent
from nas.reporting.drawing import chart_figure
from nas.reporting.findings import SearchFindings
from nas.reporting.markup import Html, h
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import compact, plain, plural

TOLERANCE = 0.1
"""Where the error of a model on held-out networks is not known, the lines beside the diagonal are so far from it."""


class Predictions(SearchSection):
    """A chart for each device whose predictions were checked; nothing where nothing was measured."""

    title = "Predicted against measured"
    order = 30

    def parts(self, place: Place) -> list[Html]:
        search, parts = place.search, []
        for number, (cost, found) in enumerate(_by_device(search).items(), 1):
            device = search.view.devices.get(cost, {}).get("device") or cost
            both = [m for m in found if m.measured is not None and m.predicted]
            if not both:
                text = f"{plain(device)} is not the device that searched: the times of {plural(len(found), 'network')} are {PREDICTED}."
                parts.append(h("p", text))
                continue
            if not parts or len(_by_device(search)) > 1:
                parts.append(h("p", _said(search, cost, device, both)))
            chart = _chart(search, cost, both)
            caption = "Bars: 95 % confidence interval of the measurement. Above the diagonal a network takes longer than predicted."
            parts.append(
                chart_figure(chart, f"{place.id('predicted')}{'' if number == 1 else f'-{number}'}", caption, 400)
            )
        return parts


def _by_device(search: SearchFindings) -> dict[str, list[DeviceTime]]:
    """The measurements of each device under one of the names of its cost, which all have the same times."""
    names: dict[str, str] = {}
    found: dict[str, list[DeviceTime]] = {}
    for measurement in search.measured.values():
        cost = names.setdefault(measurement.device, measurement.cost)
        if measurement.cost == cost:
            found.setdefault(cost, []).append(measurement)
    return found


def _said(search: SearchFindings, cost: str, device: str, both: list[DeviceTime]) -> str:
    import numpy as np

    from nas.latency.accuracy import accuracy

    found = accuracy(np.array([m.predicted for m in both]), np.array([m.measured for m in both]))
    text = (
        f"{plural(len(both), 'network')} of this search were measured whole on {plain(device)}. Predictions are off by {found.mape:.1%} on "
        f"average (MAPE); their mean is {found.bias:+.1%} off (bias), and {found.within_10:.0%} of them are within 10%. Kendall's tau between "
        f"predicted and measured times is {found.tau:.2f}."
    )
    held_out = search.view.devices.get(cost, {}).get("held_out", {})
    if "mape" in held_out:
        count = f" on {plural(int(held_out['count']), 'held-out network')}" if "count" in held_out else ""
        text += f" When the device was profiled, the error{count} was {held_out['mape']:.1%}"
        text += f" and the bias {held_out['bias']:+.1%}." if "bias" in held_out else "."
    if over := search.overturned & {m.digest for m in both}:
        text += f" {plural(len(over), 'network')} that had been predicted to be within the budget may not win, because they are not."
    if words := changed_speed(both):
        text += f" {words[0].upper()}{words[1:]}."
    if any(m.noisy for m in both):
        text += " The machine was too noisy for these times to be believed; they were asked for all the same."
    return text.replace("%", " %")


def _chart(search: SearchFindings, cost: str, both: list[DeviceTime]) -> Chart:
    layers = []
    for name, colour, shape, over in (("measured", "series0", "circle", False), (OVER, "series1", "cross", True)):
        own = [m for m in both if (not m.within(search.budget)) is over]
        if own:
            layers.append(Layer(name=name, colour=colour, shape=shape, marks=tuple(map(_mark, own))))
    predicted = [m.predicted or 0.0 for m in both]
    scale = Scale.over([*predicted, *extent(layers)], logarithmic=True)
    error = search.tolerance(cost) or TOLERANCE
    lines = [_through(scale, 1.0, "measured = predicted")]
    name = f"± {error:.1%}".replace("%", " %") + (
        " (mean error on held-out networks)" if search.tolerance(cost) else ""
    )
    lines += [_through(scale, 1 + error, name), _through(scale, 1 - error, "")]
    return Chart(
        x_name=plain(f"predicted {cost} (ms)"),
        y_name="measured (ms)",
        x=scale,
        y=scale,
        layers=tuple(layers),
        lines=tuple(lines),
        description=f"Measured against predicted times of {plural(len(both), 'network')}, with the diagonal on which both are equal.",
    )


def _mark(found: DeviceTime) -> Mark:
    said = (
        f"{found.digest}\npredicted {compact(found.predicted or 0.0)} ms, measured {compact(found.measured or 0.0)} ms"
    )
    interval = (
        f"{compact(found.low or 0.0)} to {compact(found.high or 0.0)} ms with 95 % confidence, {found.rounds} rounds"
    )
    return Mark(
        x=found.predicted or 0.0, y=found.measured or 0.0, low=found.low, high=found.high, title=f"{said}\n{interval}"
    )


def _through(scale: Scale, slope: float, name: str) -> Line:
    """measured = slope * predicted, inside the square of the chart."""
    start, end = max(scale.low, scale.low / slope), min(scale.high, scale.high / slope)
    return Line(name=name, start=(start, slope * start), end=(end, slope * end), strong=slope == 1.0)

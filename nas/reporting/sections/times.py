"""MACs against milliseconds: how much the times of networks differ that have the same MACs."""

from nas.records import Evaluation
from nas.reporting.chart import Chart, Layer, Mark, Scale, across, extent
from nas.reporting.charts import cost_info, said_of
from nas.reporting.drawing import chart_figure
from nas.reporting.findings import SearchFindings
from nas.reporting.markup import Html, h
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import amount, axis_name, compact, plain, plural

ALIKE = 0.05
"""Two networks have about the same MACs where they differ by no more than this share."""


class Times(SearchSection):
    """A chart for each cost in milliseconds that matters to the search; nothing where there is none."""

    title = "MACs against milliseconds"
    order = 40

    def parts(self, place: Place) -> list[Html]:
        search, parts = place.search, []
        for cost in search.matters:
            known = _known(search, cost.name)
            if cost.unit != "ms" or len(known) < 3:
                continue
            parts.append(h("p", _said(search, cost.name, known)))
            name = f"{place.id('times')}{'' if len(parts) == 1 else f'-{len(parts)}'}"
            caption = "Every evaluated network once. If MACs stood in for time, the points would lie on one line."
            parts.append(chart_figure(_chart(search, cost.name, known), name, caption, 400))
        return parts


def _known(search: SearchFindings, cost: str) -> list[Evaluation]:
    """Each network whose MACs and time are known, by rising MACs."""
    found = {t.digest: t for t in search.trials if "macs" in t.costs and cost in t.costs}
    return sorted(found.values(), key=lambda trial: (trial.costs["macs"], trial.digest))


def _said(search: SearchFindings, cost: str, known: list[Evaluation]) -> str:
    import numpy as np

    from nas.latency.accuracy import kendall_tau

    macs, ms = (np.array([trial.costs[name] for trial in known], dtype=float) for name in ("macs", cost))
    text = f"Kendall's tau between MACs and {plain(cost)} of {plural(len(known), 'network')} is {kendall_tau(macs, ms):.2f}: 1 if MACs told "
    text += "which of two networks is faster, 0 if they told nothing."
    if pair := _apart(known, cost):
        fast, slow = pair
        ratio = slow.costs[cost] / fast.costs[cost]
        text += (
            f" Among networks whose MACs differ by at most {ALIKE:.0%}, the times differ by a factor of up to {ratio:.2f}: "
            f"{fast.digest} takes {amount(cost, fast.costs[cost], search.costs)} at {compact(fast.costs['macs'])} MACs, {slow.digest} "
            f"{amount(cost, slow.costs[cost], search.costs)} at {compact(slow.costs['macs'])} MACs."
        ).replace("%", " %")
    return text


def _apart(known: list[Evaluation], cost: str) -> tuple[Evaluation, Evaluation] | None:
    """The fastest and the slowest of the networks of about the same MACs whose times differ most; None where no two are alike."""
    best: tuple[float, Evaluation, Evaluation] | None = None
    for first, trial in enumerate(known):
        for other in known[first + 1 :]:
            if other.costs["macs"] > (1 + ALIKE) * trial.costs["macs"]:
                break
            fast, slow = sorted((trial, other), key=lambda own: own.costs[cost])
            if fast.costs[cost] > 0 and (best is None or slow.costs[cost] / fast.costs[cost] > best[0]):
                best = slow.costs[cost] / fast.costs[cost], fast, slow
    return None if best is None else best[1:]


def _chart(search: SearchFindings, cost: str, known: list[Evaluation]) -> Chart:
    def mark(trial: Evaluation, y: float) -> Mark:
        return Mark(x=trial.costs["macs"], y=y, title=said_of(trial, search))

    predicted = cost in search.view.devices
    word = "predicted" if predicted else "evaluated"
    marks = tuple(mark(trial, trial.costs[cost]) for trial in known)
    layers = [Layer(name=f"{word}: all", colour="series0", shape="circle", marks=marks, faint=True, size=0.65)]
    front = {trial.digest for trial in search.front}
    own = tuple(mark(trial, trial.costs[cost]) for trial in known if trial.digest in front)
    if own:
        layers.append(Layer(name=f"{word}: Pareto front", colour="series0", shape="circle", marks=own))
    found = ((trial, search.measured.get((trial.digest, cost))) for trial in known)
    measured = tuple(mark(trial, m.measured) for trial, m in found if m and m.measured is not None)
    if measured:
        layers.append(Layer(name="measured", colour="series1", shape="diamond", marks=measured, hollow=True))
    return Chart(
        x_name=axis_name(cost_info(search, "macs")),
        y_name=axis_name(cost_info(search, cost)),
        x=Scale.over(across(layers), logarithmic=True),
        y=Scale.over(extent(layers), logarithmic=True),
        layers=tuple(layers),
        description=f"{plain(cost)} against MACs of {plural(len(known), 'evaluated network')}.",
    )

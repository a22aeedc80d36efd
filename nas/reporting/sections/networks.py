"""The table of networks."""

import math

from nas.goals.objectives import Objective
from nas.goals.roles import ROLES
from nas.records import Reference
from nas.records.device_times import OVER, PREDICTED, DeviceTime
from nas.reporting.findings import Network, Result, SearchFindings
from nas.reporting.markup import Html, boxed_table, h, headings, number_cell
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import amount, axis_name, compact, cost_name, exactly, plural, spoken


class Networks(SearchSection):
    """Every network that matters, with its costs, its results and its blocks."""

    title = "Networks"
    order = 20

    def parts(self, place: Place) -> list[Html]:
        search = place.search
        if not search.networks:
            return [h("p", "No network has been evaluated yet.")]
        text = "Per stage: blocks × channels, and a cell for each block with its token mixer; options and FFN show on hover."
        others = [cost for cost in search.costs if cost not in {cost.name for cost in search.matters}]
        text += " Further costs show on hover over the digest." * bool(others)
        text += " A dash: not retrained." * bool(search.inits)
        return [h("p", text), place.mixers.legend(), _table(place, others)]


def _table(place: Place, others: list[str]) -> Html:
    search = place.search
    stages = max(len(network.architecture.stages) for network in search.networks)
    starts = [
        f"test top-1, retrained from {init}{' weights' * (init == 'inherited')}"
        for init in search.inits or ["scratch"] * bool(search.references)
    ]
    costs = [cost_name(c.name) if c.name in ("macs", "params") else axis_name(c) for c in search.matters]
    scores = ["search-validation top-1, inherited weights"]
    scores += ["search-validation loss, inherited weights"] * (Objective("loss") in search.objectives)
    heads = headings("network", *costs, *scores, *starts)
    heads += [h("th", f"stage {k}", scope="col") for k in range(1, stages + 1)]
    bodies = []
    for title, on_front in (("Pareto front", True), ("Baselines and comparisons", False)):
        rows = [_row(n, place, stages, others) for n in search.networks if n.on_front is on_front]
        if rows:
            group = h("tr", h("th", title, colspan=len(heads), scope="colgroup"), class_="group")
            bodies.append(h("tbody", group, *rows))
    if search.references:
        group = h(
            "tr", h("th", "timm's models, by the same recipe", colspan=len(heads), scope="colgroup"), class_="group"
        )
        rows = [
            _reference_row(model, result, search, len(scores), stages) for model, result in search.references.items()
        ]
        bodies.append(h("tbody", group, *rows))
    name = f"Networks of {search.name}" if place.found.several else "Networks"
    return boxed_table(name, h("thead", h("tr", *heads)), *bodies, class_="networks")


def _row(network: Network, place: Place, stages: int, others: list[str]) -> Html:
    search = place.search
    badges = [h("span", spoken(r), class_="badge", title=ROLES[r]) for r in network.roles if r != "front"]
    if search.retrained_best and network is search.retrained_best[0]:
        why = "highest mean validation top-1 after retraining"
        badges.append(h("span", "best on validation", class_="badge good", title=why))
    badges += [*_over_budget(network, search), *_over_when_measured(network, search)]
    link = place.link(network)
    more = "\n".join(amount(name, network.costs.get(name), search.costs) for name in others)
    if more:
        link = h("span", link, title=more)
    return h(
        "tr",
        h("th", h("div", link), *badges, scope="row"),
        *(_cost_cell(network, cost.name, search) for cost in search.matters),
        *_score_cells(network, search),
        *(_result_cell(network.results.get(init)) for init in search.inits),
        *place.mixers.columns(network.architecture, stages),
    )


def _reference_row(model: str, result: Result, search: SearchFindings, scores: int, stages: int) -> Html:
    return h(
        "tr",
        h("th", h("div", f"timm/{model}"), scope="row"),
        *(_reference_cell(cost.name, result) for cost in search.matters),
        *(number_cell("–", title="it has no inherited weights") for _ in range(scores)),
        *(_result_cell(result if init == "scratch" else None) for init in search.inits or ["scratch"]),
        *(h("td") for _ in range(stages)),
    )


def _reference_cell(cost: str, result: Result) -> Html:
    value = result.costs.get(cost)
    if value is None:
        return number_cell("–", title="not known")
    repeat = result.repeats[0]
    time = repeat.times.get(cost) if isinstance(repeat, Reference) else None
    if not time:
        return number_cell(compact(value), title=exactly(value))
    ends = f"; {compact(time.get('low', value))} to {compact(time.get('high', value))} ms (95 % confidence)"
    small = "measured" + ", on a noisy machine" * bool(time.get("noisy"))
    return number_cell(compact(value), small, title=exactly(value) + ends)


def _over_budget(network: Network, search: SearchFindings) -> list[Html]:
    """A badge where limits are broken, which names them."""
    broken = [name for name, above in search.budget.violations(network.costs).items() if above > 0]
    if not broken:
        return []
    title = "\n".join(
        f"{amount(name, network.costs.get(name), search.costs)}; {_limit_of(search, name)}" for name in broken
    )
    below = all(network.costs.get(name, math.inf) < (search.budget.floor(name) or 0) for name in broken)
    text = f"{'below' if below else 'over'} budget: {', '.join(map(cost_name, broken))}"
    return [h("span", text, class_="badge", title=title)]


def _limit_of(search: SearchFindings, name: str) -> str:
    low, high = search.budget.floor(name), search.budget.limit(name)
    if low is None:
        return f"the limit is {exactly(high or 0.0)}"
    return f"it is to be at least {exactly(low)}" + (f" and at most {exactly(high)}" if high is not None else "")


def _over_when_measured(network: Network, search: SearchFindings) -> list[Html]:
    """A badge where a measurement is over the budget."""
    if network.digest not in search.refuted:
        return []
    own = [m for (digest, _), m in search.measured.items() if digest == network.digest and not m.within(search.budget)]
    title = "\n".join(
        f"{m.cost}: {_interval(m)}; the limit is {exactly(search.budget.limit(m.cost) or 0.0)}" for m in own
    )
    return [h("span", OVER, class_="badge", title=title)]


def _interval(measurement: DeviceTime) -> str:
    return f"{compact(measurement.low or 0.0)} to {compact(measurement.high or 0.0)} ms measured (95 % confidence)"


def _cost_cell(network: Network, cost: str, search: SearchFindings) -> Html:
    value, found = network.costs.get(cost), search.measured.get((network.digest, cost))
    predicted = cost in search.view.devices if found is None else found.measured is None
    small = PREDICTED if predicted else f"measured {compact(found.measured or 0.0)}" if found else ""
    interval = f"; {_interval(found)}" if found and found.measured is not None else ""
    if value is None:
        return number_cell("–", small, title=f"not known for this network{interval}")
    return number_cell(compact(value), small, title=exactly(value) + interval)


def _score_cells(network: Network, search: SearchFindings) -> list[Html]:
    with_loss, trial = Objective("loss") in search.objectives, network.inherited
    if trial is None:
        return [number_cell("–")] * (2 if with_loss else 1)
    title = f"± one binomial standard error on {plural(trial.images, 'image')}"
    cells = [number_cell(f"{trial.top1:.3f}", f"± {trial.error:.3f}", title)]
    return cells + [number_cell(f"{trial.loss:.3f}")] * with_loss


def _result_cell(result: Result | None) -> Html:
    if result is None:
        return number_cell("–")
    spread = f"n = {len(result.tests)}"
    if len(result.tests) > 1:
        spread = f"{min(result.tests):.3f}–{max(result.tests):.3f}, {spread}"
    title = f"binomial standard error {result.error:.3f} on {plural(result.images, 'test image')}"
    return number_cell(f"{result.mean:.3f}", spread, title)

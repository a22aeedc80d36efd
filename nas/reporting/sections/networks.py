"""The table of networks."""

import math

from nas.objectives import Objective
from nas.reporting.findings import Network, Result, SearchFindings
from nas.reporting.markup import Html, boxed_table, h, headings, number_cell
from nas.reporting.sections.place import Place, section
from nas.reporting.words import amount, axis_name, compact, cost_name, exactly, plural, spoken
from nas.roles import ROLES


def networks(place: Place) -> Html:
    """Every network that matters, with its costs, its results and its blocks."""
    search = place.search
    if not search.networks:
        return section("Networks", [h("p", "No network has been evaluated yet.")], place.level)
    text = (
        "Per stage: blocks × channels, and a cell for each block with its token mixer; options and FFN show on hover."
    )
    others = [cost for cost in search.costs if cost not in {cost.name for cost in search.matters}]
    text += " Further costs show on hover over the digest." * bool(others)
    text += " A dash: not retrained." * bool(search.inits)
    return section("Networks", [h("p", text), place.mixers.legend(), _table(place, others)], place.level)


def _table(place: Place, others: list[str]) -> Html:
    search = place.search
    stages = max(len(network.architecture.stages) for network in search.networks)
    starts = [f"test top-1, retrained from {init}{' weights' * (init == 'inherited')}" for init in search.inits]
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
    name = f"Networks of {search.name}" if place.found.several else "Networks"
    return boxed_table(name, h("thead", h("tr", *heads)), *bodies, class_="networks")


def _row(network: Network, place: Place, stages: int, others: list[str]) -> Html:
    search = place.search
    badges = [h("span", spoken(r), class_="badge", title=ROLES[r]) for r in network.roles if r != "front"]
    if search.retrained_best and network is search.retrained_best[0]:
        why = "highest mean validation top-1 after retraining"
        badges.append(h("span", "best on validation", class_="badge good", title=why))
    badges += _over_budget(network, search)
    link = place.link(network)
    more = "\n".join(amount(name, network.costs.get(name), search.costs) for name in others)
    if more:
        link = h("span", link, title=more)
    return h(
        "tr",
        h("th", h("div", link), *badges, scope="row"),
        *(_cost_cell(network.costs.get(cost.name)) for cost in search.matters),
        *_score_cells(network, search),
        *(_result_cell(network.results.get(init)) for init in search.inits),
        *place.mixers.columns(network.architecture, stages),
    )


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


def _cost_cell(value: float | None) -> Html:
    if value is None:
        return number_cell("–", title="not known for this network")
    return number_cell(compact(value), title=exactly(value))


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

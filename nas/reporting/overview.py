"""All searches of a run side by side."""

from nas.reporting.charts import overview_chart
from nas.reporting.curves import Box, box, share
from nas.reporting.drawing import chart_figure
from nas.reporting.findings import Findings, SearchFindings, shared
from nas.reporting.markup import Html, boxed_table, h, number_cell
from nas.reporting.place import Place
from nas.reporting.sections.samplers import box_in_words
from nas.reporting.words import SCORE_NAMES, amount, limits, objective_name, sampler_name


def overview(found: Findings, places: list[Place]) -> list[Html]:
    """A chart for each group of searches that one chart can show, and a table of all."""
    parts = []
    for number, ((_, cost), group) in enumerate(shared(found.searches).items(), 1):
        chart = overview_chart(group, cost) if len(group) > 1 else None
        if chart:
            caption = (
                "The Pareto front of each search, with inherited weights. Stairs join the Pareto front of a search that optimised "
                "these two quantities and no other."
            )
            parts.append(chart_figure(chart, f"searches-{number}", caption))
    parts.append(_table(places))
    return parts


def _boxes(places: list[Place]) -> dict[tuple[str, ...], tuple[list[SearchFindings], Box]]:
    """The box of all searches with the same objectives, which makes their hypervolumes comparable."""
    groups: dict[tuple[str, ...], list[SearchFindings]] = {}
    for place in places:
        names = tuple(sorted(objective.name for objective in place.search.objectives))
        groups.setdefault(names, []).append(place.search)
    return {names: (group, box(group)) for names, group in groups.items()}


def _table(places: list[Place]) -> Html:
    boxes = _boxes(places)
    words = ("search", "budget", "objectives", "samplers")
    numbers = ("evaluations", "on the Pareto front", "best score", "hypervolume")
    head = [h("th", word, scope="col") for word in (*words, "state")]
    head += [h("th", word, scope="col", class_="num") for word in numbers]
    table = boxed_table(
        "Searches", h("thead", h("tr", *head)), h("tbody", *(_row(place, boxes) for place in places)), class_="searches"
    )
    text = "Evaluations: those of samplers, without the networks that are only compared. Best score: with inherited weights. "
    sizes = [box_in_words(group, ends) for group, ends in boxes.values()]
    if len(boxes) == 1:
        text += f"Hypervolume: share of one box for all searches; it reaches {sizes[0]}."
        return h("div", table, h("p", h("small", text)))
    text += "Hypervolume: share of a box, to be compared between searches with the same objectives alone. It reaches"
    of = (", ".join(objective_name(o.name) for o in group[0].objectives) for group, _ in boxes.values())
    items = (h("li", h("small", f"for {name}: {size}")) for name, size in zip(of, sizes, strict=True))
    return h("div", table, h("p", h("small", text)), h("ul", *items))


def _row(place: Place, boxes: dict[tuple[str, ...], tuple[list[SearchFindings], Box]]) -> Html:
    search = place.search
    ends = boxes[tuple(sorted(objective.name for objective in search.objectives))][1]
    best = "–"
    if search.best:
        best = f"{SCORE_NAMES[search.score.name]} {getattr(search.best, search.score.name):.3f}"
    small = amount(search.cost, search.best.costs.get(search.cost), search.costs) if search.best else ""
    done = sum(map(len, search.candidates.values()))
    return h(
        "tr",
        h("th", h("a", search.name, href=f"#{place.anchor}"), scope="row"),
        h("td", limits(search.budget, search.costs)),
        h("td", ", ".join(objective_name(objective.name) for objective in search.objectives)),
        h("td", ", ".join(map(sampler_name, samplers_of(search))) or "–"),
        h("td", search.state),
        number_cell(f"{done:,}"),
        number_cell(len(search.front)),
        number_cell(best, small),
        number_cell(f"{share(search, ends):.4f}"),
    )


def samplers_of(search: SearchFindings) -> list[str]:
    """Those that have evaluated a network, after them those that are to."""
    planned = search.view.settings.get("samplers", ())
    names = [name for name in planned if isinstance(name, str)] if isinstance(planned, list | tuple) else []
    return list(dict.fromkeys([*search.candidates, *names]))

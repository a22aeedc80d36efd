"""How fast each sampler found it: hypervolume, and a table of the samplers."""

from nas.goals.roles import best_of
from nas.reporting.curves import Box, box, hypervolume_chart, hypervolume_curves
from nas.reporting.drawing import chart_figure
from nas.reporting.findings import SearchFindings
from nas.reporting.markup import Html, boxed_table, h, headings, number_cell
from nas.reporting.place import Place
from nas.reporting.section import SearchSection
from nas.reporting.words import SCORE_NAMES, amount, listed, sampler_name


class Samplers(SearchSection):
    """Nothing before a sampler has evaluated a network."""

    title = "How fast each sampler found it"
    order = 50

    def parts(self, place: Place) -> list[Html]:
        search = place.search
        if not search.candidates:
            return []
        parts, curves = [], {}
        if len(search.objectives) > 1:  # with one, the chart of the best so far says it all
            ends = box([search])
            curves = hypervolume_curves(search, ends)
            parts.append(chart_figure(hypervolume_chart(curves), place.id("volume"), _caption(search, ends), 340))
        else:
            parts.append(h("p", "One run of each sampler: a small difference may be luck."))
        parts.append(_table(place, curves))
        return parts


def _caption(search: SearchFindings, ends: Box) -> str:
    return (
        f"Share of a box that a sampler's Pareto front dominates, by search-validation results with inherited weights. More is "
        f"better. The box reaches {box_in_words([search], ends)}. One run of each sampler: a small difference may be luck."
    )


def box_in_words(searches: list[SearchFindings], ends: Box) -> str:
    """The box that hypervolume is a share of, for searches of the same objectives."""
    sides = []
    for objective in searches[0].objectives:
        name = objective.name
        if objective.up:
            sides.append("from top-1 0 to 1")
        elif not objective.is_cost:
            sides.append(f"from loss 0 to {ends[name]:.3f} (the largest of a candidate)")
        else:
            limited = all(search.budget.limit(name) for search in searches)
            largest = "the largest limit" if len(searches) > 1 else "the limit"
            beyond = largest if limited else "the largest candidate"
            sides.append(f"from 0 to {amount(name, ends[name], searches[0].costs)} (a tenth beyond {beyond})")
    return listed(sides)


def _table(place: Place, curves: dict[str, list[float]]) -> Html:
    search = place.search
    score = search.score
    common = min(map(len, search.candidates.values()))
    uneven = bool(curves) and common < max(map(len, search.candidates.values()))
    names = ["sampler", "evaluations", "different networks", "within budget"]
    raced = any(trial.is_estimate for trials in search.candidates.values() for trial in trials)
    names += (
        ["dropped before all images"] * raced
        + ["on its Pareto front"] * bool(curves)
        + [f"best {SCORE_NAMES[score.name]} within budget"]
    )
    names += [f"hypervolume after {common}"] * uneven + ["hypervolume, final"] * bool(curves)
    rows = []
    for name, trials in search.candidates.items():
        own = search.fronts[name]
        best = f"{getattr(best_of(own, search.objectives), score.name):.3f}" if own else "–"
        cells: list[object] = [len(trials), len({trial.digest for trial in trials})]
        cells += [sum(map(search.within, trials))] + [sum(trial.is_estimate for trial in trials)] * raced
        cells += [len(own)] * bool(curves) + [best]
        if curves:
            cells += [f"{curves[name][common - 1]:.4f}"] * uneven + [f"{curves[name][-1]:.4f}"]
        rows.append(h("tr", h("th", sampler_name(name), scope="row"), *map(number_cell, cells)))
    label = f"Samplers of {search.name}" if place.found.several else "Samplers"
    return boxed_table(label, h("thead", h("tr", *headings(*names))), h("tbody", *rows))

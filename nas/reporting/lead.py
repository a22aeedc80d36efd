"""The result in a paragraph and a row of numbers: of one search, or of all."""

from nas.goals.objectives import Objective
from nas.records import INITS, SAMPLER, Evaluation
from nas.reporting.findings import Findings, SearchFindings
from nas.reporting.markup import Html, h, join
from nas.reporting.place import Place, big
from nas.reporting.words import (
    SCORE_NAMES,
    amount,
    axis_name,
    bounds,
    cost_name,
    limits,
    listed,
    plural,
    sampler_name,
    spoken,
)

_RIVALS = 6
"""Most networks off the Pareto front that the paragraph names."""


def run_lead(found: Findings) -> Html:
    """The supernet and its data."""
    run, splits = found.run, found.run["split_sizes"]
    return join(
        [
            "A weight-sharing supernet was trained on ",
            h("b", run["config"]["data"]["name"]),
            f" ({splits['train']:,} images train it, {splits['validation']:,} choose, {splits['test']:,} test; "
            f"{plural(len(run['classes']), 'class')}). The space ",
            h("b", run["space_name"]),
            " holds ",
            big(run["space_size"]),
            " networks",
        ]
    )


def lead(place: Place) -> Html:
    """The result of a search. Where there is one alone, the paragraph begins with the run."""
    search = place.search
    budget = f"the budget was {limits(search.budget, search.costs)}" if search.budget else "there was no budget"
    if place.found.several:
        parts: list[object] = [f"{budget[0].upper()}{budget[1:]}. "]
    else:
        parts = [run_lead(place.found), f"; {budget}. "]
    parts += [_optimised(search), *_course(search), *_front(search), _delivered(search)]
    if search.view.evaluations:
        parts += _retrained(place)
    return h("p", *parts, class_="lead" if not place.found.several else None)


def _optimised(search: SearchFindings) -> str:
    """What the search optimised, where it is not top-1 and MACs."""
    names = [objective.name for objective in search.objectives]
    if names == ["top1", "macs"]:
        return ""
    groups = ("higher", [o for o in search.objectives if o.up]), ("lower", [o for o in search.objectives if not o.up])
    words = (f"{listed([_called(search, o) for o in of])} ({way} is better)" for way, of in groups if of)
    return f"The search optimised {' and '.join(words)}. "


def _called(search: SearchFindings, objective: Objective) -> str:
    if not objective.is_cost:
        return SCORE_NAMES[objective.name]
    unit = search.costs[objective.name].unit
    return cost_name(objective.name) + f" in {unit}" * (bool(unit) and objective.name not in ("macs", "params"))


def _course(search: SearchFindings) -> list[object]:
    """How many evaluations there are, and whether more were planned."""
    if not search.trials:
        text = "Nothing has been evaluated yet. "
    elif not search.candidates:
        text = "No sampler has evaluated a network yet. "
    else:
        counts = (f"{plural(len(of), 'evaluation')} by {sampler_name(name)}" for name, of in search.candidates.items())
        text = f"The search took {' and '.join(counts)}. "
    if search.view.closed:
        text += "It was closed by hand before all its evaluations were done. "
    elif not search.view.finished:
        text += "It is not finished: more evaluations are to come. "
    return [text]


def _value(search: SearchFindings, trial: Evaluation) -> str:
    return f"search-validation {SCORE_NAMES[search.score.name]} {getattr(trial, search.score.name):.3f}"


def _at(search: SearchFindings, trial: Evaluation) -> str:
    return amount(search.cost, trial.costs.get(search.cost), search.costs)


def _front(search: SearchFindings) -> list[object]:
    """Which networks the search leaves."""
    if not search.front:
        if not search.candidates:
            return []
        within = any(search.within(trial) for trials in search.candidates.values() for trial in trials)
        reason = "has a known value of every objective" if within else "is within the budget"
        return [f"None of the evaluated networks {reason}, so there is no Pareto front. "]
    best = search.best or search.front[-1]
    if len(search.objectives) == 1:
        return [f"The best network has {_value(search, best)} at {_at(search, best)}, with inherited weights. "]
    count = plural(len(search.front), "network")
    names = [objective.name for objective in search.objectives]
    if len(names) == 2 and search.cost in names:  # from the cheapest to the best
        low, high = search.front[0], search.front[-1]
        first = f"{_at(search, low)} at {_value(search, low)}"
        reach = f" to {_at(search, high)} at {getattr(high, search.score.name):.3f}" if len(search.front) > 1 else ""
        return [f"The Pareto front has {count}:{' from' * bool(reach)} {first}{reach}, with inherited weights. "]
    text = f"The Pareto front has {count}; the best has {_value(search, best)} at {_at(search, best)}"
    return [f"{text}, with inherited weights. "]


def _delivered(search: SearchFindings) -> str:
    """Whether the Pareto front was measured on the device, and how many networks turned out to be over the budget."""
    measured = [m for m in search.measured.values() if m.measured is not None]
    if not measured:
        return ""
    front = {trial.digest for trial in search.front}
    known = {m.digest for m in measured} & front
    text = "Each of them was" if known == front else f"Of them, {plural(len(known), 'network')} were"
    text += " measured whole on the device"
    if any(m.cost in search.budget.names for m in measured):
        text += ", and the confidence interval of its time is at most the limit"
        over = plural(len(search.overturned), "further network")
        text += f"; {over} that had been predicted to be within it took too long" if search.overturned else ""
    return f"{text}. "


def _retrained(place: Place) -> list[object]:
    search = place.search
    if not search.retrained_best:
        return ["No network of the Pareto front is retrained yet, so there is no test result for it."]
    network, init = search.retrained_best
    result = network.results[init]

    def cost(of: object) -> str:
        return amount(search.cost, getattr(of, "costs", {}).get(search.cost), search.costs)

    trial = network.inherited
    found_by = f"found by {sampler_name(trial.origin.name)}, " if trial and trial.origin.kind == SAMPLER else ""
    parts: list[object] = [
        "Of its retrained networks, the best on validation is ",
        place.link(network),
        f" ({cost(network)}, {found_by}retrained from {INITS[init]}): test top-1 ",
        h("b", result),
        f"; the binomial standard error on {plural(result.images, 'image')} is {result.error:.3f}.",
    ]
    rivals = [other for other in search.networks if init in other.results and not other.on_front]
    if rivals:
        named = [f"{', '.join(map(spoken, o.roles))} ({cost(o)}) {o.results[init].mean:.3f}" for o in rivals[:_RIVALS]]
        named += [f"{len(rivals) - _RIVALS} more in the table of networks"] * (len(rivals) > _RIVALS)
        parts.append(f" With the same recipe and initialisation: {'; '.join(named)}.")
    return parts


def tiles(place: Place) -> Html:
    """The numbers of a search."""
    search = place.search
    items: list[tuple[object, str]] = []
    if not place.found.several:
        items.append((big(place.found.run["space_size"]), "networks in the space"))
    items += [(bounds(search.budget, name), f"{_budget_of(search, name)} budget") for name in search.budget.names]
    if not search.budget:
        items.append(("none", "budget"))
    items.append((f"{sum(map(len, search.candidates.values())):,}", "evaluated with inherited weights"))
    items.append((len(search.front), "on the Pareto front"))
    if search.retrained_best:
        network, init = search.retrained_best
        items.append((f"{network.results[init].mean:.3f}", "test top-1, retrained best"))
    return _row(items)


def _budget_of(search: SearchFindings, name: str) -> str:
    return cost_name(name) if name in ("macs", "params") else axis_name(search.costs[name])


def _row(items: list[tuple[object, str]]) -> Html:
    return h("div", *(h("div", h("b", value), h("span", text)) for value, text in items), class_="tiles")


def all_lead(found: Findings) -> Html:
    """The searches of the run in a sentence."""
    count = sum(len(trials) for search in found.searches for trials in search.candidates.values())
    text = (
        f". {plural(len(found.searches), 'search').capitalize()} looked for small and accurate networks in it, with "
        f"budgets and objectives of their own: {plural(count, 'evaluation')} of networks with weights of the supernet. "
        "Below are all of them side by side, then each by itself, then what holds for all."
    )
    return h("p", run_lead(found), text, class_="lead")


def all_tiles(found: Findings) -> Html:
    """The numbers of the run."""
    count = sum(len(trials) for search in found.searches for trials in search.candidates.values())
    best = [search.retrained_best for search in found.searches if search.retrained_best]
    items: list[tuple[object, str]] = [
        (big(found.run["space_size"]), "networks in the space"),
        (len(found.searches), "searches"),
        (f"{count:,}", "evaluated with inherited weights"),
    ]
    if best:
        network, init = max(best, key=lambda choice: choice[0].results[choice[1]].validation)
        items.append((f"{network.results[init].mean:.3f}", "test top-1, retrained best"))
    return _row(items)

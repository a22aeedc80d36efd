"""The text that `nas report` and `nas demo` end with."""

from collections.abc import Iterator

from nas.goals.objectives import Objective
from nas.records import INITS
from nas.reporting.findings import CostInfo, Findings, Network, SearchFindings
from nas.reporting.words import compact, cost_name, objective_name, plain, plural, shorten

WIDTH = 100
"""Characters of the longest line."""

_ROLE, _SHAPE = 26, 10
"""Most characters of the roles, and the fewest that are kept for the last column."""


def table(found: Findings) -> str:
    """The networks of the Pareto front and the baselines of each search as aligned text, no line longer than `WIDTH`."""
    if not found.searches:
        return "This run has no search yet.\n"
    parts = []
    for search in found.searches:
        lines = [*_about(search), ""] if found.several else []
        parts.append("\n".join([*lines, *_networks(search)]))
    return "\n\n".join([*parts, "\n".join(_notes(found))]) + "\n"


def _about(search: SearchFindings) -> list[str]:
    goals = ", ".join(objective_name(objective.name) for objective in search.objectives)
    count = plural(sum(map(len, search.candidates.values())), "evaluation")
    text = f"search {plain(search.name)}: {count}, {search.state}; budget {search.budget}; objectives {goals}"
    return [shorten(text, WIDTH)]


def _networks(search: SearchFindings) -> list[str]:
    if not search.networks:
        return ["Nothing has been evaluated yet."]
    options = _columns(search)
    while True:  # until lines are short enough
        costs, shape = next(options)
        rows = [_heads(search, costs), *(_row(network, search, costs) for network in search.networks)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        rest = WIDTH - sum(widths) - 2 * len(widths)
        if rest >= (_SHAPE if shape else -2) or not (costs or shape):
            break
    lines = []
    for row in rows:
        cells = [
            text.ljust(w) if k < 2 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, shorten(row[-1], rest)] if shape else cells))
    lines.insert(1, "-" * max(map(len, lines)))
    for model, result in search.references.items():
        known = [f"{compact(result.costs[c.name])} {c.name}" for c in search.matters if c.name in result.costs]
        lines.append(shorten(f"timm/{model}, {', '.join(known)}: test top-1 {result} from scratch", WIDTH))
    if not search.front:
        lines.append("No evaluated network may win: none is within the budget, with every objective known.")
    if search.overturned:
        count = plural(len(search.overturned), "network")
        lines.append(f"Predicted to be within the budget, but over it when measured on the device: {count}.")
    return lines


def _columns(search: SearchFindings) -> Iterator[tuple[list[CostInfo], bool]]:
    """Costs, and whether blocks x width has room: first all; costs that the search does not depend on give way first."""
    costs = search.matters
    needed = {*search.budget.names, *(objective.name for objective in search.objectives)}
    least = [cost for cost in costs if cost.name in needed]
    yield costs, True
    yield from (([*least, *rest], True) for rest in _shorter([cost for cost in costs if cost not in least]))
    yield from ((some, False) for some in (least, *_shorter(least), []))


def _shorter(costs: list[CostInfo]) -> Iterator[list[CostInfo]]:
    """Without the last one, the last two, ..."""
    return (costs[:count] for count in reversed(range(len(costs))))


def _heads(search: SearchFindings, costs: list[CostInfo]) -> list[str]:
    loss = ["loss"] * (Objective("loss") in search.objectives)
    names = (shorten(cost_name(cost.name), 12) for cost in costs)
    return ["network", "role", *names, "search-val", *loss, *INITS, "blocks x width"]


def _row(network: Network, search: SearchFindings, costs: list[CostInfo]) -> list[str]:
    results, trial = [network.results.get(init) for init in INITS], network.inherited
    loss = [f"{trial.loss:.3f}" if trial else "-"] * (Objective("loss") in search.objectives)
    return [
        shorten(network.digest, 12),
        shorten("+".join(network.roles), _ROLE),
        *(compact(network.costs[cost.name]) if cost.name in network.costs else "-" for cost in costs),
        f"{trial.top1:.3f}" if trial else "-",
        *loss,
        *(f"{result.mean:.3f} ({len(result.repeats)})" if result else "-" for result in results),
        " ".join(f"{len(stage.blocks)}x{stage.width}" for stage in network.architecture.stages),
    ]


def _notes(found: Findings) -> list[str]:
    counts = sorted({trial.images for search in found.searches for trial in search.trials if not trial.is_estimate})
    if not counts:
        return ["search-val: top-1 on search-validation images with inherited weights; nothing is evaluated yet."]
    images = " or ".join(map(str, counts))
    lines = [f"search-val: top-1 on {images} search-validation images with inherited weights; the search used it."]
    if any(search.inits for search in found.searches):
        lines.append("scratch, inherited: mean test top-1 after retraining with that initialisation (number of seeds).")
    else:
        lines.append("scratch, inherited: test top-1 after retraining; nothing is retrained yet.")
    return lines

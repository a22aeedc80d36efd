"""front.csv and trials.csv. pandas is imported here alone."""

from collections.abc import Iterable, Mapping
from typing import Any

from nas.goals.roles import ROLES
from nas.records import KINDS, Evaluation
from nas.records.device_times import OVER, PREDICTED, WITHIN
from nas.reporting.findings import CostInfo, Findings, Network, SearchFindings
from nas.reporting.words import plain
from nas.runs.tables import as_text
from search_spaces.architecture import Architecture

_RETRAINED_COLUMNS = {
    "test_top1_mean": "mean test top-1 over the seeds, in [0, 1]",
    "test_top1_min": "lowest test top-1 of the seeds, in [0, 1]",
    "test_top1_max": "highest test top-1 of the seeds, in [0, 1]",
    "validation_top1_mean": "mean search-validation top-1 over the seeds, in [0, 1]",
    "seeds": "number of seeds",
}

FRONT_COLUMNS: dict[str, str] = {
    "search": "name of the search",
    "digest": "first 12 hexadecimal digits of the SHA-256 of the architecture",
    "role": f"why the network is listed, joined by +: {', '.join(ROLES)}",
    "origin": f"where the network comes from: {', '.join(KINDS)}",
    "sampler": "name of that origin: of the sampler or the baseline, or the file that the network was given in",
    "within_budget": "true if every limited cost is known and within its limits, by measurement where there is one, else as it is predicted "
    "(delivered_COST says which); costs follow",
    "depth": "number of blocks in all stages",
    "depths": "blocks of each stage, joined by |",
    "widths": "channels of each stage, joined by |",
    "mixers": "token mixer of each block; blocks joined by a space, stages by |",
    "inherited_validation_top1": "search-validation top-1 with inherited weights, in [0, 1]; the Pareto front is chosen by it",
    "inherited_validation_loss": "search-validation cross-entropy with inherited weights, in nats",
    "validation_images": "search-validation images behind inherited_validation_top1",
    **{f"scratch_{name}": f"retrained from scratch: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    **{f"inherited_init_{name}": f"retrained from inherited: {text}" for name, text in _RETRAINED_COLUMNS.items()},
    "test_images": "test images behind each test top-1",
}
"""Columns of front.csv, one row per search and network, and their meaning. A value that does not exist (yet) is empty.

After within_budget there is a column for each cost: see `cost_columns`. After these there are those of `measured_columns` for each cost
that was measured on a device.
"""

MEASURED_COLUMNS: dict[str, str] = {
    "measured": "time measured on the device whose time this cost predicts, in the unit of the cost; empty where it was not measured",
    "measured_low": "lower end of the 95 % confidence interval of that measurement",
    "measured_high": "upper end of the 95 % confidence interval of that measurement",
    "delivered": "within, over or predicted: whether the whole interval is at most the limit, or nothing was measured, so that within_budget "
    "rests on a prediction; empty where the cost is not of a device of the search",
}
"""Columns for each cost that was measured, with the cost's name behind: measured_latency_ms@laptop."""

TRIAL_COLUMNS: dict[str, str] = {
    "search": FRONT_COLUMNS["search"],
    "n": "number of the evaluation in the search",
    "origin": FRONT_COLUMNS["origin"],
    "sampler": FRONT_COLUMNS["sampler"],
    "trial": "number of the proposal of that sampler",
    "digest": FRONT_COLUMNS["digest"],
    "within_budget": FRONT_COLUMNS["within_budget"],
    "on_front": "true if this evaluation is on the Pareto front of all samplers",
    "on_sampler_front": "true if this evaluation is on the Pareto front of its own sampler",
    "depth": FRONT_COLUMNS["depth"],
    "depths": FRONT_COLUMNS["depths"],
    "widths": FRONT_COLUMNS["widths"],
    "mixers": FRONT_COLUMNS["mixers"],
    "top1": FRONT_COLUMNS["inherited_validation_top1"].split(";")[0],
    "loss": FRONT_COLUMNS["inherited_validation_loss"],
    "images": "search-validation images behind top1",
    "against": "where candidates are raced, digest of the network that this one lost against: its top1 and loss are estimates; else empty",
}
"""Columns of trials.csv, one row per evaluation, by search and oldest first, and their meaning; costs as in front.csv."""


def cost_columns(costs: Iterable[CostInfo], columns: Iterable[str]) -> dict[str, CostInfo]:
    """The column of each cost: its name, with cost_ before it where another column has that name."""
    costs = list(costs)
    taken, found = {*columns, *(cost.name for cost in costs)}, {}
    for cost in costs:
        name = cost.name
        while name in columns or (name != cost.name and name in taken):
            name = f"cost_{name}"
        taken.add(name)
        found[name] = cost
    return found


def measured_columns(found: Findings) -> dict[str, tuple[str, str]]:
    """The columns of `MEASURED_COLUMNS` for each cost that any search measured: their kind and cost."""
    names = {cost for search in found.searches for _, cost in search.measured}
    costs = [cost.name for cost in found.costs if cost.name in names]
    return {f"{kind}_{cost}": (kind, cost) for cost in costs for kind in MEASURED_COLUMNS}


def _measured(network: Network | Evaluation, search: SearchFindings) -> dict[str, Any]:
    timed = {*search.view.devices, *(cost for _, cost in search.measured)}
    row: dict[str, Any] = {f"delivered_{cost}": _DELIVERED[PREDICTED] for cost in timed if cost in network.costs}
    for (own, cost), found in search.measured.items():
        if own == network.digest:
            said = _DELIVERED[found.said(search.budget)]
            values = {
                "measured": found.measured,
                "measured_low": found.low,
                "measured_high": found.high,
                "delivered": said,
            }
            row |= {f"{kind}_{cost}": value for kind, value in values.items()}
    return row


def front_csv(found: Findings) -> str:
    """front.csv: one row per search and reported network."""
    rows = (_front_row(network, search) for search in found.searches for network in search.networks)
    return _csv(rows, FRONT_COLUMNS, found)


def trials_csv(found: Findings) -> str:
    """trials.csv: one row an evaluation, by search and oldest first."""
    rows = (_trial_row(trial, search) for search in found.searches for trial in search.trials)
    return _csv(rows, TRIAL_COLUMNS, found)


def _costs(costs: Mapping[str, float], search: SearchFindings, columns: Iterable[str]) -> dict[str, Any]:
    named = cost_columns(search.costs.values(), columns)
    return {column: costs[cost.name] for column, cost in named.items() if cost.name in costs}


def _front_row(network: Network, search: SearchFindings) -> dict[str, Any]:
    row: dict[str, Any] = {
        "search": search.name,
        "digest": network.digest,
        "role": "+".join(network.roles),
        "within_budget": _yes(search.within(network)),
        **_costs(network.costs, search, FRONT_COLUMNS),
        **_measured(network, search),
        **_shape(network.architecture),
    }
    if network.inherited:
        row |= {
            "origin": network.inherited.origin.kind,
            "sampler": network.inherited.origin.name,
            "inherited_validation_top1": network.inherited.top1,
            "inherited_validation_loss": network.inherited.loss,
            "validation_images": network.inherited.images,
        }
    for init, prefix in (("scratch", "scratch"), ("inherited", "inherited_init")):
        result = network.results.get(init)
        row[f"{prefix}_seeds"] = len(result.repeats) if result else 0
        if result:
            row |= {
                f"{prefix}_test_top1_mean": result.mean,
                f"{prefix}_test_top1_min": min(result.tests),
                f"{prefix}_test_top1_max": max(result.tests),
                f"{prefix}_validation_top1_mean": result.validation,
                "test_images": result.images,
            }
    return row


def _trial_row(trial: Evaluation, search: SearchFindings) -> dict[str, Any]:
    own = search.fronts.get(trial.origin.name, ()) if trial.origin.kind == "sampler" else ()
    return {
        "search": search.name,
        "origin": trial.origin.kind,
        "sampler": trial.origin.name,
        **{name: getattr(trial, name) for name in ("n", "trial", "digest", "top1", "loss", "images", "against")},
        **_costs(trial.costs, search, TRIAL_COLUMNS),
        **_shape(trial.architecture),
        **_measured(trial, search),
        "within_budget": _yes(search.within(trial)),
        "on_front": _yes(any(trial is other for other in search.front)),
        "on_sampler_front": _yes(any(trial is other for other in own)),
    }


def _shape(arch: Architecture) -> dict[str, Any]:
    """The columns that describe an architecture."""
    return {
        "depth": arch.depth,
        "depths": "|".join(str(len(stage.blocks)) for stage in arch.stages),
        "widths": "|".join(str(stage.width) for stage in arch.stages),
        "mixers": "|".join(" ".join(block.mixer.name for block in stage.blocks) for stage in arch.stages),
    }


_DELIVERED = {WITHIN: "within", OVER: "over", PREDICTED: "predicted"}


def _yes(value: bool) -> str:
    return "true" if value else "false"


def _csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str], found: Findings) -> str:
    import pandas as pd

    names = list(columns)
    after = names.index("within_budget") + 1
    names[after:after] = [*cost_columns(found.costs, columns), *measured_columns(found)]
    # Objects keep whole numbers whole beside empty cells, and floats print in full.
    cells = [{column: as_text(value) for column, value in row.items()} for row in rows]
    table = pd.DataFrame(cells, columns=pd.Index(names, dtype=object), dtype=object)
    header = [str(as_text(name)) for name in names]
    return plain(table.to_csv(index=False, header=header, lineterminator="\n"))

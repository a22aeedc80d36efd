"""`nas report`: the page, the picture and the tables of a run's searches, finished or not."""

import shlex
from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.reporting import SearchView, collect, table, write_report
from nas.runs.disk import offering
from nas.runs.searches import CLOSED, Search, chosen_searches
from nas.runs.settings import kept
from nas.runs.store import RunStore
from nas.training.losses import at_chance


def report(config: Config) -> Path:
    """Writes the report of a run's searches, or of the one that is named, into its folder or into `report.out`, and prints its table.

    Returns:
        The path of report.html.

    Raises:
        InputError: nothing has been evaluated yet, or see `write_report`.
    """
    store, out = RunStore.open(config.run), config.report.out
    searches = chosen_searches(store, config.search, every=not config.search.name)
    costs = {cost["name"]: cost for search in searches for cost in search.costs}
    warning = at_chance(store)
    run = {**store.identity(), "costs": list(costs.values())}
    found = collect(run, list(map(view, searches)), warnings=[warning] * bool(warning))
    with offering("out=PATH of such a folder" if out else f"nas report run={shlex.quote(config.run)} out=DIR"):
        path = write_report(found, RunStore(out) if out else store, store.folder, config.report.sections)
    say(table(found))
    say()
    if warning:
        say(f"{config.run}: {warning}")
    say(f"report: {path}")
    return path


def view(search: Search) -> SearchView:
    """What the report is given of a search."""
    folder = search.store.path(search.path("networks"))
    extracted = frozenset(path.parent.name for path in folder.glob("*/arch.json")) if folder.is_dir() else frozenset()
    return SearchView(
        name=search.name, folder_name=search.folder, settings=kept(search.settings), budget=search.budget,
        objectives=search.objectives, evaluations=search.evaluations(), retrainings=search.retrainings(),
        references=search.references(),
        finished=search.finished, closed=search.state == CLOSED, extracted=extracted,
        measurements=search.measurements(), devices=search.conditions.get("devices", {}),
    )  # fmt: skip

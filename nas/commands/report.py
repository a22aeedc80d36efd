"""`nas report`: the page, the picture and the tables of a run's searches, whatever they have reached."""

import shlex
from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.reporting import table, write_report
from nas.searches import chosen_searches, view
from nas.store import RunStore, offering


def report(config: Config) -> Path:
    """Writes the report of a run's searches into its folder, that of one search into the search's folder, or either into
    `report.out`, and prints its table.

    Returns:
        The path of report.html.

    Raises:
        InputError: nothing has been evaluated yet, or see `write_report`.
    """
    store, out = RunStore.open(config.run), config.report.out
    named = bool(config.search.name)
    with offering("out=PATH of such a folder" if out else f"nas report run={shlex.quote(config.run)} out=DIR"):
        searches = [view(search) for search in chosen_searches(store, config.search, every=not named)]
        place = RunStore(out) if out else RunStore(store.path(f"searches/{config.search.name}")) if named else store
        path = write_report(store.read_json("run.json"), searches, config.run, place)
    say(table(store.read_json("run.json"), searches))
    say()
    say(f"report: {path}")
    return path

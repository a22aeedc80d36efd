"""`nas report`: the page, the picture and the tables of a run, whatever it has reached."""

import shlex
from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.reporting import table, write_report
from nas.store import RunStore, offering


def report(config: Config) -> Path:
    """Writes the report of a run, whatever it has reached, into its folder or into `report.out`, and prints its table.

    Returns:
        The path of report.html.

    Raises:
        InputError: see `write_report`.
    """
    store, out = RunStore.open(config.run), config.report.out
    with offering("out=PATH of such a folder" if out else f"nas report run={shlex.quote(config.run)} out=DIR"):
        path = write_report(store, RunStore(out) if out else store)
    say(table(store))
    say()
    say(f"report: {path}")
    return path

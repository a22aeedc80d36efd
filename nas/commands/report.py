"""`nas report`: the page, the picture and the tables of a run, whatever it has reached."""

from pathlib import Path

from nas.config import Config
from nas.log import say
from nas.reporting import table, write_report
from nas.store import RunStore


def report(config: Config) -> Path:
    """Writes the report of a run, whatever it has reached, and prints its table.

    Returns:
        The path of report.html.
    """
    store = RunStore.open(config.run)
    path = write_report(store)
    say(table(store))
    say()
    say(f"report: {path}")
    return path

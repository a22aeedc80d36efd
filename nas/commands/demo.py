"""`nas demo`: the whole way in one command. Every step goes on where an earlier, interrupted one stopped."""

import time
from pathlib import Path

from nas.config import Config
from nas.commands.extract import extract
from nas.log import say
from nas.report import table, write_report
from nas.commands.retrain import retrain
from nas.commands.search import search
from nas.store import RunStore
from nas.commands.train import train


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


def demo(config: Config) -> Path:
    """Trains, searches, extracts, retrains and reports.

    Returns:
        The path of the report.
    """
    clock = time.monotonic()
    store = RunStore(config.run)
    for step in (train, search, extract, retrain):
        step(config)
        seconds, clock = time.monotonic() - clock, time.monotonic()
        say(f"-- {step.__name__}: {seconds:.0f} s")
        store.append("work/clock.jsonl", {"verb": step.__name__, "seconds": round(seconds, 1)})
    say()
    return report(config)

"""`nas demo`: the whole way in one command. Every step goes on where an earlier, interrupted one stopped."""

import time
from pathlib import Path

from nas.commands.extract import extract
from nas.commands.report import report
from nas.commands.retrain import retrain
from nas.commands.search import search
from nas.commands.train import train
from nas.config import Config
from nas.log import say
from nas.store import RunStore


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

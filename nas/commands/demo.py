"""`nas demo`: all steps in one command. An interrupted step resumes where it stopped."""

import time
from dataclasses import replace
from pathlib import Path

import nas
from nas.config import Config
from nas.log import say
from nas.runs.store import RunStore

STEPS = ("train", "search", "extract", "retrain")


def demo(config: Config) -> Path:
    """Trains, searches, extracts, retrains and reports.

    Returns:
        The path of the report, which shows all searches of the run.
    """
    clock = time.monotonic()
    store = RunStore(config.run)
    own = replace(config, search=replace(config.search, name=config.search.title))
    for step in STEPS:
        getattr(nas, step)(own)
        seconds, clock = time.monotonic() - clock, time.monotonic()
        say(f"-- {step}: {seconds:.0f} s")
        store.append("work/clock.jsonl", {"verb": step, "seconds": round(seconds, 1)})
    say()
    return nas.report(replace(config, search=replace(config.search, name="")))

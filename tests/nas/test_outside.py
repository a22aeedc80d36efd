"""A sampler, a cost and an executor from modules outside the checkout, one file each, and costs measured by the user."""

import csv
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.records import SAMPLER
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from tests.command_line import Commands

After = Callable[[str], Path]
SAMPLER_FILE = """\
from optuna.samplers import RandomSampler


class Stubborn(RandomSampler):
    \"\"\"Proposes the first choice of everything, more or less.\"\"\"

    def __init__(self, *, seed=None, share=0.5):
        super().__init__(seed=seed)
        self.share = share

    def sample_independent(self, study, trial, name, distribution):
        found = super().sample_independent(study, trial, name, distribution)
        return distribution.choices[0] if trial.number % 10 < 10 * self.share else found
"""
COST_FILE = """\
import os

from search_spaces.costs import register_cost


@register_cost("half")
def half(arch):
    "Known for half of all networks, and 0 for some of them."
    return int(arch.digest, 16) % 4 // 2 if int(arch.digest, 16) % 2 else None


@register_cost("never")
def never(arch):
    return None


@register_cost("moving")
def moving(arch):
    return int(arch.digest, 16) % int(os.environ.get("MODULUS", 97))


@register_cost("blocks", unit="blocks", about="blocks of all stages")
def blocks(arch):
    return sum(len(stage.blocks) for stage in arch.stages)
"""
EXECUTOR_FILE = """\
from pathlib import Path


class Backwards:
    \"\"\"The last job first, in this process.\"\"\"

    def __init__(self, workers):
        self.setup, self.state = None, None

    def map(self, setup, work, jobs, *, weight=None):
        if self.setup is not setup:
            self.setup, self.state = setup, setup()
        jobs = list(jobs)
        with Path("jobs").open("a") as file:
            file.write(f"{len(jobs)}\\\\n")
        yield from reversed([work(self.state, job) for job in reversed(jobs)])

    def close(self):
        self.setup, self.state = None, None
"""


@pytest.fixture
def theirs(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "theirs"
    folder.mkdir()
    files = {"their_sampler": SAMPLER_FILE, "their_cost": COST_FILE, "their_executor": EXECUTOR_FILE}
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text.replace("\\\\n", "\\n"))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}


def test_one_file_each_and_no_edit_of_ours(nas: Commands, after: After, theirs: dict[str, str]) -> None:
    """From search to report; the executor finds what this process finds."""
    place = after("train")
    settings = (
        "run=run", "plugins=their_cost", "samplers=their_sampler.Stubborn", "options=their_sampler.Stubborn.share=0.8",
        "objectives=top1,blocks", "budget=blocks=2,macs=300K", "evaluations=5",
    )  # fmt: skip
    for name, executor in (("one", "their_executor.Backwards"), ("two", "here")):
        nas("search", *settings, f"name={name}", f"executor={executor}", cwd=place, env=theirs).ok()
    counts = [int(line) for line in (place / "jobs").read_text().split()]
    store = RunStore(place / "run")
    one, two = (read_search(store, name).evaluations() for name in ("one", "two"))
    assert [e.to_dict() for e in one] == [e.to_dict() for e in two]
    assert sum(counts) == len({e.digest for e in one})
    own = [e for e in one if e.origin.kind == SAMPLER and e.origin.name == "their_sampler.Stubborn"]
    assert len(own) == 5
    for e in one:
        assert e.costs["blocks"] == sum(len(stage.blocks) for stage in e.architecture.stages)
    nas("extract", "run=run", "search=one", "plugins=their_cost", cwd=place, env=theirs).ok()
    retrain = ("retrain", "run=run", "search=one", "plugins=their_cost", "executor=their_executor.Backwards", "jobs=2")
    nas(*retrain, cwd=place, env=theirs).ok()
    nas("report", "run=run", "search=one", cwd=place).ok()  # without the plugin
    with (place / "run" / "front.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["blocks"] for row in rows} <= {"1", "2"}
    assert "blocks" in (place / "run" / "report.html").read_text()


def test_a_cost_that_is_known_for_some_networks(nas: Commands, after: After, theirs: dict[str, str]) -> None:
    """Networks without it are infeasible; a value of 0 is a value."""
    place = after("train")
    settings = ("run=run", "plugins=their_cost", "objectives=top1,half", "evaluations=8", "name=half")
    nas("search", *settings, cwd=place, env=theirs).ok()
    found = read_search(RunStore(place / "run"), "half").evaluations()
    sampled = [e for e in found if e.origin.kind == SAMPLER]
    assert len(sampled) == 16
    assert {e.costs["half"] for e in sampled} == {0, 1}
    for verb in ("extract", "report"):
        nas(verb, "run=run", "search=half", "plugins=their_cost", cwd=place, env=theirs).ok()
    for sparse in ("objectives=top1,never", "budget=never=3"):
        given, _, _ = nas("search", *settings, sparse, "name=never", cwd=place, env=theirs).refused(
            "whose never is known"
        )
        assert "binding" not in given
    assert not (place / "run" / "searches" / "never").exists()


def test_a_search_whose_costs_have_changed(nas: Commands, after: After, theirs: dict[str, str]) -> None:
    """It is not mixed with the old one: the sentence offers to close it, or another search."""
    place = after("train")
    settings = ("run=run", "plugins=their_cost", "objectives=top1,moving", "samplers=nsga2", "population=3", "batch=1")
    nas("search", *settings, "budget=moving=40", "name=m", "evaluations=6", cwd=place, env=theirs).ok()
    lines = (place / "run" / "searches" / "m" / "evaluations.jsonl").read_bytes()
    other = theirs | {"MODULUS": "89"}
    given, _, instead = nas(
        "search", *settings, "budget=moving=40", "name=m", "evaluations=8", cwd=place, env=other
    ).refused("does not replay")
    assert "proposal" in given
    assert (place / "run" / "searches" / "m" / "evaluations.jsonl").read_bytes() == lines
    nas(*instead.split(", or nas ")[1].split(), "plugins=their_cost", cwd=place, env=other).ok()


def test_a_run_in_a_folder_of_any_name(nas: Commands, after: After) -> None:
    """study.db is named by a URL, in which some characters mean something."""
    place = after("search")
    (place / "run").rename(place / "50%20 a?b#c")
    nas("search", "run=50%20 a?b#c", "name=again", "evaluations=2", cwd=place).ok()
    with sqlite3.connect(place / "50%20 a?b#c" / "study.db") as database:
        names = {name for (name,) in database.execute("select study_name from studies")}
    database.close()
    assert {"again/nsga2", "small/nsga2"} <= names


def test_what_is_wrong_with_theirs_is_said(nas: Commands, after: After, theirs: dict[str, str]) -> None:
    place = after("train")
    for settings, names in (
        (("samplers=their_sampler.Stubbron",), "Stubbron"),
        (("samplers=no_such_module.Sampler",), "no_such_module"),
        (("samplers=their_cost.blocks",), "their_cost.blocks"),
        (("samplers=their_sampler.Stubborn", "options=their_sampler.Stubborn.shrae=1"), "shrae"),
        (("samplers=their_sampler.Stubborn", "options=tpe.n_startup_trials=1"), "tpe"),
        (("budget=blocks=2",), "blocks"),
        (("objectives=top1,blcks", "plugins=their_cost"), "blcks"),
        (("executor=their_executor.Forwards",), "Forwards"),
    ):
        nas("search", "run=run", *settings, cwd=place, env=theirs).refused(names)
    assert not (place / "run" / "study.db").exists()
    assert not list((place / "run").rglob("evaluations.jsonl"))


def test_costs_that_the_user_has_measured(nas: Commands, after: After) -> None:
    """Networks that were measured are searched by what was measured, without evaluating them again."""
    place = after("search")
    store = RunStore(place / "run")
    small = read_search(store, "small").evaluations()
    measured = {e.digest: (e.architecture, 1.0 + k / 8) for k, e in enumerate(small) if e.origin.kind == SAMPLER}
    with (place / "phone.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["digest", "latency_ms", "architecture"])
        rows.writerows([digest, ms, json.dumps(arch.to_dict())] for digest, (arch, ms) in measured.items())
    middle = sorted(ms for _, ms in measured.values())[len(measured) // 2]
    command = ("search", "run=run", "name=phone", "measured=phone.csv", "objectives=top1,latency_ms")
    command += ("evaluations=50", "samplers=predictor")  # beside random search
    printed = nas(*command, f"budget=latency_ms={middle}", "calibration_images=64", cwd=place).ok()
    found = read_search(store, "phone").evaluations()
    fast = {digest for digest, (_, ms) in measured.items() if ms <= middle}
    assert {e.digest for e in found if e.origin.kind == SAMPLER} == fast
    trials = [e.trial for e in found if e.origin.name == "predictor"]
    assert sorted(trials) == list(range(len(fast)))  # it was refused none, so it knew which were measured
    assert f"stopped at {len(fast)} different networks" in printed.out
    for e in found:
        assert e.costs.get("latency_ms") == (measured[e.digest][1] if e.digest in measured else None)
    nas("extract", "run=run", "search=phone", cwd=place).ok()
    nas("report", "run=run", "search=phone", cwd=place).ok()
    assert "latency_ms" in (place / "run" / "front.csv").read_text().splitlines()[0]
    nas(*command, "budget=latency_ms=0.5", "name=never", cwd=place).refused("latency_ms is the binding limit")

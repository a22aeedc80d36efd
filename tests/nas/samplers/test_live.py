"""study.db while a search runs: what is missing is appended, and nothing that happens to the file stops the search."""

import importlib
import json
import math
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest

from nas.goals.objectives import Objective
from nas.records import BASELINE, Evaluation, Origin
from nas.samplers import storage
from nas.samplers.live import EVERY, LiveStudies
from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from tests.nas.samplers.databases import database
from tests.nas.samplers.test_storage import check, evaluations_of, load, search_of


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("digits")


@pytest.fixture
def records(space: SearchSpace) -> list[Evaluation]:
    """As a search records them: two samplers in turn, and a baseline first."""
    pairs = zip(evaluations_of(space, "nsga2", 5), evaluations_of(space, "random", 5), strict=True)
    own = [record for pair in pairs for record in pair]
    return [replace(own[0], origin=Origin(BASELINE, "smallest")), *own]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(space: SearchSpace, tmp_path: Path, clock: Clock) -> LiveStudies:
    return LiveStudies(tmp_path / "study.db", space, search_of([]), clock)


def tick(clock: Clock, live: LiveStudies, records: list[Evaluation]) -> bool:
    """An update when the next one is due."""
    clock.now = live.due
    return live.update(records)


def checked(live: LiveStudies, space: SearchSpace, records: list[Evaluation]) -> None:
    for sampler in ("nsga2", "random"):
        check(live.path, space, search_of(records), sampler)


def rows(path: Path) -> Iterator[Any]:
    """All that the trials of a file have."""
    with sqlite3.connect(path) as database:
        for table in ("params", "values", "user_attributes", "system_attributes"):
            yield database.execute(
                f"select t.trial_id, number, study_id, state, datetime_start is null, datetime_complete is null, x.* "
                f"from trials t join trial_{table} x using (trial_id) order by 1, 7"
            ).fetchall()
    database.close()


def test_rows_are_those_that_optuna_writes(
    space: SearchSpace, records: list[Evaluation], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [replace(record, top1=value) for record, value in zip(records, (math.inf, -math.inf), strict=False)]
    searches = [search_of(records), search_of(odd, "odd", objectives=(Objective("top1"),))]
    storage.write_studies(tmp_path / "ours.db", space, searches)
    monkeypatch.setattr(storage, "can_insert", lambda _: False)
    storage.write_studies(tmp_path / "optunas.db", space, searches)
    assert list(rows(tmp_path / "ours.db")) == list(rows(tmp_path / "optunas.db"))


def test_it_follows_the_search(space: SearchSpace, records: list[Evaluation], live: LiveStudies, clock: Clock) -> None:
    assert not live.update(records[:3])
    assert not live.path.exists()
    assert tick(clock, live, records[:4])
    checked(live, space, records[:4])
    first = load(live.path, "small/nsga2").get_trials()
    clock.now += EVERY / 2
    assert not live.update(records[:8])
    assert tick(clock, live, records[:8])
    checked(live, space, records[:8])
    assert tick(clock, live, records)
    checked(live, space, records)
    assert [trial._trial_id for trial in load(live.path, "small/nsga2").get_trials()[: len(first)]] == [
        trial._trial_id for trial in first
    ]


def test_a_sampler_that_comes_later(
    space: SearchSpace, records: list[Evaluation], live: LiveStudies, clock: Clock
) -> None:
    assert tick(clock, live, records[:2])  # nothing of random search yet
    assert not tick(clock, live, records)
    assert tick(clock, live, records)
    checked(live, space, records)


def test_a_record_that_was_made_again_lies_between_others(
    space: SearchSpace, records: list[Evaluation], live: LiveStudies, clock: Clock
) -> None:
    records = [replace(record, n=n) for n, record in enumerate(records)]
    assert tick(clock, live, [*records[:3], *records[5:8]])
    for known in (records[:8], records):
        assert tick(clock, live, known)
        checked(live, space, known)


@pytest.mark.parametrize("change", ["removed", "no database", "trials", "emptied"])
def test_a_file_that_something_else_has_changed(
    change: str, space: SearchSpace, records: list[Evaluation], live: LiveStudies, clock: Clock
) -> None:
    assert tick(clock, live, records[:5])
    if change == "removed":
        live.path.unlink()
    elif change == "trials":
        study = load(live.path, "small/nsga2")
        study.add_trial(study.trials[0])
    else:
        live.path.write_bytes(b"nothing" * 500 if change == "no database" else b"")
    assert not tick(clock, live, records)
    assert tick(clock, live, records)
    checked(live, space, records)


@pytest.mark.parametrize("begun", [0, 5])
def test_a_locked_file_is_left_for_later(
    begun: int,
    space: SearchSpace,
    records: list[Evaluation],
    live: LiveStudies,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if begun:
        assert tick(clock, live, records[:begun])
    else:
        optuna.create_study(study_name="of the user", storage=database(live.path))
    other = sqlite3.connect(live.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for _ in range(2):
        assert not tick(clock, live, records)
    assert capsys.readouterr().out.count("cannot be written now (database is locked)") == 1
    other.execute("ROLLBACK")
    other.close()
    assert tick(clock, live, records)
    checked(live, space, records)


def test_a_folder_that_is_gone(
    space: SearchSpace, records: list[Evaluation], tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveStudies(tmp_path / "missing" / "study.db", space, search_of([]), clock)
    assert not tick(clock, live, records)
    assert "the search continues" in capsys.readouterr().out


def test_long_updates_are_rare(
    space: SearchSpace, records: list[Evaluation], live: LiveStudies, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object) -> None:
        clock.now += 4.0

    monkeypatch.setattr("nas.samplers.live.write_studies", slow)
    assert tick(clock, live, records)
    assert live.due - clock.now == pytest.approx(200.0)


def answer_of(storage: optuna.storages.BaseStorage, path: str) -> Any:
    """What optuna-dashboard answers to a request; an application of its own for each, as it keeps answers for seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        application: Any = importlib.import_module("optuna_dashboard").wsgi(storage)
    environ: dict[str, Any] = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    said: list[str] = []
    body = b"".join(application(environ, lambda status, *_: said.append(status)))
    assert said == ["200 OK"], body
    return json.loads(body)


def test_the_dashboard_follows_it(records: list[Evaluation], live: LiveStudies, clock: Clock) -> None:
    """Opened once, it sees what is appended later."""
    assert tick(clock, live, records[:4])
    opened = database(live.path)
    studies = answer_of(opened, "/api/studies")["study_summaries"]
    numbers = {study["study_name"]: study["study_id"] for study in studies}
    assert set(numbers) == {"small/nsga2", "small/random"}
    path = f"/api/studies/{numbers['small/nsga2']}"
    assert len(answer_of(opened, path)["trials"]) == 2
    assert tick(clock, live, records)
    shown = answer_of(opened, path)["trials"]
    own = [record for record in records if record.origin.name == "nsga2" and record.origin.kind != BASELINE]
    assert [trial["values"][0] for trial in shown] == [record.top1 for record in own]
    assert all(trial["state"] == "Complete" for trial in shown)

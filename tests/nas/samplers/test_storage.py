"""study.db says what the records say, to Optuna's tools and to its dashboard."""

import importlib
import math
import random
import sqlite3
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from nas.goals.budget import Budget
from nas.goals.objectives import Objective
from nas.records import BASELINE, SAMPLER, Evaluation, Origin
from nas.samplers.proposer import labels_of
from nas.samplers.storage import Search, write_studies
from search_spaces.named import load_space
from search_spaces.space import SearchSpace
from tests.nas.samplers.databases import database

BUDGET = Budget((("macs", 5e11), ("params", 5e11)))
OBJECTIVES = (Objective("top1"), Objective("macs"))


def costs_of(digest: str) -> dict[str, float]:
    return {"macs": int(digest, 16) >> 8, "params": int(digest[::-1], 16) >> 8}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("digits")


def evaluations_of(space: SearchSpace, sampler: str, count: int, seed: int = 0) -> list[Evaluation]:
    """Of random networks, with costs that are a function of the network."""
    rng = random.Random(f"{sampler}{seed}")
    found = []
    for n in range(count):
        arch = space.sample(rng)
        found.append(
            Evaluation(
                n=n, origin=Origin(SAMPLER, sampler), trial=3 * n, digest=arch.digest, architecture=arch,
                costs=costs_of(arch.digest), top1=rng.random(), loss=rng.random(), images=100,
            )
        )  # fmt: skip
    return found


def search_of(evaluations: list[Evaluation], name: str = "small", **changes: Any) -> Search:
    return replace(Search(name, OBJECTIVES, BUDGET, evaluations), **changes)


def load(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=database(path))


def names_in(path: Path) -> list[str]:
    return sorted(optuna.get_all_study_names(database(path)))


def check(path: Path, space: SearchSpace, search: Search, sampler: str) -> optuna.Study:
    """Every trial, decoded: its choices give the network, whose costs and digest are what the trial says."""
    study = load(path, f"{search.name}/{sampler}")
    assert study.metric_names == [objective.name for objective in search.objectives]
    expected = [e for e in search.evaluations if e.origin == Origin(SAMPLER, sampler)]
    trials = study.get_trials()
    assert [trial.number for trial in trials] == list(range(len(expected)))
    labels = labels_of(space)
    for trial, evaluation in zip(trials, expected, strict=True):
        assert trial.state == optuna.trial.TrialState.COMPLETE
        genes = tuple(
            labels[gene.name].index(trial.params[gene.name]) if gene.name in trial.params else 0 for gene in space.genes
        )
        assert {space.genes[position].name for position in space.active(genes)} == set(trial.params)
        arch = space.decode(genes)
        assert trial.user_attrs == {"digest": arch.digest, "trial": evaluation.trial, "costs": costs_of(arch.digest)}
        assert trial.values == [objective.of(evaluation) for objective in search.objectives]
        violations = search.budget.violations(costs_of(arch.digest))
        assert {name: trial.constraints[name] for name in violations} == pytest.approx(violations)
        assert any(v > 0 for v in trial.constraints.values()) != search.budget.allows(costs_of(arch.digest))
    return study


def test_every_trial_is_its_evaluation(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    records = evaluations_of(space, "nsga2", 12) + evaluations_of(space, "random", 5)
    records.insert(0, replace(records[0], origin=Origin(BASELINE, "smallest")))
    searches = [
        search_of(records),
        search_of(evaluations_of(space, "tpe", 4), "other", objectives=(Objective("loss"),)),
    ]
    write_studies(path, space, searches)
    assert names_in(path) == ["other/tpe", "small/nsga2", "small/random"]
    for sampler in ("nsga2", "random"):
        check(path, space, searches[0], sampler)
    check(path, space, searches[1], "tpe")
    allowed = [BUDGET.allows(e.costs) for e in records]
    assert True in allowed
    assert False in allowed


def test_dropped_networks_are_outside_of_a_constraint(space: SearchSpace, tmp_path: Path) -> None:
    """Their scores are estimates: Optuna's front and its best trial leave them out, with a budget and without one."""
    path = tmp_path / "study.db"
    full = [replace(e, against="", top1=0.5) for e in evaluations_of(space, "nsga2", 4)]
    dropped = [replace(e, against=full[0].digest, top1=0.9) for e in evaluations_of(space, "nsga2", 3, seed=1)]
    budget = Budget((("macs", 1e15),))
    searches = [
        search_of([*full, *dropped], "free", budget=Budget(())),
        search_of([*full, *dropped], "limited", budget=budget),
        search_of([*full, *dropped], "single", budget=budget, objectives=(Objective("top1"),)),
        search_of([replace(e, against=None) for e in full], "plain", budget=Budget(())),
    ]
    write_studies(path, space, searches)
    for search in searches[:3]:
        study = load(path, f"{search.name}/nsga2")
        best = {trial.user_attrs["digest"] for trial in study.best_trials}
        assert best
        assert best <= {e.digest for e in full}
        for trial, evaluation in zip(study.get_trials(), search.evaluations, strict=True):
            assert trial.user_attrs["against"] == evaluation.against
            assert trial.constraints["dropped"] == float(evaluation.is_estimate)
            assert trial.system_attrs["constraints"][-1] == float(evaluation.is_estimate)
    for trial in load(path, "plain/nsga2").get_trials():
        assert "against" not in trial.user_attrs
        assert not trial.constraints


def test_missing_trials_are_appended_and_others_stay(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    records = evaluations_of(space, "nsga2", 9)
    write_studies(path, space, [search_of(records[:4])])
    first = load(path, "small/nsga2").get_trials()
    user = optuna.create_study(study_name="of the user", storage=database(path))
    user.tell(user.ask(), 1.0)
    write_studies(path, space, [search_of(records)])
    write_studies(path, space, [search_of(records)])
    later = check(path, space, search_of(records), "nsga2").get_trials()
    assert [trial._trial_id for trial in later[:4]] == [trial._trial_id for trial in first]
    assert load(path, "of the user").best_value == 1.0


@pytest.mark.parametrize("change", ["budget", "objectives", "records", "fewer"])
def test_a_study_that_says_something_else_is_replaced(space: SearchSpace, tmp_path: Path, change: str) -> None:
    path = tmp_path / "study.db"
    records = evaluations_of(space, "nsga2", 5)
    other = {
        "budget": search_of(records, budget=Budget((("macs", 1e10),))),
        "objectives": search_of(records, objectives=(Objective("loss"), Objective("macs"))),
        "records": search_of(evaluations_of(space, "nsga2", 5, seed=1)),
        "fewer": search_of(records[:3]),
    }[change]
    write_studies(path, space, [search_of(records)])
    write_studies(path, space, [other])
    check(path, space, other, "nsga2")


@pytest.mark.parametrize("damage", ["text", "cut", "other database", "empty"])
def test_a_damaged_file_is_made_anew(space: SearchSpace, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "study.db"
    search = search_of(evaluations_of(space, "nsga2", 5))
    write_studies(path, space, [search])
    if damage == "text":
        path.write_bytes(b"no database" * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE studies (colour TEXT)")
        connection.commit()
        connection.close()
    write_studies(path, space, [search])
    check(path, space, search, "nsga2")


def test_a_file_that_cannot_be_written(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="unable to open"):
        write_studies(tmp_path / "missing" / "study.db", space, [search_of(evaluations_of(space, "nsga2", 2))])


@pytest.mark.filterwarnings("ignore:Some regimes for parameter")  # few trials have it
def test_optunas_tools_read_it(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    records = evaluations_of(space, "nsga2", 20)
    searches = [search_of(records), search_of(records, "one", objectives=(Objective("loss"),))]
    write_studies(path, space, searches)
    importances = optuna.importance.get_param_importances(load(path, "one/nsga2"))
    assert importances
    assert set(importances) <= {gene.name for gene in space.genes}
    assert all(math.isfinite(value) for value in importances.values())
    best = load(path, "small/nsga2").best_trials
    assert best
    assert all(BUDGET.allows(trial.user_attrs["costs"]) for trial in best)


def test_the_dashboard_sees_what_is_over_the_budget(space: SearchSpace, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        serializer = importlib.import_module("optuna_dashboard._serializer")
    path = tmp_path / "study.db"
    write_studies(path, space, [search_of(evaluations_of(space, "nsga2", 20))])
    study = load(path, "small/nsga2")
    feasible = []
    for trial in study.get_trials():
        shown = serializer.serialize_frozen_trial(study._study_id, trial, {})["constraints"]
        assert len(shown) == 2
        feasible.append(all(violation <= 0 for violation in shown))
        assert feasible[-1] == BUDGET.allows(trial.user_attrs["costs"])
    assert True in feasible
    assert False in feasible

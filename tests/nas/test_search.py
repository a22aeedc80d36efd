"""A search sees no test image, is a function of the run, goes on where it stopped, and keeps its budget."""

import json
import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.command_line import SEARCH, Commands, Runs, contents, study


def records(place: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()]


@pytest.fixture
def trained(image_runs: Runs, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_runs["train"], tmp_path / "trained"))


@pytest.fixture
def searched(image_runs: Runs, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_runs["search"], tmp_path / "searched"))


def test_search_and_extraction_do_not_see_test_images(nas: Commands, image_runs: Runs, trained: Path) -> None:
    """With every test image overwritten, both give the same bytes; retraining, which tests, says what is wrong."""
    parts = json.loads((trained / "run" / "split.json").read_text())["parts"]
    for image in parts["test"]:
        (trained / "images" / image).write_bytes(b"overwritten")
    for verb in ("search", "extract"):
        nas(verb, "config.toml", cwd=trained).ok()
    found, expected = (contents(place / "run") for place in (trained, image_runs["extract"]))
    assert {name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)} <= {"study.db"}
    assert study(trained) == study(image_runs["extract"])
    given, _, _ = nas("retrain", "config.toml", cwd=trained).refused("images/", "has changed", "test")
    assert given.split("images/")[1].split()[0] in parts["test"]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_search_sees_the_images_that_it_needs(part: str, nas: Commands, trained: Path) -> None:
    """The test above would notice."""
    image = json.loads((trained / "run" / "split.json").read_text())["parts"][part][0]
    (trained / "images" / image).write_bytes(b"overwritten")
    nas("search", "config.toml", cwd=trained).refused(f"images/{image}", part)


def test_the_same_run_gives_the_same_search(nas: Commands, image_runs: Runs, trained: Path) -> None:
    nas("search", "config.toml", cwd=trained).ok()
    assert records(trained) == records(image_runs["search"])
    assert study(trained) == study(image_runs["search"])


def test_a_larger_search_goes_on(nas: Commands, searched: Path, trained: Path) -> None:
    """The evaluations that there are stay; the new ones are those of a search that was as large from the start."""

    def proposals(place: Path) -> set[tuple[Any, ...]]:
        return {
            (r["sampler"], r["trial"], r["digest"], r["top1"]) for r in records(place) if r["sampler"] != "hand_made"
        }

    before = records(searched)
    for place in (searched, trained):
        nas("search", "config.toml", "evaluations=7", cwd=place).ok()
    after = records(searched)
    assert after[: len(before)] == before
    assert [record["n"] for record in after] == list(range(len(after)))
    assert proposals(searched) == proposals(trained)
    for sampler in ("nsga2", "random"):
        found = [record["digest"] for record in after if record["sampler"] == sampler]
        assert len(found) == len(set(found)) == 7
    assert study(searched) == study(trained)
    again = (searched / "run" / SEARCH / "evaluations.jsonl").read_bytes()
    nas("search", "config.toml", "evaluations=7", cwd=searched).ok()
    assert (searched / "run" / SEARCH / "evaluations.jsonl").read_bytes() == again


def test_samplers_get_equal_numbers_of_networks_within_the_budget(
    nas: Commands, image_runs: Runs, trained: Path
) -> None:
    """Random search never has fewer; what is larger than the budget is recorded as a baseline only."""
    macs = {record["sampler"]: record["macs"] for record in records(image_runs["search"])}
    budget = (macs["smallest"] + macs["largest"]) // 3
    nas("search", "config.toml", f"budget={budget}", "evaluations=8", "population=3", cwd=trained).ok()
    by_sampler: dict[str, list[dict[str, Any]]] = {}
    for record in records(trained):
        by_sampler.setdefault(record["sampler"], []).append(record)
    assert by_sampler.keys() == {"smallest", "largest", "nsga2", "random", "hand_made"}
    for name in ("nsga2", "random"):
        assert len({record["digest"] for record in by_sampler[name]}) == len(by_sampler[name]) == 8
        assert max(record["macs"] for record in by_sampler[name]) <= budget
    for name in ("smallest", "largest", "hand_made"):
        assert [record["trial"] for record in by_sampler[name]] == [0]
    assert by_sampler["smallest"][0]["macs"] <= min(r["macs"] for group in by_sampler.values() for r in group)
    assert by_sampler["largest"][0]["macs"] > budget
    known: dict[str, tuple[float, int]] = {}
    for record in records(trained):  # one network, one result, whoever proposes it
        assert known.setdefault(record["digest"], (record["top1"], record["macs"])) == (record["top1"], record["macs"])
    trials = study(trained)
    assert trials.keys() == {"nsga2", "random"}
    for name, found in trials.items():
        assert len(found) >= 8
        assert {trial[4]["digest"] for trial in found} == {record["digest"] for record in by_sampler[name]}
        for _, state, _, (top1, cost), attributes, constraints in found:
            assert state == optuna.trial.TrialState.COMPLETE
            assert constraints == {"macs": cost - budget}
            assert constraints["macs"] <= 0
            assert known[attributes["digest"]] == (top1, cost)


@pytest.mark.parametrize("damage", [None, b"", b"no database" * 100, "half", "half, with a journal"])
def test_the_study_is_rebuilt(damage: bytes | str | None, nas: Commands, image_runs: Runs, searched: Path) -> None:
    path = searched / "run" / "study.db"
    content = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage if isinstance(damage, bytes) else content[: len(content) // 2])
    if damage == "half, with a journal":
        path.with_name("study.db-journal").write_bytes(content[:5000])
    nas("search", "config.toml", cwd=searched).ok()
    assert study(searched) == study(image_runs["search"])
    assert records(searched) == records(image_runs["search"])
    nas("search", "config.toml", cwd=searched).ok()
    assert study(searched) == study(image_runs["search"])

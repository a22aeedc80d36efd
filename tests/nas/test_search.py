"""A search sees no test image, is a function of the run, resumes where it stopped, and keeps its budget."""

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


def by_origin(place: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records(place):
        found.setdefault(record["origin"]["name"], []).append(record)
    return found


@pytest.mark.parametrize("batch", [1, 3])
def test_a_larger_search_resumes(batch: int, nas: Commands, trained: Path, tmp_path: Path) -> None:
    """The evaluations that there are stay; the new ones are those of a search that was as large from the start."""

    def proposals(place: Path) -> set[tuple[Any, ...]]:
        sampled = (r for r in records(place) if r["origin"]["kind"] == "sampler")
        return {(r["origin"]["name"], r["trial"], r["digest"], r["top1"]) for r in sampled}

    searched = Path(shutil.copytree(trained, tmp_path / "searched"))
    nas("search", "config.toml", f"batch={batch}", cwd=searched).ok()
    before = records(searched)
    for place in (searched, trained):
        nas("search", "config.toml", f"batch={batch}", "evaluations=7", cwd=place).ok()
    after = records(searched)
    assert after[: len(before)] == before
    assert [record["n"] for record in after] == list(range(len(after)))
    assert proposals(searched) == proposals(trained)
    for sampler in ("nsga2", "random"):
        found = [record["digest"] for record in by_origin(searched)[sampler]]
        assert len(found) == len(set(found)) == 7
    again = (searched / "run" / SEARCH / "evaluations.jsonl").read_bytes()
    nas("search", "config.toml", f"batch={batch}", "evaluations=7", cwd=searched).ok()
    nas("search", "config.toml", f"batch={batch}", "evaluations=2", cwd=searched).ok()  # which it has long had
    assert (searched / "run" / SEARCH / "evaluations.jsonl").read_bytes() == again


def test_samplers_get_equal_numbers_of_networks_within_the_budget(
    nas: Commands, image_runs: Runs, trained: Path
) -> None:
    """Random search never has fewer; what is larger than the budget is recorded as a baseline only."""
    macs = {name: found[0]["costs"]["macs"] for name, found in by_origin(image_runs["search"]).items()}
    budget = (macs["smallest"] + macs["largest"]) // 3
    nas("search", "config.toml", f"budget={budget}", "evaluations=8", "population=3", cwd=trained).ok()
    found = by_origin(trained)
    assert found.keys() == {"smallest", "largest", "nsga2", "random", "hand_designed"}
    for name in ("nsga2", "random"):
        assert len({record["digest"] for record in found[name]}) == len(found[name]) == 8
        assert max(record["costs"]["macs"] for record in found[name]) <= budget
        assert {record["origin"]["kind"] for record in found[name]} == {"sampler"}
    for name in ("smallest", "largest", "hand_designed"):
        assert [record["trial"] for record in found[name]] == [0]
        assert {record["origin"]["kind"] for record in found[name]} == {"baseline"}
    assert found["smallest"][0]["costs"]["macs"] <= min(r["costs"]["macs"] for group in found.values() for r in group)
    assert found["largest"][0]["costs"]["macs"] > budget
    known: dict[str, tuple[float, int]] = {}
    for record in records(trained):  # one network, one result, whoever proposes it
        result = (record["top1"], record["costs"]["macs"])
        assert known.setdefault(record["digest"], result) == result
    trials = study(trained)
    assert trials.keys() == {"small/nsga2", "small/random"}
    for name, own in trials.items():
        assert [trial[4]["digest"] for trial in own] == [r["digest"] for r in found[name.removeprefix("small/")]]
        for _, state, _, (top1, cost), attributes, constraints in own:
            assert state == optuna.trial.TrialState.COMPLETE
            assert constraints["macs"] == cost / budget - 1
            assert known[attributes["digest"]] == (top1, cost)


def test_a_batch_is_the_same_on_one_process_and_on_two(nas: Commands, trained: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    settings = ("search", "config.toml", "batch=8", "evaluations=9")
    nas(*settings, "executor=here", cwd=trained).ok()
    nas(*settings, "executor=processes", "jobs=2", cwd=other).ok()
    assert (other / "run" / SEARCH / "evaluations.jsonl").read_bytes() == (
        trained / "run" / SEARCH / "evaluations.jsonl"
    ).read_bytes()


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

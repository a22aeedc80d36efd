"""Budgets are delivered, with real commands and real times."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nas.records.device_times import OVER
from tests.command_line import Commands, Runs

PROFILE = (
    "profile", "space=tiny.toml", "out=here.json", "channels=1", "classes=10", "resolution=8", "noisy=true", "error=0.2", "heldout=2",
    "calibration=3", "seconds=2",
)  # fmt: skip
SEARCH = ("search", "config.toml", "search.objectives=top1,latency_ms", "search.noisy=true", "search.jobs=1")


@pytest.fixture(scope="module")
def profiled(nas: Commands, runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run, and a profile of this machine for its space."""
    place = Path(shutil.copytree(runs["train"], tmp_path_factory.mktemp("profiled") / "place"))
    nas(*PROFILE, cwd=place).ok()
    return place


def changed(place: Path, name: str, weight: float = 1.0, **fingerprint: str) -> float:
    """Writes a profile like that of this machine, with other weights and another fingerprint.

    Returns:
        A time between the fastest and the slowest network that was measured.
    """
    profile = json.loads((place / "here.json").read_text())
    profile["device"] = name
    profile["model"]["base"] *= weight
    profile["model"]["weights"] = {key: value * weight for key, value in profile["model"]["weights"].items()}
    profile["fingerprint"] |= fingerprint
    (place / f"{name}.json").write_text(json.dumps(profile))
    times = [network["ms"] for network in profile["networks"]]
    return (min(times) * max(times)) ** 0.5


def measurements(place: Path, name: str) -> list[dict[str, Any]]:
    return list(map(json.loads, (place / "run" / "searches" / name / "measured.jsonl").read_text().splitlines()))


def test_a_model_that_promises_too_much_is_put_right(nas: Commands, profiled: Path, tmp_path: Path) -> None:
    """Predictions are a fifth of what is measured, so the search proposes networks that are too slow; none of them may win."""
    place = Path(shutil.copytree(profiled, tmp_path / "place"))
    limit = changed(place, "biased", 0.2)
    asked = (*SEARCH, "search.name=fast", "search.profiles=biased.json", f"search.budget=latency_ms={limit:.6g}")
    result = nas(*asked, cwd=place).ok()
    assert "networks measured on biased" in result.out
    assert "(bias)" in result.out
    found = measurements(place, "fast")
    assert all(m["measured"] > 2 * m["predicted"] for m in found)  # a fifth, on a machine however noisy
    over = {m["digest"] for m in found if m["high"] > limit}
    assert over
    nas("extract", "config.toml", "search=fast", cwd=place).ok()
    cards = {
        card["digest"]: card
        for path in (place / "run/searches/fast/networks").glob("*/card.json")
        for card in [json.loads(path.read_text())]
    }
    front = [card for card in cards.values() if {"front", "random_best"} & set(card["roles"])]
    assert front
    for card in cards.values():
        (device,) = card["devices"]
        assert device["device"] == "biased"
        assert (device["status"] == OVER) == (card["digest"] in over) == (not card["within_budget"])
        assert device["interval_95_ms"][0] <= device["measured_ms"] <= device["interval_95_ms"][1]
    assert not over & {card["digest"] for card in front}
    nas("report", "run=run", cwd=place).ok()
    page = (place / "run" / "report.html").read_text()
    assert "Predicted against measured" in page
    assert "MACs against milliseconds" in page
    # A command that is typed again measures nothing, and one that was interrupted measures what is missing.
    lines = (place / "run/searches/fast/measured.jsonl").read_bytes().splitlines(keepends=True)
    nas(*asked, cwd=place).ok()
    assert (place / "run/searches/fast/measured.jsonl").read_bytes() == b"".join(lines)
    (place / "run/searches/fast/measured.jsonl").write_bytes(b"".join(lines[:1]) + lines[1][:20])
    nas(*asked, cwd=place).ok()
    assert (place / "run/searches/fast/measured.jsonl").read_bytes().startswith(lines[0])
    assert len(measurements(place, "fast")) >= len({m["digest"] for m in found if m["digest"] not in over})


def test_a_profile_of_another_device_is_predicted_only(nas: Commands, profiled: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(profiled, tmp_path / "place"))
    changed(place, "pi5", processor="another")
    objectives = "search.objectives=top1,latency_ms@pi5"
    asked = ("search", "config.toml", objectives, "search.profiles=pi5.json", "search.budget=latency_ms@pi5=0.01..100")
    result = nas(*asked, "search.name=far", cwd=place).ok()
    assert "pi5 is another device than this one: its times are predicted only" in result.out
    assert all(m["measured"] is None and m["predicted"] > 0 for m in measurements(place, "far"))
    nas("report", "run=run", cwd=place).ok()
    assert "predicted only" in (place / "run" / "report.html").read_text()
    # A limit on a cost that adds up is checked before anything is evaluated.
    refused = nas(*asked[:-1], "search.budget=latency_ms@pi5=0.000001", "search.name=never", cwd=place)
    refused.refused("latency_ms@pi5 is the binding limit")
    assert not (place / "run" / "searches" / "never").exists()


def test_a_supernet_for_a_time_on_this_device(nas: Commands, profiled: Path, tmp_path: Path) -> None:
    """A limit on latency narrows the space before training; one that nothing keeps is refused before anything is written."""
    place = Path(shutil.copytree(profiled, tmp_path / "place"))
    limit = changed(place, "copy")
    asked = ("train", "config.toml", "run=fast", "search.profiles=here.json")
    nas(*asked, "train.budget=latency_ms=0.000001", cwd=place).refused("latency_ms")
    assert not (place / "fast").exists()
    result = nas(*asked, f"train.budget=latency_ms={limit:.6g}", cwd=place).ok()
    assert "leaves" in result.out + result.err
    assert json.loads((place / "fast" / "run.json").read_text())["config"]["train"]["budget"].startswith("latency_ms=")


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("0", "numbers above 0"),
        ("-2M", "numbers above 0"),
        ("macs=4M..2M", "no macs can be at least 4M and at most 2M"),
        ("params=1K,macs=20K..", "params is the binding limit"),
        ("macs=300K..,params=2300", "at most 2.3K params and at least 300K macs"),
    ],
)
def test_budgets_that_nothing_keeps(nas: Commands, runs: Runs, tmp_path: Path, budget: str, words: str) -> None:
    place = Path(shutil.copytree(runs["train"], tmp_path / "place"))
    nas("search", "config.toml", f"search.budget={budget}", "search.name=never", cwd=place).refused(words)
    assert not (place / "run" / "searches" / "never").exists()

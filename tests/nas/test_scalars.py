"""Scalars as TensorBoard itself reads them: those of the records, each step once, whatever was interrupted."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.config import Config
from nas.records import SAMPLER, Evaluation
from nas.runs.scalars import Scalars, check_scalars
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from tests.command_line import SEARCH, Commands

After = Callable[[str], Path]


def scalars_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """By tag, the steps and values that TensorBoard shows of a folder."""
    accumulators: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(autouse=True)
def installed() -> None:
    pytest.importorskip("tensorboard")


def test_a_resumed_training_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    killed = Scalars(True, store, "retrain/small/a")
    for step in (10, 20, 30, 40, 50):
        killed.add(step, {"loss": float(step)})
    killed.flush()
    resumed = Scalars(True, store, "retrain/small/a", first=30)
    for step in (40, 50, 60):
        resumed.add(step, {"loss": step + 0.5, "unknown": None, "infinite": float("inf")})
    resumed.close()
    expected = [(10, 10.0), (20, 20.0), (30, 30.0), (40, 40.5), (50, 50.5), (60, 60.5)]
    assert scalars_in(tmp_path / "tensorboard/retrain/small/a") == {"loss": expected}
    anew = Scalars(True, store, "retrain/small/a")
    anew.add(10, {"loss": 1.0})
    anew.close()
    killed.close()
    assert scalars_in(tmp_path / "tensorboard/retrain/small/a") == {"loss": [(10, 1.0)]}


def test_nothing_is_written_unless_it_is_wanted(tmp_path: Path) -> None:
    scalars = Scalars(False, RunStore(tmp_path), "train")
    scalars.add(1, {"loss": 1.0})
    scalars.flush()
    scalars.close()
    assert not list(tmp_path.iterdir())


def test_it_is_refused_without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    check_scalars(Config(tensorboard=True))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    check_scalars(Config())
    with pytest.raises(InputError, match="pip install tensorboard"):
        check_scalars(Config(tensorboard=True))


def test_every_verb_writes_what_its_records_have(nas: Commands, after: After, runs: Any) -> None:
    place = after("train")
    lines = [json.loads(line) for line in (place / "run/train.jsonl").read_text().splitlines()]
    (place / "run/supernet.safetensors").unlink()
    nas("train", "config.toml", "tensorboard=true", cwd=place).ok()
    shown = scalars_in(place / "run/tensorboard/train")
    assert shown["loss_largest"] == [(line["step"], pytest.approx(line["loss_largest"])) for line in lines]
    for evaluations in (2, 4):  # the second one resumes
        nas("search", "config.toml", "tensorboard=true", f"search.evaluations={evaluations}", cwd=place).ok()
    records = [
        Evaluation.from_dict(json.loads(line))
        for line in (place / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()
    ]
    for sampler in ("nsga2", "random"):
        own = [record for record in records if (record.origin.kind, record.origin.name) == (SAMPLER, sampler)]
        shown = scalars_in(place / "run/tensorboard/search/small" / sampler)
        assert shown["evaluated/top1"] == [(n, pytest.approx(record.top1)) for n, record in enumerate(own, 1)]
        assert shown["evaluated/macs"] == [(n, record.costs["macs"]) for n, record in enumerate(own, 1)]
        assert [step for step, _ in shown["hypervolume"]] == [1, 2, 3, 4]
    nas("extract", "config.toml", cwd=place).ok()
    nas("retrain", "config.toml", "tensorboard=true", cwd=place).ok()
    retrained = [json.loads(line) for line in (place / "run" / SEARCH / "retrained.jsonl").read_text().splitlines()]
    shown = scalars_in(place / "run/tensorboard/retrain/small/results")
    assert shown["scratch/test_top1"] == [(n, pytest.approx(line["test_top1"])) for n, line in enumerate(retrained)]
    for line in retrained:
        loss = scalars_in(place / f"run/tensorboard/retrain/small/{line['digest']}-scratch-0")["loss"]
        assert [step for step, _ in loss] == sorted({step for step, _ in loss})
        assert loss

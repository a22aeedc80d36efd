"""A damaged line of a finished search: its record is made again, and nothing else changes."""

from collections.abc import Callable
from pathlib import Path

import pytest

import nas as verbs
import nas.searching.searching
from nas import load_config
from nas.records import SAMPLER
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from nas.searching.evaluation import Accuracy, Evaluator
from search_spaces.architecture import Architecture


def test_a_record_that_is_made_again_leaves_the_winner_alone(
    after: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All networks tie, so that the earliest wins, and with another winner another hand-designed network would be evaluated."""

    def alike(_evaluator: Evaluator, _arch: Architecture) -> Accuracy:
        return Accuracy(0.5, 1.0, 287)

    monkeypatch.chdir(after("train"))
    monkeypatch.setattr(nas.searching.searching, "score", alike)
    settings = ("run=run", "space=tiny.toml", "data.resolution=8", "executor=here", "search.name=tied")
    fixed = ("train.epochs=1", "train.batch_size=128", "train.random_paths=1", "train.checkpoint_steps=2")
    few = ("search.objectives=top1", "search.samplers=random", "search.evaluations=5", "search.calibration_images=64")
    config = load_config(None, [*settings, *fixed, *few])
    verbs.search(config)
    search = read_search(RunStore.open("run"), "tied")
    before, path = search.evaluations(), search.store.path(search.path("evaluations.jsonl"))
    first = next(place for place, record in enumerate(before) if record.origin.kind == SAMPLER)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:first], lines[first].replace(b"0.5", b"0.6"), *lines[first + 1 :]]))
    verbs.search(config)
    assert search.evaluations() == before
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(lines)

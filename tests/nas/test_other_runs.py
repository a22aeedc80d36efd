"""Runs that are others than the command means, or in use, and folders that are no runs: refused, and left alone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import lock_descriptor

from nas.runs.store import RunStore
from tests.command_line import SEARCH, SPACE, Commands, Runs
from tests.nas.places import untouched

After = Callable[[str], Path]


def test_folders_that_are_no_runs_are_left_alone(nas: Commands, place: Path) -> None:
    (place / "run").mkdir()
    (place / "run" / "thesis.txt").write_text("not to be touched")
    with untouched(place):
        nas("train", "config.toml", cwd=place).refused("run is not empty")
        nas("train", "config.toml", "run=config.toml", cwd=place).refused("config.toml is not empty")
        given, _, _ = nas("train", "config.toml", "run=config.toml/run", cwd=place).refused("config.toml/run")
    assert "cannot be written" in given


def test_an_unknown_digest(nas: Commands, after: After) -> None:
    place = after("search")
    for verb in ("extract", "retrain"):
        with untouched(place):
            _, _, instead = nas(verb, "run=run", "digest=0a1b2c3d4e5f", cwd=place).refused("'0a1b2c3d4e5f' names 0")
    nas("extract", "run=run", instead, cwd=place).ok()
    assert [path.name for path in (place / "run" / SEARCH / "networks").iterdir()] == [instead.removeprefix("digest=")]


OTHER_SETTINGS = [
    ("train", "seed=1", 'seed=0, not 1', "seed=0 or run=runs/new"),
    ("train", "space=digits", 'space="tiny.toml", not "digits"', "space=tiny.toml or run=runs/new"),
    ("train", "data.resolution=16", "data.resolution=8, not 16", "data.resolution=8 or run=runs/new"),
    ("train", "data=fashion_mnist", 'data.name="digits", not "fashion_mnist"', "data.name=digits or run=runs/new"),
    ("train", "train.epochs=2", "train.epochs=1, not 2", "train.epochs=1 or run=runs/new"),
    ("train", "epochs=2 seed=1", "seed=0, not 1; train.epochs=1, not 2", "seed=0 train.epochs=1 or run=runs/new"),
    ("search", "seed=1", "search.seed=0, not 1", "search.seed=0, or search.name=another"),
    ("search", "seed=1 population=9", "search.population=2, not 9; search.seed=0, not 1", "search.population=2 search.seed=0, or search.name=another"),
    ("search", "train.lr=0.1", "train.lr=0.002, not 0.1", "train.lr=0.002 or run=runs/new"),
    ("search", "population=9", "search.population=2, not 9", "search.population=2, or search.name=another"),
    ("search", "budget=900K", 'search.budget="none", not "900K"', "search.budget=none, or search.name=another"),
    ("search", "objectives=loss", 'search.objectives=["top1", "macs"]', "search.objectives=top1,macs, or search.name=another"),
    ("extract", "search.budget=900K", 'search.budget="none", not "900K"', "search.budget=none, or search.name=another"),
    ("extract", "data.augment=none", 'data.augment="light", not "none"', "data.augment=light or run=runs/new"),
    ("retrain", "epochs=2", "retrain.epochs=1, not 2", "retrain.epochs=1"),
    ("retrain", "train.epochs=2", "train.epochs=1, not 2", "train.epochs=1 or run=runs/new"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "other", "names", "offers"), OTHER_SETTINGS, ids=[f"{v} {o}" for v, o, *_ in OTHER_SETTINGS]
)
def test_other_settings_are_another_run(
    verb: str, other: str, names: str, offers: str, nas: Commands, runs: Runs
) -> None:
    place = runs["report"]
    with untouched(place):
        _, _, instead = nas(verb, "config.toml", *other.split(), cwd=place).refused("run ", names)
        assert instead == offers
        if verb in ("train", "search"):  # there is nothing left to do, and it is accepted
            nas(verb, "config.toml", *re.split(", or | or ", offers)[0].split(), cwd=place).ok()


def test_another_path_to_the_same_space_is_the_same_run(nas: Commands, after: After) -> None:
    place = after("train")
    (place / "copy.toml").write_text(SPACE)
    nas("train", "config.toml", "space=copy.toml", cwd=place).ok()


def test_one_process_a_run(nas: Commands, runs: Runs) -> None:
    place = runs["report"]
    with open(place / "run" / "work" / "lock") as held, untouched(place):
        assert lock_descriptor(held.fileno(), blocking=False)
        for verb in ("train", "search", "extract", "retrain", "demo"):
            nas(verb, "config.toml", cwd=place).refused("run is in use by another process")
    nas("train", "config.toml", cwd=place).ok()


def test_a_process_may_open_a_run_twice(nas: Commands, place: Path) -> None:
    """`run = train(config)`, then `search(config)`: the run is held until nothing refers to it."""
    stores = [RunStore(place / "run"), RunStore(place / "other" / ".." / "run")]
    (place / "other").mkdir()
    RunStore.lock(stores[0])
    RunStore.lock(stores[1])
    while stores:
        nas("train", "config.toml", cwd=place).refused("run is in use by another process")
        stores.pop()
    nas("train", "config.toml", cwd=place).ok()

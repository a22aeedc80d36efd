"""The folder of an ablation: run.json says what it is, split.json which images, and ablation.jsonl has a line for each trained network."""

import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas import machine
from nas.ablation.asked import Asked
from nas.ablation.rows import Row, rows_of
from nas.ablation.training import Result, folder_of
from nas.config import Config
from nas.config.parsing import recorded_config
from nas.data import Split, check_part, make_split
from nas.executors import check_guarded
from nas.plugins import import_plugins
from nas.runs.run import FREE
from nas.runs.settings import RETRAIN_FREE, different, kept, told
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import ARCH
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded

RESULTS = "ablation.jsonl"


@dataclass(frozen=True)
class Ablation:
    """An open folder.

    Args:
        rows: those that are asked for, the one that others are compared with first.
        numbers: of each row by its name, as they name folders.
        about: run.json.
    """

    store: RunStore
    config: Config
    split: Split
    rows: tuple[Row, ...]
    numbers: dict[str, int]
    device: torch.device
    about: dict[str, Any]

    def results(self) -> dict[tuple[str, int], Result]:
        """By row and seed; a later line replaces an earlier one, to which the test was added.

        Raises:
            InputError: a line is damaged, or of another version.
        """
        return {(found.row, found.seed): found for found in map(Result.read, self.store.each_record(RESULTS))}

    def labels(self, part: str) -> tuple[int, ...]:
        """Of the images that are scored on the part "test" or "val"."""
        return self.split.labels["test" if part == "test" else "validation"]

    def check_images(self, name: str) -> None:
        """Reads every image of a part, so that what is wrong with it shows before anything is trained.

        Raises:
            InputError: images are missing or have changed since the split.
        """
        check_part(self.config.data, self.split, name)


def begin(asked: Asked) -> Ablation:
    """The ablation of the folder, made if it does not exist. Rows may be added later, and seeds.

    Raises:
        InputError: the folder holds something else, or results of other rows, images or another recipe.
    """
    check_guarded()
    config = _absolute(asked.config)
    import_plugins(config)
    device = machine.prepare(1, config.device)
    if RunStore(config.run).exists("run.json"):
        store = RunStore.open(config.run)
        store.lock()
        about = store.identity()
        if not isinstance(about.get("ablation"), list):
            raise InputError(
                f"{config.run} holds a run of another kind", "a new folder, or that of an ablation", "run=runs/ablation"
            )
        split = read_split(store)
        _check_same(config, recorded_config(about, config.run))
        rows = rows_of(asked, split)
        about = _with_rows(store, about, rows)
    else:
        RunStore(config.run).check_new()
        split = make_split(config.data, config.seed)
        rows = rows_of(asked, split)
        store = RunStore.create(config.run)
        store.write_json("split.json", split.to_dict())
        about = _about(config, split, rows)
        store.begin(about)
    numbers = {row["name"]: number for number, row in enumerate(about["ablation"])}
    for row in rows:
        if row.arch is not None and not store.exists(f"{folder_of(numbers[row.name])}/{ARCH}"):
            store.write_text(f"{folder_of(numbers[row.name])}/{ARCH}", row.arch.to_json(indent=1) + "\n")
    return Ablation(store, config, split, tuple(rows), numbers, device, about)


def _absolute(config: Config) -> Config:
    """With the folder of the images as an absolute path, which means the same wherever later commands are typed."""
    if not config.data.root:
        return config
    return replace(config, data=replace(config.data, root=os.path.abspath(expanded(config.data.root))))


def _about(config: Config, split: Split, rows: list[Row]) -> dict[str, Any]:
    settings = config.to_dict()
    return {
        "config": {"seed": config.seed, "plugins": list(config.plugins), "data": settings["data"], "retrain": kept(config.retrain)},
        "ablation": [row.to_dict() for row in rows],
        "space_digest": "",
        "split_digest": split.digest,
        "split_sizes": {part: len(ids) for part, ids in split.parts.items()},
        "classes": list(split.classes),
        "versions": machine.versions(),
        "machine": machine.describe(1),
        "commit": machine.commit(),
        "command": machine.command(),
    }  # fmt: skip


def _check_same(config: Config, was: Config) -> None:
    """
    Raises:
        InputError: other images, another seed or another recipe than the results were made with.
    """
    settled = {"seed": (was.seed, config.seed)}
    one, other = was.to_dict()["data"], config.to_dict()["data"]
    settled |= {f"data.{key}": (one[key], other[key]) for key in one if f"data.{key}" not in FREE}
    differing = {name: pair for name, pair in settled.items() if pair[0] != pair[1]}
    differing |= {f"retrain.{key}": pair for key, pair in different(was.retrain, config.retrain, RETRAIN_FREE).items()}
    if differing:
        words, instead = told(differing)
        raise InputError(
            f"{config.run} was made with {words}",
            "the same settings, to resume the ablation, or a new folder",
            f"{instead} or run=runs/new",
        )


def _with_rows(store: RunStore, about: dict[str, Any], rows: list[Row]) -> dict[str, Any]:
    """run.json with rows that are new to it.

    Raises:
        InputError: a row has the name of another network.
    """
    known = {row["name"]: row["identity"] for row in about["ablation"]}
    for row in rows:
        if known.get(row.name, row.identity) != row.identity:
            raise InputError(
                f"row {row.name!r} of {store.folder} is network {known[row.name]}, and now it would be {row.identity}",
                "the same network under a name, because results belong to it",
                "another name for the changed row, or run=runs/new",
            )
    new = [row.to_dict() for row in rows if row.name not in known]
    if new:
        about = {**about, "ablation": [*about["ablation"], *new]}
        store.write_json("run.json", about)
    return about

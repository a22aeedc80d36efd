"""A run as the verbs see it: its folder, its configuration, its space and its data."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas import machine
from nas.config import Config
from nas.config.parsing import OF_A_COMMAND, recorded_config
from nas.data import Part, Split, check_part, load_part, make_split
from nas.executors import check_guarded
from nas.goals.budget import Budget
from nas.goals.costing import check_feasible, needed, prepare_costs
from nas.goals.limiting import KEY, budget_of, check_search, costs_of_training, narrow
from nas.goals.objectives import parse_objectives
from nas.latency.profiles import check_covered
from nas.machine import memory
from nas.plugins import import_plugins
from nas.runs.inputs import SUPERNET, check_unchanged, digests_of
from nas.runs.settings import absolute, told
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import load_tensors
from nas.training import ranks, sharing
from nas.training.initial import read_initial
from search_spaces.checking import check_parts
from search_spaces.costs import BUILT_IN, temporary_costs
from search_spaces.counting import decimal
from search_spaces.errors import InputError
from search_spaces.named import check, read_space, space_file
from search_spaces.registry import allocate
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded, read_text
from search_spaces.writing import to_toml
from supernet.supernet import Supernet

FREE = {"data.root", "data.workers", "data.most_pixels", "train.checkpoint_steps"}
"""Keys that change where or how a run works, not what comes out: they may differ from one command to the next."""

WHOLE_SPACE = "whole_space.toml"
"""The space as it was given, in a run whose training has a budget; space.toml is then what is left of it."""


@dataclass(frozen=True)
class Run:
    """An open run.

    Args:
        space: checked, bound to the data, and narrowed to the budget of training if there is one.
    """

    store: RunStore
    config: Config
    space: SearchSpace
    split: Split
    device: torch.device

    def part(self, name: str, limit: int | None = None) -> Part:
        """The images of one part. Only retraining asks for "test"."""
        return load_part(self.config.data, self.split, name, limit)

    def check_images(self, name: str) -> None:
        """Reads every image of a part, without decoding it.

        Raises:
            InputError: images are missing or have changed since the split; all of them are named.
        """
        check_part(self.config.data, self.split, name)

    def check_trained(self) -> None:
        """
        Raises:
            InputError: the supernet is not trained yet.
        """
        if not self.store.exists(SUPERNET):
            raise InputError(
                f"{self.store.folder} holds no trained supernet",
                "a run whose training has ended",
                f"nas train run={self.config.run}",
            )

    def check_files(self) -> None:
        """
        Raises:
            InputError: the budget of training limits costs of files, and they are not what the supernet was made for.
        """
        recorded = self.store.identity().get("files", {})
        if recorded:
            instead = f"make another supernet: nas train run=runs/new {KEY}={budget_of(self.config.train)}"
            check_unchanged(recorded, _files_of_training(self.config), f"the training of {self.store.folder}", instead)

    def supernet(self) -> Supernet:
        """The trained supernet.

        Raises:
            InputError: it is not trained yet, or its file is damaged.
        """
        self.check_trained()
        # Copied into memory of torch's own: the tensors of a file are aligned otherwise, and matrix products may round differently there.
        supernet = Supernet.without_values(self.space)
        allocate(supernet)
        load_tensors(self.store, SUPERNET, supernet)
        return supernet.to(self.device).eval()


def kept(config: Config) -> dict[str, Any]:
    """The part of a configuration that belongs to the run. Its search and retrain sections are what searches start from."""
    found = {key: value for key, value in config.to_dict().items() if key not in OF_A_COMMAND}
    for key in ("name", "close", "noisy"):  # of one search, or of one command
        del found["search"][key]
    return found


def _files_of_training(config: Config) -> dict[str, str]:
    """The digests of the files that the costs of the budget of training may come from; none where all of them are counted."""
    return digests_of(config.search) if {*budget_of(config.train).names} - {*BUILT_IN} else {}


def _bound(section: str, values: Any) -> Any:
    """The settings of a section that a run is bound to; any other value as it is."""
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if f"{section}.{key}" not in FREE}


def _absolute(config: Config) -> Config:
    """With the folders of images and of initial weights and the files of costs as absolute paths, which mean the same wherever later commands are typed."""
    config = replace(config, search=absolute(config.search))
    if config.train.init:
        config = replace(config, train=replace(config.train, init=os.path.abspath(expanded(config.train.init))))
    if not config.data.root:
        return config
    root = os.path.abspath(expanded(config.data.root))
    return replace(config, data=replace(config.data, root=root))


def start_run(config: Config) -> Run:
    """The run of `config.run`, made if it does not exist. The split is made once and kept.

    Nothing is written before everything has been found to be right.

    Raises:
        InputError: the folder holds another run; the space or the data cannot be used, or not with these settings.
    """
    check_guarded()
    if RunStore(config.run).exists("run.json"):
        return _resumed(config)
    config = _absolute(config)
    import_plugins(config)
    space = read_space(config.space)
    RunStore(config.run).check_new()
    device = machine.prepare(config.threads, config.device)
    checked = check(space)
    check_parts(replace(checked, resolution=config.data.resolution))  # before reading images, which may take long
    split = make_split(config.data, config.seed)
    whole = bound = checked.bind(split.in_channels, len(split.classes), config.data.resolution)
    check_parts(bound)
    budget = budget_of(config.train)
    if budget:
        check_search(budget, Budget.parse(config.search.budget))
        with costs_of_training(config):
            bound = narrow(whole, budget)
    _check_search(config, bound)
    _check_batch(config, split)
    chosen = not config.train.processes and ranks.launched() is None
    config = sharing.settled(config, bound, device)
    with costs_of_training(config):
        if chosen:
            config = memory.with_processes_that_fit(config, bound, device, split)
        memory.check(config, bound, device, split)
    identity = _identity(config, space.name, whole, bound, split)
    if config.train.init:
        identity["init"] = read_initial(config.train.init, bound).record(bound)
    store = RunStore.create(config.run)
    store.write_json("split.json", split.to_dict())
    _write_space(store, config, space.name, bound)
    store.begin(identity)
    return Run(store, config, bound, split, device)


def _resumed(config: Config) -> Run:
    """A run that exists. What is left of its training is checked as that of a new one is."""
    run = open_run(config)
    if not run.store.exists(SUPERNET):
        run.check_files()
        with costs_of_training(run.config):
            memory.check(run.config, run.space, run.device, run.split, started=True)
    return run


def _check_search(config: Config, bound: SearchSpace) -> None:
    """
    Raises:
        InputError: the search that the configuration describes cannot be made in this space.
    """
    budget = Budget.parse(config.search.budget)
    with temporary_costs():  # files of measured values are of one search
        prepare_costs(config.search)
        check_covered(bound, needed(budget, parse_objectives(config.search.objectives)))
        if not config.search.measured:  # whose costs are of some networks only
            check_feasible(bound, budget)


def _check_batch(config: Config, split: Split) -> None:
    """
    Raises:
        InputError: a batch has more images than there are.
    """
    images = len(split.parts["train"])
    if images < config.train.batch_size:
        raise InputError(
            f"train.batch_size is {config.train.batch_size} and there are {images} supernet-train images",
            f"2 to {images}", f"train.batch_size={max(2, images // 8)}",
        )  # fmt: skip


def _write_space(store: RunStore, config: Config, name: str, bound: SearchSpace) -> None:
    """Writes the space as it was given, and under a budget of training what is left of it beside."""
    given = read_text(space_file(config.space))
    budget = budget_of(config.train)
    if not budget:
        store.write_text("space.toml", given)
        return
    store.write_text(WHOLE_SPACE, given)
    comment = f"The space {name} of {WHOLE_SPACE} without what no network within train.budget={budget} can have."
    store.write_text("space.toml", to_toml(bound, comment))


def _identity(config: Config, name: str, whole: SearchSpace, bound: SearchSpace, split: Split) -> dict[str, Any]:
    """What run.json says that the run is.

    Args:
        name: of the space.
        whole, bound: the space as it was given, and narrowed to the budget of training.
    """
    files = _files_of_training(config)
    return {
        "config": kept(config),
        "space_name": name,
        "space_digest": bound.digest,
        "space_size": decimal(bound.size),
        **({"whole_space": {"digest": whole.digest, "size": decimal(whole.size)}} if budget_of(config.train) else {}),
        **({"files": files} if files else {}),
        "split_digest": split.digest,
        "split_sizes": {part: len(split.parts[part]) for part in ("train", "validation", "test")},
        "classes": list(split.classes),
        "images": dict(split.reading),
        "versions": machine.versions(),
        "machine": machine.describe(config.threads),
        "commit": machine.commit(),
        "command": machine.command(),
    }


def _given_space(identity: Mapping[str, Any]) -> str:
    """The file that has the space as it was given.

    Args:
        identity: run.json. A start that was killed may have left a file that is not of this run.
    """
    return WHOLE_SPACE if "whole_space" in identity else "space.toml"


def open_run(config: Config, *, writes: bool = True) -> Run:
    """An existing run, with the space, seed, data and training that it was started with.

    Args:
        config: from `configure`, whose base is the run's own configuration.
        writes: whether the run is written; one that is only read is not locked.

    Raises:
        InputError: no run, a damaged one, one of another version, or one of another space.
    """
    check_guarded()
    config = _absolute(config)
    import_plugins(config)
    device = machine.prepare(config.threads, config.device)
    store = RunStore.open(config.run)
    if writes:
        store.lock()
    identity = store.identity()
    recorded = recorded_config(identity, config.run)
    if not config.train.processes:  # as many as the run was begun with
        config = replace(config, train=replace(config.train, processes=recorded.train.processes))
    before, differing = kept(recorded), dict[str, tuple[Any, Any]]()
    for key in ("space", "seed", "data", "train"):
        was, now = (_bound(key, settings[key]) for settings in (before, kept(config)))
        if (
            key == "space"
            and was != now
            and read_space(now)
            == SearchSpace.from_toml(store.read_text(_given_space(identity)), _given_space(identity))
        ):
            continue  # another path to the same space
        if was != now and isinstance(now, dict):
            differing |= {f"{key}.{name}": (was.get(name), now[name]) for name in now if was.get(name) != now[name]}
        elif was != now:
            differing[key] = was, now
    if differing:
        words, instead = told(differing)
        raise InputError(
            f"{config.run} was made with {words}",
            "the same settings, to resume the run, or a new folder",
            f"{instead} or run=runs/new",
        )
    split = read_split(store)
    space = check(SearchSpace.from_toml(store.read_text("space.toml"), "space.toml"))
    space = space.bind(split.in_channels, len(split.classes), config.data.resolution)
    if space.digest != identity["space_digest"] or split.digest != identity["split_digest"]:
        what = "space.toml" if space.digest != identity["space_digest"] else "split.json"
        raise InputError(
            f"{store.path(what)} is not what the run was made with (its digest differs from run.json's), or this version reads it differently",
            "the file as the run wrote it", "restore it, or start again: run=runs/new",
        )  # fmt: skip
    return Run(store, config, space, split, device)

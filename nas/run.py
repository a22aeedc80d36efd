"""A run as the verbs see it: its folder, its configuration, its space and its data."""

import importlib
import importlib.util
import io
import json
import os
import traceback
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from nas import machine, memory
from nas.budget import Budget
from nas.config import Config, config_from, parse_macs, typed
from nas.data import Part, Split, check_part, load_part, make_split
from nas.store import RunStore
from search_spaces.checking import check_parts
from search_spaces.costs.macs import macs
from search_spaces.counting import decimal
from search_spaces.errors import InputError
from search_spaces.named import check, read_space, space_file
from search_spaces.registry import parts
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded, read_text
from supernet.optimisation import Optimisation
from supernet.supernet import Supernet

FREE = {"data.root", "data.workers", "train.checkpoint_steps", "retrain.checkpoint_steps", "retrain.jobs"}
"""Keys that change where or how a run works, not what comes out: they may differ from one command to the next."""

NOT_KEPT = ("run", "digest", "device", "threads", "extract", "report")
"""Keys of the configuration that belong to a command, not to the run."""


@dataclass(frozen=True)
class Run:
    """An open run.

    Args:
        space: checked, and bound to the data.
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
        if not self.store.exists("supernet.safetensors"):
            raise InputError(
                f"{self.store.folder} holds no trained supernet",
                "a run whose training has ended",
                f"nas train run={self.config.run}",
            )

    def supernet(self) -> Supernet:
        """The trained supernet.

        Raises:
            InputError: it is not trained yet, or its file is damaged.
        """
        self.check_trained()
        supernet = Supernet(self.space, self.config.seed)
        load_tensors(self.store, "supernet.safetensors", supernet)
        return supernet.to(self.device).eval()

    def settle(self, section: str, started: bool, grows: tuple[str, ...] = ()) -> None:
        """Records the settings of a verb in run.json, or checks them against those that it started with.

        Args:
            started: whether the verb has results that depend on the settings.
            grows: numeric keys that may be raised later.

        Raises:
            InputError: other settings than the verb started with.
        """
        identity = self.store.read_json("run.json")
        was, now = identity["config"][section], kept(self.config)[section]
        if started:
            for key, value in now.items():
                if was.get(key) != value and f"{section}.{key}" not in FREE and not (key in grows and value > was[key]):
                    raise InputError(
                        f"{self.store.folder} has results with {section}.{key}={json.dumps(was.get(key))}, not {json.dumps(value)}",
                        "the same settings, to go on, or a new run",
                        f"{section}.{key}={typed(was.get(key))} or run=runs/new",
                    )
        if was != now:
            identity["config"][section] = now
            self.store.write_json("run.json", identity)


def kept(config: Config) -> dict[str, Any]:
    """The part of a configuration that belongs to the run."""
    return {key: value for key, value in config.to_dict().items() if key not in NOT_KEPT}


def _bound(section: str, values: Any) -> Any:
    """The settings of a section that a run is bound to; any other value as it is."""
    if not isinstance(values, dict):
        return values
    return {key: value for key, value in values.items() if f"{section}.{key}" not in FREE}


def _absolute(config: Config) -> Config:
    """With the folder of the images as an absolute path, which means the same wherever later commands are typed."""
    if not config.data.root:
        return config
    root = os.path.abspath(expanded(config.data.root))
    return replace(config, data=replace(config.data, root=root))


def _source(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (found and found.origin) or ""


def import_plugins(config: Config) -> None:
    """Imports the modules whose parts register themselves.

    Raises:
        InputError: one cannot be imported.
    """
    if config.plugins:
        parts(
            "mixer"
        )  # the project's own parts first, so that a plugin that takes one of their names is the one to be told
    for name in config.plugins:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"plugin {name!r} cannot be imported ({error})",
                "an importable module",
                f"PYTHONPATH=FOLDER nas ... plugins={name}",
            ) from None
        except SyntaxError as error:
            raise InputError(
                f"plugin {name!r} is not Python: {error.filename}, line {error.lineno}: {error.msg}",
                "an importable module",
                f"mend line {error.lineno}",
            ) from None
        except (
            Exception,
            SystemExit,
        ) as error:  # what a module does when it is imported, and what `register` finds wrong with a part
            frames = traceback.extract_tb(error.__traceback__)
            last = next((frame for frame in reversed(frames) if frame.filename == _source(name)), frames[-1])
            raise InputError(
                f"plugin {name!r} fails ({last.filename}, line {last.lineno}: {type(error).__name__}: {error})",
                "a module that can be imported, with parts that keep the contract of search_spaces/README.md",
                f"mend line {last.lineno}",
            ) from error


def start_run(config: Config) -> Run:
    """The run of `config.run`, made if it does not exist. The split is made once and kept.

    Nothing is written before everything has been found to be right.

    Raises:
        InputError: the folder holds another run; the space or the data cannot be used, or not with these settings.
    """
    machine.check_guarded()
    if RunStore(config.run).exists("run.json"):
        run = open_run(config, fixed=("train",))
        if not run.store.exists("supernet.safetensors"):
            memory.check(config, run.space, run.device, started=True)
        return run
    config = _absolute(config)
    import_plugins(config)
    space = read_space(config.space)
    RunStore(config.run).check_new()
    device = machine.prepare(config.threads, config.device)
    checked = check(space)
    check_parts(replace(checked, resolution=config.data.resolution))  # before reading images, which may take long
    split = make_split(config.data, config.seed)
    bound = checked.bind(split.in_channels, len(split.classes), config.data.resolution)
    check_parts(bound)
    budget, images = parse_macs(config.search.budget), len(split.parts["train"])
    if budget is not None:
        check_budget(bound, budget)
    if images < config.train.batch_size:
        raise InputError(
            f"train.batch_size is {config.train.batch_size} and there are {images} supernet-train images",
            f"2 to {images}", f"train.batch_size={max(2, images // 8)}",
        )  # fmt: skip
    memory.check(config, bound, device)
    store = RunStore.create(config.run)
    store.write_json("split.json", split.to_dict())
    store.write_text("space.toml", read_text(space_file(config.space)))
    store.begin(
        {
            "config": kept(config),
            "space_name": space.name,
            "space_digest": bound.digest,
            "space_size": decimal(bound.size),
            "split_digest": split.digest,
            "split_sizes": {name: len(split.parts[name]) for name in ("train", "validation", "test")},
            "classes": list(split.classes),
            "images": dict(split.reading),
            "versions": machine.versions(),
            "machine": machine.describe(config.threads),
            "commit": machine.commit(),
            "command": machine.command(),
        }
    )
    return Run(store, config, bound, split, device)


def open_run(config: Config, *, fixed: tuple[str, ...] = ("train", "search"), writes: bool = True) -> Run:
    """An existing run, with the settings that it was started with.

    Args:
        config: from `configure`, whose base is the run's own configuration.
        fixed: sections that the verb takes as earlier verbs left them, beside space, seed and data.
        writes: whether the run is written; one that is only read is not locked.

    Raises:
        InputError: no run, a damaged one, one of another version, or one of another space.
    """
    machine.check_guarded()
    config = _absolute(config)
    import_plugins(config)
    device = machine.prepare(config.threads, config.device)
    store = RunStore.open(config.run)
    if writes:
        store.lock()
    identity = store.read_json("run.json")
    before = kept(config_from({**identity["config"], "run": config.run}))  # with the defaults of keys that are newer
    for key in ("space", "seed", "data", *fixed):
        was, now = (_bound(key, settings[key]) for settings in (before, kept(config)))
        if (
            key == "space"
            and was != now
            and read_space(now) == SearchSpace.from_toml(store.read_text("space.toml"), "space.toml")
        ):
            continue  # another path to the same space
        if was != now:
            if isinstance(now, dict):
                key, was, now = next(
                    (f"{key}.{name}", was.get(name), now[name]) for name in now if was.get(name) != now[name]
                )
            raise InputError(
                f"{config.run} was made with {key}={json.dumps(was)}, not {json.dumps(now)}",
                "the same settings, to go on with the run, or a new folder",
                f"{key}={typed(was)} or run=runs/new",
            )
    split = Split.from_dict(store.read_json("split.json"))
    space = check(SearchSpace.from_toml(store.read_text("space.toml"), "space.toml"))
    space = space.bind(split.in_channels, len(split.classes), config.data.resolution)
    if space.digest != identity["space_digest"] or split.digest != identity["split_digest"]:
        what = "space.toml" if space.digest != identity["space_digest"] else "split.json"
        raise InputError(
            f"{store.path(what)} is not what the run was made with (its digest differs from run.json's), or this version reads it differently",
            "the file as the run wrote it", "restore it, or start anew: run=runs/new",
        )  # fmt: skip
    return Run(store, config, space, split, device)


def save_tensors(store: RunStore, name: str, tensors: dict[str, Tensor], about: dict[str, str]) -> None:
    """Writes tensors as a safetensors file, atomically; `about` goes into its metadata, as JSON under "nas"."""
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    # One entry only: safetensors writes several in an order that changes from run to run.
    store.write_bytes(name, save_safetensors(plain, {"nas": json.dumps(about, sort_keys=True)}))


def read_tensors(store: RunStore, name: str) -> dict[str, Tensor]:
    """
    Raises:
        InputError: the file is missing or damaged; it is left as it is.
    """
    try:
        return load_safetensors(store.path(name).read_bytes())
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{store.path(name)} cannot be read ({error})",
            "a whole safetensors file",
            "restore it from a copy, or delete it and run the command that made it",
        ) from None


def load_tensors(store: RunStore, name: str, module: torch.nn.Module) -> None:
    """Loads a safetensors file into a module whose names and shapes it must have.

    Raises:
        InputError: damaged, or made for another network; the first difference is named.
    """
    tensors = read_tensors(store, name)
    _check_shapes(store, name, tensors, module)
    module.load_state_dict(tensors)


def _check_shapes(store: RunStore, name: str, tensors: dict[str, Tensor], module: torch.nn.Module) -> None:
    """
    Raises:
        InputError: the module has other names or shapes.
    """
    own = module.state_dict()
    different = [
        key
        for key in own.keys() | tensors.keys()
        if key not in own or key not in tensors or own[key].shape != tensors[key].shape
    ]
    if different:
        key = min(different)
        shapes = [list(t[key].shape) if key in t else "missing" for t in (tensors, own)]
        raise InputError(
            f"{store.path(name)} does not fit: {key} is {shapes[0]} in the file and {shapes[1]} here ({len(different)} such)",
            "a file made for this architecture or space", "the run folder and version that made it",
        )  # fmt: skip


def save_checkpoint(store: RunStore, name: str, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically. It is made in memory first: nothing half-written, whatever the disk does."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    store.write_bytes(name, buffer.getvalue())


def load_checkpoint(store: RunStore, name: str, optimisation: Optimisation) -> None:
    """Goes on from a checkpoint, if there is one.

    Raises:
        InputError: it is damaged, or was made for another network; it is left as it is.
    """
    path = store.path(name)
    if not path.exists():
        return
    try:
        # Onto the CPU: `load_state_dict` moves what belongs on the device, and Adam's step counts stay where they are read.
        # From the file and not from its bytes in memory, which would be there beside the tensors.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its zip reader, its unpickler or its storages raise
        if memory.ran_out(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"checkpoint {path} is damaged ({reason[:120]})",
            "a whole checkpoint",
            f"rm {path} to train from the start, or restore it from a copy",
        ) from None
    _check_shapes(store, name, state["module"], optimisation.module)
    optimisation.load_state_dict(state)


def check_budget(space: SearchSpace, macs_limit: int) -> None:
    """
    Raises:
        InputError: no network of the space was found within the limit.
    """
    nearest = macs(space.nearest(lambda arch: macs(arch) / macs_limit - 1))
    if nearest > macs_limit:
        raise Budget((("macs", macs_limit),)).refusal(space.name, {"macs": nearest})

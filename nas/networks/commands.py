"""The commands that make a network again, as they stand in its model card. They name no folder of the machine that made it."""

import dataclasses
import shlex
from collections.abc import Collection
from pathlib import PurePath
from typing import Any

from nas.config import Config
from nas.config.keys import typed
from nas.runs.searches import Search

_PATHS = ("root", "measured", "profiles", "learned", "networks", "starts", "init")
"""Keys whose values are paths, of which the last part is kept."""

_PATHS_OR_NAMES = ("kd_model_name", "recipe")
"""Keys whose values are paths if they are absolute, and else names, such as timm/resnet18."""

_UNTOLD = ("name", "jobs", "close", "noisy", "workers", "checkpoint_steps", "references")
"""Keys that say how a command works, not what comes out of it."""


def commands_of(config: Config, space: str, search: Search, digest: str, retrained: bool) -> list[str]:
    """The commands of a network of a search, with RUN in the place of the run's folder.

    Args:
        config: of the run.
        space: its name.
        retrained: whether the network was trained alone too.
    """
    train = [f"space={space}", f"data={config.data.name}"]
    train += [f"seed={config.seed}"] * bool(config.seed)
    train += [*_changed(config.data, "data.", ("name",)), *_changed(config.train, "train.")]
    found = [
        _line("train", *train),
        _line("search", f"search={search.name}", *_changed(search.settings, "search.")),
        _line("extract", f"search={search.name}", f"pick={digest}"),
    ]
    if retrained:
        recipe = search.retraining or config.retrain
        found.append(
            _line("retrain", f"search={search.name}", f"digest={digest}", *_changed(recipe, "retrain.", ("points",)))
        )
    return found


def _line(verb: str, *arguments: str) -> str:
    return " ".join(["nas", verb, "run=RUN", *(shlex.quote(argument) for argument in arguments)])


def _changed(section: Any, prefix: str, but: Collection[str] = ()) -> list[str]:
    """The keys of a section whose values are not the defaults."""
    found = []
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if field.name in _UNTOLD or field.name in but or value == field.default:
            continue
        found.append(f"{prefix}{field.name}={typed(without_folders(field.name, value))}")
    return found


def without_folders(key: str, value: Any) -> Any:
    """The value of a key; of a path the last part."""
    if key in _PATHS_OR_NAMES and isinstance(value, str):
        start = "local-dir:" if value.startswith("local-dir:") else ""
        path = value.removeprefix(start)
        return f"{start}{_last(path)}" if PurePath(path).is_absolute() else value
    if key in _PATHS:
        return tuple(map(_last, value)) if isinstance(value, tuple) else _last(value)
    return value


def _last(path: str) -> str:
    return PurePath(path).name or path

"""The configuration from a TOML file and `key=value` overrides, each key and type checked. Standard library only."""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from nas.config import SECTIONS, Config
from nas.config.keys import typed
from nas.config.recipes import KEYS, named_recipe
from nas.config.retrain import RetrainConfig
from nas.plugins.given import PLUGINS, give
from search_spaces.errors import InputError, nearest, quoted, unknown
from search_spaces.files.toml import read_toml, value_or_text
from search_spaces.textfiles import expanded

SHORT = {"data": ("data", "name"), "search": ("search", "name")}
"""Sections whose name stands for one of their keys: data=digits, search=NAME."""

SPELLINGS = {"smoothing": "label_smoothing", "clip_grad": "clip"}
"""Names in timm's training script of keys of `train` and `retrain`, which may be typed too."""

OF_A_COMMAND = ("run", "digest", "device", "threads", "executor", "tensorboard", "extract", "report", "profile")
"""Keys that belong to a command, and not to the run that it works on: no run says where files are written or who evaluates networks."""

SPELT = ("train", "retrain")
"""Sections with those keys."""


def _convert(value: Any, annotation: Any, key: str, example: str) -> Any:
    """`value` as the field's type; ints pass as floats, lists become tuples.

    Args:
        example: a value as it is typed, for messages.
    """
    if typing.get_origin(annotation) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(item, typing.get_args(annotation)[0], key, example) for item in items)
    if annotation is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{key} is {quoted(value)}", "a number below 1.8e308", f"{key}={example}") from None
    if annotation is str and type(value) in (int, float):
        return str(value)
    if type(value) is not annotation:
        words = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
        raise InputError(f"{key} is {quoted(value)}", words[annotation], f"{key}={example}")
    if annotation is float and not math.isfinite(value):
        raise InputError(f"{key} is {value}", "a finite number", f"{key}={example}")
    return value


def values_of(kind: Any, data: Any, prefix: str, own: Collection[str] = ()) -> dict[str, Any]:
    """The fields of `kind` that `data` gives, each of its type; sections as such dicts.

    Args:
        own: see `load_config`.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{prefix.rstrip('.')} is {quoted(data)}", "a table of keys", f"[{prefix.rstrip('.')}]")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            names = {*own, *(prefix + name for name in hints)}
            table = kind is Config and nearest(key, names) in SECTIONS
            raise unknown("key", prefix + key, names, "[{}]" if table else "{}=VALUE")
        if key in SECTIONS and kind is Config:
            values[key] = section_values(key, value)
        else:
            default = kind.__dataclass_fields__[key].default
            values[key] = _convert(value, hints[key], prefix + key, typed(default))
    return values


def section_values(name: str, table: Any) -> dict[str, Any]:
    """The keys of a section that a table gives, each of its type and under our name.

    Raises:
        InputError: an unknown key (the nearest is offered), a key under both of its names, or a value of the wrong type.
    """
    if name in SPELT and isinstance(table, Mapping):
        for typed_so, ours in SPELLINGS.items():
            if typed_so in table and ours in table:
                raise InputError(
                    f"{name}.{typed_so} and {name}.{ours} are the same key",
                    "one of them",
                    f"{name}.{ours}={typed(table[ours])}",
                )
        table = {SPELLINGS.get(key, key): value for key, value in table.items()}
    return values_of(SECTIONS[name], table, f"{name}.")


def config_from(data: Mapping[str, Any]) -> Config:
    """The configuration that a mapping (from TOML or JSON) describes; what it leaves out has the default.

    Raises:
        InputError: an unknown key (the nearest is offered), a value of the wrong type or out of range.
    """
    values = values_of(Config, data, "")
    return Config(**{key: SECTIONS[key](**value) if key in SECTIONS else value for key, value in values.items()})


def recorded_config(identity: Mapping[str, Any], run: str) -> Config:
    """The configuration in a run.json, with the defaults of keys that are newer.

    Args:
        run: its folder as it was typed.

    Raises:
        InputError: see `config_from`.
    """
    config = {key: value for key, value in identity["config"].items() if key not in OF_A_COMMAND}
    if isinstance(config.get("train"), Mapping):  # a run from before there was a choice has one process
        config["train"] = {"processes": 1, **config["train"]}
    return config_from({**config, "run": run})


def parse_override(text: str, section: str | None, own: Collection[str] = ()) -> tuple[tuple[str, ...], Any]:
    """One `key=value` of the command line as (path, value).

    Args:
        section: the verb's own section, in which a key without a dot is looked for first.
        own: see `load_config`.

    Raises:
        InputError: no "=", or an unknown key.
    """
    key, equals, raw = text.partition("=")
    if not equals or not key:
        instead = f"{text} before all key=value" if text.endswith(".toml") else f"{key or 'run'}=VALUE"
        raise InputError(f"argument {text!r}", "key=value, after at most one config file", instead)
    path = tuple(key.split("."))
    path = SHORT.get(key, path)
    looked_in = path[0] if len(path) == 2 else section
    if looked_in in SPELT and path[-1] in SPELLINGS:
        path = (*path[:-1], SPELLINGS[path[-1]])
    if len(path) == 1 and section and path[0] in {f.name for f in dataclasses.fields(SECTIONS[section])}:
        path = (section, path[0])
    top = {f.name for f in dataclasses.fields(Config)} - set(SECTIONS)
    known = top | {f"{name}.{f.name}" for name, kind in SECTIONS.items() for f in dataclasses.fields(kind)}
    if ".".join(path) not in known:
        raise _unknown_key(key, raw, section, known, own)
    kind = SECTIONS[path[0]] if len(path) == 2 else Config
    annotation = typing.get_type_hints(kind)[path[-1]]
    if annotation is str:
        return path, raw  # as typed: a digest such as 93e457123456 is no number
    if typing.get_origin(annotation) is tuple:  # a,b or ["a", "b"], with or without the quotes
        items = [item for part in raw.strip("[] ").split(",") if (item := part.strip(" \"'"))]
        return path, [_number(item) for item in items] if typing.get_args(annotation)[0] is float else items
    return path, value_or_text(raw)


def _unknown_key(key: str, raw: str, section: str | None, known: Collection[str], own: Collection[str]) -> InputError:
    """The error for a key that is not known. It offers the nearest one by its last part; of those equally near, one that the verb has itself.

    Args:
        raw: the value that was typed.
        section: the verb's own section.
        known: all keys of the configuration, with their sections.
        own: see `load_config`.
    """
    if "." in key:
        within = [name for name in known if name.startswith(key.partition(".")[0] + ".")]
        return unknown("key", key, within or known, "{}=" + raw)
    if others := [name for name in known if name.split(".")[-1] == key]:
        return unknown("key", key, others, "{}=" + raw)
    short = {name for name in known if "." not in name}.union(own)
    short.update(name.removeprefix(f"{section}.") for name in known if section and name.startswith(f"{section}."))
    last: dict[str, str] = {}  # of the sections that have a key of one name, the first in the order of the steps
    for name in sorted(known, key=lambda name: [*SECTIONS].index(name.split(".")[0]) if "." in name else -1):
        last.setdefault(name.split(".")[-1], name)
    one, other = nearest(key, short), nearest(key, last)
    if _likeness(key, one) >= _likeness(key, other):
        return unknown("key", key, short, f"{one}={raw}")
    return unknown("key", key, known, f"{last[other]}={raw}")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one[:200]).ratio()


def read_table(file: str | Path) -> dict[str, Any]:
    """The table of a TOML file, whatever its keys.

    Raises:
        InputError: it does not exist, cannot be read, or is not TOML.
    """
    path = _found(file)
    try:
        return read_toml(path)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(
            f"config file {file}", "an existing TOML file", "a key=value argument, or a path ending in .toml"
        ) from None
    except OSError as error:
        raise InputError(
            f"config file {file} cannot be read ({error.strerror})", "a file that you may read", "another config file"
        ) from None
    except ValueError as error:
        raise InputError(f"config file {file} is not TOML: {error}", "TOML, saved as UTF-8", f"fix {file}") from None


def _number(text: str) -> float | str:
    """The number that a text is; other text as it is, for whoever checks its type."""
    try:
        return float(text)
    except ValueError:
        return text


def _found(file: str | Path) -> Path:
    """A config file as it was typed, or else the one of this package that is called so: imagenet/NAME.toml."""
    path, installed = expanded(file), Path(__file__).resolve().parents[1] / "training" / str(file)
    return (
        installed
        if not path.exists() and re.fullmatch(r"imagenet/[\w.]+\.toml", str(file)) and installed.exists()
        else path
    )


def _with_recipe(layers: list[tuple[tuple[str, ...], Any]]) -> list[tuple[tuple[str, ...], Any]]:
    """What was given, over the keys of the recipe that it names, if it names one.

    Raises:
        InputError: no such recipe.
    """
    named = [value for path, value in layers if path == ("retrain", "recipe")]
    if not named or not isinstance(named[-1], str):
        return layers
    keys = (
        named_recipe(named[-1]).keys()
        if named[-1]
        else {key: RetrainConfig.__dataclass_fields__[key].default for key in KEYS}
    )
    return [(("retrain", key), value) for key, value in keys.items()] + layers


def load_config(
    file: str | Path | Mapping[str, Any] | None,
    overrides: Iterable[str] = (),
    *,
    section: str | None = None,
    base: Config | None = None,
    own: Collection[str] = (),
) -> Config:
    """Defaults, or `base`, then the recipe that the file or the overrides name, then the file, then the overrides. A search has the budget of
    training unless it is given one.

    Args:
        file: a TOML file, or the table that was read from one.
        own: keys of the verb that are none of the configuration, which the error of an unknown key offers, too.

    Raises:
        InputError: the file does not exist or is not TOML, or a key or value is wrong.
    """
    data = (base or Config()).to_dict()
    layers: list[tuple[tuple[str, ...], Any]] = []
    if file is not None:
        table = file if isinstance(file, Mapping) else read_table(file)
        try:
            given = values_of(Config, table, "", own)
        except InputError as error:
            where = "" if isinstance(file, Mapping) else f"config file {file}: "
            raise InputError(f"{where}{error.given}", error.allowed, error.instead) from None
        for key, value in given.items():
            if key in SECTIONS:
                layers += [((key, name), item) for name, item in value.items()]
            else:
                layers.append(((key,), value))
    layers = _with_recipe(layers + [parse_override(text, section, own) for text in overrides])
    for path, value in layers:
        give(".".join(path), value)
        if base is not None and path == (PLUGINS,) and isinstance(value, list | tuple):
            value = list(dict.fromkeys([*base.plugins, *value]))  # those that a run needs stay needed
        table = data
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value
    if base is None and ("search", "budget") not in [path for path, _ in layers]:
        data["search"]["budget"] = data["train"]["budget"]
    return config_from(data)

"""The strategy that a configuration names: one of `supernet.strategies`, or a class of yours by its dotted path."""

import dataclasses
import inspect
from typing import Any, cast

from nas.config import TrainConfig
from nas.dotted import found_at
from nas.goals.limiting import fit_of
from search_spaces.errors import InputError
from search_spaces.files.toml import value_or_text
from search_spaces.space import SearchSpace
from supernet.strategies import NAMES, class_of
from supernet.strategy import Strategy, options_of

KEY = "train.strategy"


def strategy_of(settings: TrainConfig, space: SearchSpace, seed: int) -> Strategy:
    """The strategy of a training.

    Options with the name of a key of `[train]` have that key's value; others are given in `train.options`.

    Args:
        space: bound to the data and narrowed to the budget of training.
        seed: of the run.

    Raises:
        InputError: there is no such strategy, the class is none, or it has no such option.
    """
    found = _class_of(settings.strategy) if settings.strategy not in NAMES else class_of(settings.strategy)
    options = options_of(found, _options(settings, found), "train.options")
    return found(space, options, recipe=settings, seed=seed, fit=fit_of(settings, space))


def _options(settings: TrainConfig, strategy: type[Strategy]) -> dict[str, object]:
    names = {item.name for item in dataclasses.fields(cast(Any, strategy.Options))}
    keys = {item.name: item.default for item in dataclasses.fields(settings)}
    for key in _OF_STRATEGIES:
        if key not in names and getattr(settings, key) != keys[key]:
            raise InputError(
                f"train.{key} is {getattr(settings, key)}, and strategy {settings.strategy} has no such option",
                "keys that the strategy has a use for",
                f"train.{key} left out, or {KEY}=sandwich",
            )
    found: dict[str, object] = {name: getattr(settings, name) for name in sorted(names & keys.keys())}
    for option in settings.options:
        name, _, text = option.partition("=")
        if name in keys:
            raise InputError(f"train.options has {option}", "options without a key of their own", f"train.{option}")
        found[name] = value_or_text(text)
    return found


_OF_STRATEGIES = ("random_paths", "distill", "largest_only_epochs")
"""Keys of `[train]` that are options of a strategy and of nothing else."""


def _class_of(path: str) -> type[Strategy]:
    """The class of a dotted path."""
    contract = "a class that inherits supernet.strategy.Strategy, with Options, paths, draw and step"
    found: Any = found_at(path, NAMES, KEY, "strategy", "draw", ours=False)
    wrong = ""
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        wrong = "is no class that inherits supernet.strategy.Strategy"
    elif inspect.isabstract(found):
        wrong = f"has no {' and no '.join(sorted(found.__abstractmethods__))}"
    elif not dataclasses.is_dataclass(getattr(found, "Options", None)):
        wrong = "has no Options, a nested frozen dataclass"
    if wrong:
        raise InputError(f"{KEY}={path}: {path.rpartition('.')[2]} {wrong}", contract, f"{KEY}=sandwich, or fix {path}")
    return found

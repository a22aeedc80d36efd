"""The settings of a search: how they are written down, and which of them may differ when it resumes. Standard library only."""

import json
import os
from dataclasses import fields, replace
from typing import Any

from nas.config import RetrainConfig
from nas.config.search import FRONT, PAPERS, SearchConfig
from nas.goals.budget import Budget
from search_spaces.textfiles import expanded

FREE = frozenset({"name", "evaluations", "networks", "jobs", "close", "noisy"})
"""Settings that may change while a search has results: they say how much is searched and where, not what comes out."""

RETRAIN_FREE = frozenset(
    {"recipe", "points", "seeds", "inits", "references", "jobs", "checkpoint_steps", "grad_checkpointing"}
)
"""The same for retraining: how many networks are retrained, and how often; and what changes no result: the name of a recipe, whose keys
are written beside it, and blocks that are computed again."""


def kept(settings: SearchConfig | RetrainConfig) -> dict[str, Any]:
    """The settings that are written down: those of what was asked for, not of one command."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    if isinstance(settings, SearchConfig):
        values["budget"] = str(Budget.parse(settings.budget))
        for key in ("name", "jobs", "close", "noisy"):
            del values[key]
    else:
        del values["jobs"], values["estimate"]
    return json.loads(json.dumps(values))


def different(was: SearchConfig | RetrainConfig, now: SearchConfig | RetrainConfig, free: frozenset[str]) -> str | None:
    """The first setting that differs as a value (2000K is 2M) and may not, or None."""
    one, other = kept(was), kept(now)
    return next((key for key in one if key not in free and one[key] != other[key]), None)


def absolute(settings: SearchConfig) -> SearchConfig:
    """With the paths of files as absolute ones, which mean the same wherever later commands are typed."""

    def paths(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(os.path.abspath(expanded(name)) for name in names)

    named = {key: paths(getattr(settings, key)) for key in ("measured", "profiles", "learned", "networks")}
    known = [name if name == PAPERS or name.startswith(FRONT) else paths((name,))[0] for name in settings.starts]
    return replace(settings, **named, starts=tuple(known))

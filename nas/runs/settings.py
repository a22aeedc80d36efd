"""The settings of a search: how they are written down, and which of them may differ when it resumes. Standard library only."""

import json
import os
from dataclasses import fields, replace
from typing import Any

from nas.config import RetrainConfig
from nas.config.keys import typed
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


Differing = dict[str, tuple[Any, Any]]
"""Settings that differ: by key, what was recorded and what is given now."""


def different(was: SearchConfig | RetrainConfig, now: SearchConfig | RetrainConfig, free: frozenset[str]) -> Differing:
    """The settings that differ as values (2000K is 2M) and may not, by their keys without the section."""
    one, other = kept(was), kept(now)
    return {key: (one[key], other[key]) for key in one if key not in free and one[key] != other[key]}


def told(differing: Differing, section: str = "") -> tuple[str, str]:
    """What differs, for a message, and what to type to have it as it was.

    Args:
        section: with its dot, put before every key.
    """
    words = [f"{section}{key}={json.dumps(was)}, not {json.dumps(now)}" for key, (was, now) in differing.items()]
    return "; ".join(words), " ".join(f"{section}{key}={typed(was)}" for key, (was, _) in differing.items())


def absolute(settings: SearchConfig) -> SearchConfig:
    """With the paths of files as absolute ones, which mean the same wherever later commands are typed."""

    def paths(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(os.path.abspath(expanded(name)) for name in names)

    named = {key: paths(getattr(settings, key)) for key in ("measured", "profiles", "learned", "networks")}
    known = [name if name == PAPERS or name.startswith(FRONT) else paths((name,))[0] for name in settings.starts]
    return replace(settings, **named, starts=tuple(known))

"""Keys of the configuration: how one is declared, and the checks that its sections share. Standard library only."""

import json
from dataclasses import field
from typing import Any, TypeVar

from search_spaces.errors import InputError, quoted, unknown

Value = TypeVar("Value")

MOST = {
    "seed": 2**63 - 1, "threads": 4096, "workers": 1024, "jobs": 1024, "processes": 1024,
    "epochs": 10**6, "warmup_epochs": 10**6, "cooldown_epochs": 10**6, "mixup_off_epoch": 10**6, "checkpoint_steps": 10**9,
    "batch_size": 2**20, "batch": 2**20, "grad_accum_steps": 10**5, "aug_repeats": 1000, "recount": 1000, "random_paths": 1000,
    "resolution": 4096, "channels": 65_536, "classes": 10**6, "most_pixels": 2 * 10**9,
    "evaluations": 10**7, "population": 10**5, "calibration_images": 10**8, "calibration": 10**5, "heldout": 10**5,
    "points": 10**4, "seeds": 10**4, "sample": 10**6, "limit": 10**9,
}  # fmt: skip
"""The largest value of whole numbers, by key, in every section: far beyond use, so that no word asks for any number of something."""

MOST_OF_OTHERS = 10**9


def key(default: Value, meaning: str) -> Value:
    """A key of the configuration with its default and what `--help` says of it."""
    return field(default=default, metadata={"meaning": meaning})  # type: ignore[return-value]


def typed(value: Any) -> str:
    """A value as it is typed after `key=`, without quotes, which a shell would take away."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _typed(section: Any, key: str) -> str:
    """A key as every verb understands it: with its section, if it has one."""
    return f"{type(section).__name__.removesuffix('Config').lower()}.{key}".lstrip(".")


def at_least(section: Any, **least: float) -> None:
    """Checks keys of a section against their least values, and whole numbers against their largest too, `MOST`.

    Raises:
        InputError: a value is out of range.
    """
    for key, bound in least.items():
        name, value = _typed(section, key), getattr(section, key)
        if value < bound:
            raise InputError(f"{name} is {quoted(value)}", f"{bound} or more", f"{name}={bound}")
        most = MOST.get(key, MOST_OF_OTHERS)
        if type(value) is int and value > most:
            default = typed(section.__dataclass_fields__[key].default)
            raise InputError(f"{name} is {quoted(value)}", f"{bound} to {most:,}", f"{name}={default}")


def one_of(section: Any, **allowed: tuple[str, ...]) -> None:
    """Checks keys of a section whose values are names.

    Raises:
        InputError: a value is none of the allowed names.
    """
    for key, names in allowed.items():
        if getattr(section, key) not in names:
            name = _typed(section, key)
            raise unknown(f"value for {name}:", getattr(section, key), names, f"{name}={{}}")


def fraction(section: Any, *keys: str) -> None:
    """Checks keys of a section that are shares.

    Raises:
        InputError: a value is not in [0, 1).
    """
    for key in keys:
        if not 0 <= getattr(section, key) < 1:
            name = _typed(section, key)
            raise InputError(f"{name} is {getattr(section, key)}", "from 0 up to, not including, 1", f"{name}=0.2")


def check_recipe(section: Any) -> None:
    """Checks the keys of `supernet.recipe.Recipe` in a section.

    Raises:
        InputError: a value is not allowed.
    """
    at_least(section, epochs=1, batch_size=2, lr=0, warmup_epochs=0, weight_decay=0, clip=0, checkpoint_steps=1)
    fraction(section, "ema", "label_smoothing")
    one_of(section, amp=("none", "bf16"))

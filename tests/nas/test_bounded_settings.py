"""No whole number of the configuration asks for any number of something: each has a largest value, and the default is offered beyond it."""

import dataclasses
import typing
from typing import Any

import pytest

from nas.ablation.asked import Ablated
from nas.config import SECTIONS, Config
from nas.config.keys import MOST
from nas.config.parsing import load_config
from nas.networks.asked import parse as parse_networks
from nas.scoring.asked import Scored
from search_spaces.errors import InputError


def whole_numbers(kind: Any) -> list[str]:
    hints = typing.get_type_hints(kind)
    return [field.name for field in dataclasses.fields(kind) if hints[field.name] is int]


KEYS = [(name, key) for name, kind in {"": Config, **SECTIONS}.items() for key in whole_numbers(kind)]


def test_there_are_such_keys() -> None:
    assert len(KEYS) > 30
    assert ("", "threads") in KEYS
    assert ("data", "resolution") in KEYS


@pytest.mark.parametrize(("section", "key"), KEYS, ids=map(".".join, KEYS))
@pytest.mark.parametrize("value", [2**63, 10**4000, -(10**12)])
def test_each_has_a_largest_value(section: str, key: str, value: int) -> None:
    name = f"{section}.{key}".lstrip(".")
    table = {section: {key: value}} if section else {key: value}
    with pytest.raises(InputError) as told:
        load_config(table)
    assert name in told.value.given
    assert len(told.value.given) < 200


@pytest.mark.parametrize("key", ["seed", "threads", "limit", "batch_size", "resolution"])
def test_those_of_other_commands_too(key: str) -> None:
    with pytest.raises(InputError, match=key):
        Scored(run="run", **{key: MOST[key] + 1})  # type: ignore[arg-type]


def test_those_of_networks() -> None:
    from nas.networks.asked import Timed

    for word in (
        "threads=100000",
        "resolution=1000000",
        "sample=1000000000000",
        f"seed={10**30}",
        f"genes={'9' * 5000}",
    ):
        with pytest.raises(InputError, match=word.partition("=")[0]):
            parse_networks(["space=digits", *["member=smallest"] * ("genes" not in word), word], "bench", Timed)
    with pytest.raises(InputError, match="sample"):
        Ablated(sample=10**12)

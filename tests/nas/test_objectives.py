"""Objectives: what is better, and what is refused."""

from types import SimpleNamespace

import pytest

from nas.goals.objectives import Objective, parse_objectives, principal_cost
from search_spaces.errors import InputError


def test_directions_and_values() -> None:
    scored = SimpleNamespace(top1=0.5, loss=2.0, costs={"macs": 3.0})
    found = {
        o.name: (o.direction, o.is_cost, o.of(scored)) for o in parse_objectives(["top1", "loss", "macs", "params"])
    }
    assert found == {
        "top1": ("maximize", False, 0.5), "loss": ("minimize", False, 2.0), "macs": ("minimize", True, 3.0),
        "params": ("minimize", True, None),
    }  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["macs"],
        ["macs", "params"],
        ["top1", "top1"],
        ["top1", "loss", "macs", "params", "activations"],
        ["top1", "a b"],
        [""],
    ],
)
def test_what_is_refused(names: list[str]) -> None:
    with pytest.raises(InputError) as error:
        parse_objectives(names)
    parse_objectives(error.value.instead.removeprefix("search.objectives=").split(","))


@pytest.mark.parametrize(
    ("names", "cost"),
    [
        (["top1", "macs"], "macs"),
        (["top1", "params", "macs"], "params"),
        (["loss"], "macs"),
        (["activations", "top1"], "activations"),
    ],
)
def test_the_principal_cost(names: list[str], cost: str) -> None:
    assert principal_cost(tuple(map(Objective, names))) == cost

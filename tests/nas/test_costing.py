"""The costs that a search names."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.goals.costing import check_feasible, excess_of, nearest_within, prepare_costs, violations_of
from nas.records import SAMPLER
from nas.runs.searches import read_search
from nas.runs.store import RunStore
from search_spaces.costs import costs_of, temporary_costs
from search_spaces.costs.latency import add_model
from search_spaces.costs.profile_files import model_of
from search_spaces.errors import InputError
from search_spaces.named import load_space
from tests.command_line import Commands
from tests.nas.test_inputs import TINY, profile

IMAGES32 = load_space("images32")


def test_latency_asks_for_a_profile() -> None:
    with pytest.raises(InputError, match="no known cost") as error:
        prepare_costs(SearchConfig(budget="macs=2M,latency_ms=8"))
    assert error.value.instead.startswith("search.budget=macs=2M,latency_ms=8 search.profiles=FILE")
    assert "nas profile" in error.value.instead


@pytest.mark.parametrize(
    "settings",
    [
        SearchConfig(budget="macs=2M,maks=8"),  # nearest in spelling is macs, which has a limit already
        SearchConfig(budget="maks=2M"),
        SearchConfig(budget="flops=2M"),
        SearchConfig(budget="macs=2M,FLOPs=2M"),
        SearchConfig(budget="memry=8,macs=2M,params=1M"),
        SearchConfig(objectives=("top1", "macs", "parms")),
        SearchConfig(objectives=("top1", "activation")),
    ],
    ids=lambda settings: f"{settings.budget} {','.join(settings.objectives)}",
)
def test_what_is_offered_for_an_unknown_cost_is_accepted(settings: SearchConfig) -> None:
    with pytest.raises(InputError, match="no known cost") as error:
        prepare_costs(settings)
    key, _, value = error.value.instead.partition("=")
    assert key in ("search.budget", "search.objectives")
    prepare_costs(
        SearchConfig(budget=value) if key == "search.budget" else SearchConfig(objectives=tuple(value.split(",")))
    )


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("flops=4M", "search.budget=macs=4M"),
        ("macs=2M,FLOPs=3M", "search.budget=macs=2M"),
        ("FLOPs@gpu=3M", "search.budget=macs=3M"),
        ("latency_ms=8,lat=9", "search.budget=latency_ms=8 search.profiles=FILE"),
        ("parameters=4M", "search.budget=params=4M"),
        ("lat=8", "search.budget=latency_ms=8 search.profiles=FILE"),
        ("macs=2M,latency=3..8", "search.budget=macs=2M,latency_ms=3..8 search.profiles=FILE"),
        ("ms@pi5=8", "search.budget=latency_ms@pi5=8 search.profiles=FILE"),
    ],
)
def test_costs_under_other_names_are_understood(typed: str, offered: str) -> None:
    with pytest.raises(InputError, match="no known cost") as error:
        prepare_costs(SearchConfig(budget=typed))
    assert error.value.instead.startswith(offered)
    assert ("halve a number of FLOPs" in str(error.value)) == ("flops" in typed.lower())
    with pytest.raises(InputError, match="no known cost") as error:
        prepare_costs(SearchConfig(objectives=("top1", "flops")))
    assert "halve" not in str(error.value)  # there is no number


def test_a_narrow_range_that_networks_keep_is_accepted() -> None:
    """Steps of one choice each end beside the range."""
    budget = Budget.parse("macs=3M..3000.3K")
    excess = excess_of(violations_of(budget))
    assert excess(IMAGES32.nearest(excess)) > 0
    check_feasible(IMAGES32, budget)
    found, within = nearest_within(IMAGES32, budget)
    assert within
    assert budget.allows(costs_of(found, budget.names))
    with pytest.raises(InputError, match="macs is the binding limit"):
        check_feasible(IMAGES32, Budget.parse("macs=1K"))
    with pytest.raises(InputError, match=r"at most 1\.53M macs and at least 100K params"):
        check_feasible(IMAGES32, Budget.parse("macs=1530K,params=100K.."))


def test_a_narrow_range_of_a_time_is_searched(nas: Commands, after: Callable[[str], Path]) -> None:
    """Neither steps of one choice each nor repaired samples end in the range, which one network is in."""
    place, rng = after("train"), random.Random(5)
    device = profile()
    for line in device["units"]:
        line["ms"] = rng.uniform(0.05, 0.5)
    (place / "pi5.json").write_text(json.dumps(device))
    model = model_of(device, "pi5.json")
    with temporary_costs():
        add_model(model, "pi5.json")
        for seed in range(200):
            ms = model.predict(TINY.sample(random.Random(seed))) or 0.0
            budget = Budget.parse(f"latency_ms@pi5={ms - 1e-6:.7f}..{ms + 1e-6:.7f}")
            excess = excess_of(violations_of(budget))
            if excess(TINY.nearest(excess)) > 0:
                break
        else:
            pytest.fail("steps of one choice each find every network")
    asked = (
        "search",
        "run=run",
        "profiles=pi5.json",
        f"budget={budget}",
        "name=narrow",
        "evaluations=1",
        "samplers=random",
    )
    nas(*asked, "calibration_images=64", cwd=place).ok()
    records = read_search(RunStore(place / "run"), "narrow").evaluations()
    assert [record for record in records if record.origin.kind == SAMPLER and budget.allows(record.costs)]

"""The costs that a search names."""

import pytest

from nas.config import SearchConfig
from nas.costing import prepare_costs
from search_spaces.errors import InputError


@pytest.mark.parametrize(
    "settings",
    [
        SearchConfig(budget="macs=2M,latency=8"),  # nearest in spelling is macs, which has a limit already
        SearchConfig(budget="maks=2M"),
        SearchConfig(budget="latency=8,macs=2M,params=1M"),
        SearchConfig(objectives=("top1", "macs", "latency")),
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

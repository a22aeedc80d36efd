"""The table that commands print: a line for each network, of at most 100 characters."""

import random
from pathlib import Path

import pytest

from nas.records import SAMPLER, Origin
from nas.reporting import SearchView, collect, table
from tests.nas.reporting.made_searches import architecture, evaluation, reported, run_of, search_view, with_evaluations
from tests.nas.reporting.pages import check_page


def test_table(view: SearchView) -> None:
    found = collect(run_of(), [view])
    lines, networks = table(found).splitlines(), found.searches[0].networks
    assert max(map(len, lines)) <= 100
    assert len(lines) == len(networks) + 5
    header = lines[0]
    for network, line in zip(networks, lines[2:], strict=False):
        assert line.startswith(network.digest)
        assert "+".join(network.roles) in line
        assert line[: header.index("MACs") + 4].rstrip().endswith(("K", "M"))
        assert line[header.index("blocks x width") :].split()[0].count("x") == 1
        assert line == line.rstrip()


def test_table_of_a_wide_network(tmp_path: Path) -> None:
    rng = random.Random(1)
    arch = architecture(rng, ((12, 1024),) * 9)
    wide = evaluation(9, Origin(SAMPLER, "random"), 3, arch, rng, top1=1.0)
    view = with_evaluations(search_view(evaluations=2, budget="none"), wide)
    check_page(reported(tmp_path, view))
    lines = table(collect(run_of(), [view])).splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.endswith("..") for line in lines)


@pytest.mark.parametrize(
    ("objectives", "budget"),
    [
        (("top1", "loss", "macs", "latency_ms"), "macs=3M,params=90K"),
        (("loss", "latency_ms", "activations"), "macs=3M,params=90K"),
        (("top1", "a_cost_with_a_very_long_name_indeed", "macs"), "another_cost_with_a_long_name=3"),
    ],
)
def test_table_of_many_costs(objectives: tuple[str, ...], budget: str) -> None:
    """Costs that the search does not depend on give way first."""
    found = collect(run_of(), [search_view(objectives=objectives, budget=budget, seeds=1, given=1)])
    lines = table(found).splitlines()
    assert max(map(len, lines)) <= 100
    for name in objectives:
        assert {"macs": "MACs", "top1": "search-val"}.get(name, name)[:10] in lines[0]


def test_table_of_three_searches(three: tuple[SearchView, ...]) -> None:
    lines = table(collect(run_of(), three)).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line.split(":")[0] for line in lines if line.startswith("search ")] == [
        "search small",
        "search fast",
        "search closed",
    ]
    assert any("closed by hand; budget 1.2M; objectives top-1, MACs" in line for line in lines)
    assert any(line.split()[2:4] == ["MACs", "latency_ms"] for line in lines if line.startswith("network"))

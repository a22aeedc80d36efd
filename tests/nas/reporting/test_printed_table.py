"""The table that commands print: a line for each network, of at most 100 characters."""

import random
from pathlib import Path

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

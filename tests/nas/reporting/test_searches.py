"""Reports of several searches on one page."""

import os
import subprocess
import sys
from pathlib import Path

from nas.goals.pareto import hypervolume
from nas.reporting import SearchView
from nas.reporting.charts import overview_chart
from nas.reporting.findings import shared
from nas.runs.store import RunStore
from tests.nas.reporting.made_searches import reported, search_view
from tests.nas.reporting.pages import OUTPUTS, check_page, found_in, page, rows


def test_given_networks(three: tuple[SearchView, ...], beside: RunStore) -> None:
    given_digests = {e.digest for e in three[1].evaluations if e.origin.kind == "given"}
    listed = [row for row in rows(beside, "front.csv") if row["role"] == "given"]
    assert {row["digest"] for row in listed} == given_digests
    assert {(row["search"], row["origin"], row["sampler"]) for row in listed} == {("fast", "given", "mine.json")}
    assert "given" in page(beside).words


def test_three_searches_on_one_page(three: tuple[SearchView, ...], beside: RunStore) -> None:
    found = check_page(beside)
    assert [a["id"] for a in found.all("section", class_="search")] == ["search-1", "search-2", "search-3"]
    assert {a["href"] for a in found.all("a") if (a["href"] or "").count("-") == 1} == {
        "#search-1",
        "#search-2",
        "#search-3",
    }
    for view in three:
        assert view.name in found.words
        for network in found_in(view).networks:
            command = f"nas extract run={beside.folder} search={view.name} digest={network.digest}"
            assert command in found.words
    assert found.text.count("What each number means") == found.text.count("Conditions") == 1
    assert found.text.count("Settings of this search") == found.text.count("How fast each sampler found it") == 3
    assert found.text.count('search.budget = "1.2M"') == 1
    assert "closed by hand" in found.words
    assert found.text.count("It was closed by hand before") == 1
    first = found.all("svg", class_="chart wide")[0]
    assert first["aria-label"] == "search-validation top-1 against MACs (the papers' FLOPs)"
    assert "share of one box for all searches; it reaches from top-1 0 to 1 and from 0 to 3.30M MACs" in found.text
    text = beside.path("report.html").read_text()
    overview = text[text.index('class="searches"') : text.index("</table>")]
    for view in three:
        points = [(-e.top1, e.costs["macs"]) for e in found_in(view).front]
        assert f"{hypervolume(points, (0, 3_300_000)) / 3_300_000:.4f}" in overview


def test_tables_have_the_rows_of_all_searches(three: tuple[SearchView, ...], beside: RunStore) -> None:
    assert [(row["search"], row["digest"]) for row in rows(beside, "trials.csv")] == [
        (view.name, e.digest) for view in three for e in view.evaluations
    ]
    listed = [(row["search"], row["digest"]) for row in rows(beside, "front.csv")]
    assert listed == [(view.name, network.digest) for view in three for network in found_in(view).networks]
    assert len(set(listed)) == len(listed)


def test_searches_of_different_kinds(tmp_path: Path) -> None:
    """Those that share their score and principal cost are drawn together; hypervolumes are compared like with like."""
    views = [
        search_view("a", objectives=("top1", "macs", "latency_ms"), evaluations=8),
        search_view("b", objectives=("loss", "latency_ms"), evaluations=8, seeds=1),
        search_view("c", objectives=("top1",), evaluations=8),
        search_view("d", evaluations=0, baselines=False, finished=False),
    ]
    store = reported(tmp_path, *views)
    found = check_page(store)
    assert "to be compared between searches with the same objectives alone" in found.text
    assert found.text.count("Nothing has been evaluated yet.") == 1
    assert "unfinished" in found.words
    assert [name for name in ("searches-1-text", "searches-2-text") if found.all("p", id=name)] == ["searches-1-text"]
    alone = reported(tmp_path / "alone", views[0], views[1])
    assert not check_page(alone).all("p", id="searches-1-text")


def test_searches_of_other_costs_stand_on_both_axes(tmp_path: Path) -> None:
    views = [
        search_view("cheap", objectives=("top1", "macs"), evaluations=8),
        search_view("fast", objectives=("top1", "latency_ms"), budget="none", evaluations=8),
    ]
    groups = shared([found_in(view) for view in views])
    assert {cost: [search.name for search in group] for (_, cost), group in groups.items()} == {
        "macs": ["cheap", "fast"], "latency_ms": ["cheap", "fast"],
    }  # fmt: skip
    charts = [overview_chart(group, cost) for (_, cost), group in groups.items()]
    assert [chart and chart.x_name for chart in charts] == ["MACs (the papers' FLOPs)", "latency_ms (ms)"]
    for chart in charts:
        assert chart is not None
        assert [len(layer.marks) for layer in chart.layers] == [len(found_in(view).front) for view in views]
    assert [layer.step for chart in charts if chart for layer in chart.layers] == [True, False, False, True]
    found = check_page(reported(tmp_path, *views))
    assert [name for name in ("searches-1-text", "searches-2-text") if found.all("p", id=name)] == [
        "searches-1-text", "searches-2-text",
    ]  # fmt: skip


def test_a_search_looks_alike_alone_and_beside_others(three: tuple[SearchView, ...], tmp_path: Path) -> None:
    alone = rows(reported(tmp_path / "alone", three[0]), "front.csv")
    both = rows(reported(tmp_path / "both", three[0], three[1]), "front.csv")
    assert alone == [row for row in both if row["search"] == "small"]


def test_same_bytes_in_another_process(beside: RunStore) -> None:
    before = {name: beside.path(name).read_bytes() for name in OUTPUTS}
    code = (
        "import sys; from nas.reporting import collect, write_report; from nas.runs.store import RunStore\n"
        "assert not {'matplotlib', 'pandas', 'torch', 'optuna', 'moocore', 'numpy'} & set(sys.modules), 'heavy imports'\n"
        "from tests.nas.reporting.made_searches import run_of, search_view\n"
        "views = [search_view('small', seeds=1),\n"
        "    search_view('fast', budget='macs=3M,latency_ms=1.2', unknown=True, given=2, samplers=('tpe', 'random')),\n"
        "    search_view('closed', budget='1.2M', evaluations=7, finished=False, closed=True)]\n"
        "write_report(collect(run_of(), views), RunStore(sys.argv[1]))"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code, beside.folder], check=True, env=environment, cwd=root, timeout=60)
    assert {name: beside.path(name).read_bytes() for name in OUTPUTS} == before

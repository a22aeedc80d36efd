"""Reports of several searches, of other objectives than top-1 and MACs, and of costs that are not known for every network."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nas.goals.budget import Budget
from nas.goals.pareto import hypervolume
from nas.goals.roles import best_of, spread
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
from nas.reporting import (
    BASELINES,
    ROLES,
    SearchView,
    collect,
    table,
)
from nas.reporting.charts import overview_chart
from nas.reporting.findings import shared
from nas.reporting.words import compact
from nas.runs.store import RunStore
from tests.nas.reporting.made_searches import (
    reported,
    run_of,
    search_view,
)
from tests.nas.reporting.pages import OUTPUTS, check_page, found_in, may, page, rows


def brute_front(view: SearchView) -> set[str]:
    """Digests of the front, by comparing all pairs."""

    def losses(of: Evaluation) -> list[float]:
        return [(-1 if o.up else 1) * (o.of(of) or 0.0) for o in view.objectives]

    def beats(a: Evaluation, b: Evaluation) -> bool:
        return losses(a) != losses(b) and all(x <= y for x, y in zip(losses(a), losses(b), strict=True))

    allowed = [
        e
        for e in view.evaluations
        if e.origin.kind == SAMPLER
        and all(name in e.costs and e.costs[name] <= limit for name, limit in view.budget.limits)
        and all(o.of(e) is not None for o in view.objectives)
    ]
    return {a.digest for a in allowed if not any(beats(b, a) for b in allowed)}


@pytest.mark.parametrize(
    ("budget", "objectives"),
    [
        ("2.5M", ("top1", "macs")),
        ("600K", ("top1", "macs")),
        ("none", ("top1", "macs")),
        ("macs=2M,latency_ms=1.3", ("loss", "latency_ms")),
        ("2.5M", ("top1", "loss")),
        ("none", ("macs", "top1", "latency_ms")),
        ("params=100K", ("latency_ms", "loss", "activations", "top1")),
        ("2.5M", ("top1",)),
        ("none", ("loss",)),
    ],
)
def test_front_is_brute_force(tmp_path: Path, budget: str, objectives: tuple[str, ...]) -> None:
    view = search_view(budget=budget, objectives=objectives, unknown=True, seeds=1)
    store = reported(tmp_path, view)
    listed = rows(store, "front.csv")
    on_front = [row for row in listed if "front" in row["role"].split("+")]
    assert {row["digest"] for row in on_front} == brute_front(view)
    cost = next((name for name in objectives if name not in ("top1", "loss")), None)
    if cost:
        assert [float(row[cost]) for row in on_front] == sorted(float(row[cost]) for row in on_front)
    assert {row["digest"] for row in rows(store, "trials.csv") if row["on_front"] == "true"} == {
        row["digest"] for row in on_front
    }
    drawn = replace(view, evaluations=[e for e in view.evaluations if e.origin.name == "random"])
    score = next(o for o in view.objectives if not o.is_cost)
    best = max(getattr(e, score.name) * (1 if score.up else -1) for e in drawn.evaluations if e.digest in may(drawn))
    named = [row for row in listed if "random_best" in row["role"].split("+")]
    assert len(named) == 1
    assert float(named[0][f"inherited_validation_{score.name}"]) * (1 if score.up else -1) == best
    for role in BASELINES:
        digests = {e.digest for e in view.evaluations if e.origin == Origin(BASELINE, role)}
        assert {row["digest"] for row in listed if role in row["role"].split("+")} == digests
    assert all(row["role"] and set(row["role"].split("+")) <= set(ROLES) for row in listed)
    check_page(store)


def test_hypervolume_of_four_objectives(tmp_path: Path) -> None:
    """A box from 0 to a tenth beyond the limit or the largest candidate, to the largest loss, and to a top-1 of 0."""
    view = search_view(objectives=("top1", "loss", "macs", "latency_ms"), unknown=True)
    tried = [e for e in view.evaluations if e.origin.kind == SAMPLER]
    ends = (max(e.loss for e in tried), 2_750_000, 1.1 * max(e.costs.get("latency_ms", 0) for e in tried))
    text = check_page(reported(tmp_path, view)).text
    for sampler in ("nsga2", "random"):
        points = [
            (-e.top1, e.loss, e.costs["macs"], e.costs["latency_ms"])
            for e in tried
            if e.origin.name == sampler and e.costs["macs"] <= 2_500_000 and "latency_ms" in e.costs
        ]
        assert f"{hypervolume(points, (0, *ends)) / (ends[0] * ends[1] * ends[2]):.4f}" in text
    assert "from 0 to 2.75M MACs (a tenth beyond the limit)" in text
    assert f"from 0 to {compact(ends[2])} ms (a tenth beyond the largest candidate)" in text
    assert f"from loss 0 to {ends[0]:.3f}" in text


@pytest.mark.parametrize(
    ("objectives", "drawn", "stairs"),
    [
        (("top1", "macs"), 1, 2),
        (("top1", "latency_ms"), 1, 2),
        (("loss", "params"), 1, 2),
        (("loss", "top1"), 1, 2),
        (("top1", "macs", "latency_ms"), 2, 0),
        (("top1", "loss", "macs"), 2, 0),
        (("top1", "loss", "macs", "activations"), 4, 0),
    ],
)
def test_a_chart_for_each_score_and_cost(tmp_path: Path, objectives: tuple[str, ...], drawn: int, stairs: int) -> None:
    """Stairs join a front where its two objectives are the axes, and nowhere else."""
    store = reported(tmp_path, search_view(objectives=objectives, budget="macs=2.5M,latency_ms=1.5"))
    found = check_page(store)
    names = [attributes["aria-label"] or "" for attributes in found.all("svg", class_="chart wide")]
    times = "latency_ms (ms) against MACs (the papers' FLOPs)"
    assert names.count(times) == 1  # the budget limits a time
    assert len(names) == drawn + 2
    costs = {"macs": "MACs (the papers' FLOPs)", "latency_ms": "latency_ms (ms)", "params": "params (parameters)"}
    for cost in (name for name in objectives if name in costs):
        assert any(name.endswith(f"against {costs[cost]}") for name in names)
    text = store.path("report.html").read_text()
    wide = re.findall(r'<svg class="chart wide".*?</svg>', text, flags=re.DOTALL)
    assert sum(chart.count('class="step"') for chart in wide[:-1]) == stairs
    assert ("The search optimised" in found.text) == (objectives != ("top1", "macs"))
    assert ("budget 1.50" in found.text) == ("latency_ms" in objectives)


def test_less_loss_is_drawn_higher(tmp_path: Path) -> None:
    """And the text says that less is better."""
    view = search_view(objectives=("loss", "macs"), budget="none", seeds=1)
    store = reported(tmp_path, view)
    assert "less is better" in check_page(store).text
    wide = store.path("report.html").read_text().split('class="chart wide"')[1]
    marks = re.findall(r"translate\([\d.]+ ([\d.]+)\)[^>]*><title>(\w+)\n[^<]*loss ([\d.]+), inherited", wide)
    assert len(marks) > 80
    by_loss = sorted((float(loss), float(down)) for down, _, loss in marks)
    assert by_loss[0][1] < by_loss[-1][1]
    assert [down for _, down in by_loss] == pytest.approx(sorted(down for _, down in by_loss), abs=0.6)


def test_one_objective(tmp_path: Path) -> None:
    """The best so far of each sampler, and the one network that is best."""
    view = search_view(objectives=("top1",), budget="macs=2M,latency_ms=1.5", seeds=1)
    store = reported(tmp_path, view)
    found = check_page(store)
    names = [attributes["aria-label"] or "" for attributes in found.all("svg", class_="chart wide")]
    assert names[0] == "best search-validation top-1 so far against evaluations of the sampler"
    assert names[1].endswith("against MACs (the papers' FLOPs)")
    assert "hypervolume" not in found.text
    front = [row for row in rows(store, "front.csv") if "front" in row["role"].split("+")]
    assert [row["digest"] for row in front] == [best_of(eligible(
        view.evaluations, view.budget, view.objectives), view.objectives).digest]  # fmt: skip
    assert (
        f"The best network has search-validation top-1 {float(front[0]['inherited_validation_top1']):.3f}" in found.text
    )


def test_two_limits_and_unknown_costs(three: tuple[SearchView, ...], tmp_path: Path) -> None:
    """A network whose limited cost is not known is over the budget; the badge names the limits."""
    view = three[1]
    store = reported(tmp_path, view)
    found = check_page(store)
    over = {word for word in found.words if word.startswith("over budget")}
    assert over == {"over budget: latency_ms", "over budget: latency_ms, MACs"}
    assert any("latency_ms unknown; the limit is 1.2" in title for title in found.titles)
    assert "budget was 1.20 ms and 3.00M MACs" in found.text
    for row in rows(store, "trials.csv"):
        known = row["latency_ms"] != ""
        assert (row["within_budget"] == "true") == (
            known and float(row["latency_ms"]) <= 1.2 and int(row["macs"]) <= 3_000_000
        )
    assert any(row["latency_ms"] == "" for row in rows(store, "trials.csv"))


def test_what_cannot_be_drawn_is_counted(tmp_path: Path) -> None:
    view = search_view(objectives=("top1", "latency_ms"), budget="none", unknown=True)
    unknown = {e.digest for e in view.evaluations if "latency_ms" not in e.costs}
    assert (
        f"Not drawn: {len(unknown)} networks whose latency_ms is not known."
        in check_page(reported(tmp_path, view)).text
    )


def test_a_cost_that_no_network_has(tmp_path: Path) -> None:
    view = search_view(objectives=("top1", "energy"), budget="energy=3", evaluations=4)
    store = reported(tmp_path, view)
    assert "None of the evaluated networks is within the budget" in check_page(store).text
    assert all(row["within_budget"] == "false" for row in rows(store, "trials.csv"))
    free = replace(view, budget=Budget())
    assert (
        "None of the evaluated networks has a known value of every objective"
        in check_page(reported(tmp_path / "free", free)).text
    )


def test_costs_of_zero_have_a_place(tmp_path: Path) -> None:
    view = search_view(objectives=("top1", "attention"), budget="attention=4")
    counted = [
        replace(
            e, costs={**e.costs, "attention": sum("mhsa" in str(b) for s in e.architecture.stages for b in s.blocks)}
        )
        for e in view.evaluations
    ]
    assert any(e.costs["attention"] == 0 for e in counted)
    view = replace(view, evaluations=counted)
    check_page(reported(tmp_path, view))
    assert spread(eligible(counted, view.budget, view.objectives), view.objectives, 3)


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

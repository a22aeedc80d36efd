"""Reports of searches with other objectives than top-1 and MACs, and of costs that are not known for every network."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from nas.goals.budget import Budget
from nas.goals.pareto import hypervolume
from nas.goals.roles import best_of, spread
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
from nas.reporting import BASELINES, ROLES, SearchView
from nas.reporting.words import compact
from tests.nas.reporting.made_searches import reported, search_view
from tests.nas.reporting.pages import check_page, may, rows


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

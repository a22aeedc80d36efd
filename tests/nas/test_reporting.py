"""The report on synthetic searches: what is in it, that it is the same bytes each time, and that no text becomes markup."""

import csv
import html.parser
import os
import random
import re
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.budget import Budget
from nas.pareto import hypervolume
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
from nas.reporting import (
    BASELINES,
    FRONT_COLUMNS,
    ROLES,
    TRIAL_COLUMNS,
    SearchFindings,
    SearchView,
    collect,
    table,
    write_report,
)
from nas.reporting.chart import Scale
from nas.reporting.mixers import Mixers
from nas.reporting.words import compact
from nas.roles import best_of, front_of, roles_of, spread
from nas.store import RunStore
from search_spaces.architecture import Architecture, Block, Part, Stage
from tests.nas.made_searches import (
    COSTS,
    MIXERS,
    architecture,
    costs_of,
    evaluation,
    reported,
    run_of,
    search_view,
    with_evaluations,
)

OUTPUTS = ("front.csv", "front.png", "report.html", "trials.csv")
COST_NAMES = [cost["name"] for cost in COSTS]


@pytest.fixture(scope="module")
def view() -> SearchView:
    """A search with everything."""
    return search_view(seeds=3)


@pytest.fixture(scope="module")
def full(view: SearchView, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Its report."""
    return reported(tmp_path_factory.mktemp("full") / "run", view)


@pytest.fixture(scope="module")
def three() -> tuple[SearchView, ...]:
    """Three searches of a run: of one cost, of two limits with unknown values and given networks, and one closed by hand."""
    return (
        search_view("small", seeds=1),
        search_view("fast", budget="macs=3M,latency_ms=1.2", unknown=True, given=2, samplers=("tpe", "random")),
        search_view("closed", budget="1.2M", evaluations=7, finished=False, closed=True),
    )


@pytest.fixture(scope="module")
def beside(three: tuple[SearchView, ...], tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """Their report."""
    return reported(tmp_path_factory.mktemp("three") / "run", *three)


def found_in(view: SearchView) -> SearchFindings:
    return collect(run_of(), [view]).searches[0]


def rows(store: RunStore, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(store.path(name).read_text().splitlines()))


class Page(html.parser.HTMLParser):
    """A page read strictly: every element closed, in order."""

    VOID = ("meta",)

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of all elements that have these."""
        given = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [own for name, own in self.tags if name == tag and given.items() <= own.items()]

    @property
    def titles(self) -> list[str]:
        return [attributes["title"] or "" for _, attributes in self.tags if "title" in attributes]


def page(store: RunStore) -> Page:
    return Page(store.path("report.html").read_text())


def check_page(store: RunStore) -> Page:
    """What holds for every report: well formed, self-contained, links that lead somewhere."""
    found = page(store)
    text = store.path("report.html").read_text()
    for loaded in ("http:", "https:", "//", "url(", "@import", "<script", "javascript:"):
        assert loaded not in text.lower()
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base"})
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for _, attributes in found.tags:
        assert not any(name.startswith("on") or name in ("src", "srcset", "xlink:href") for name in attributes)
        target = attributes.get("href")
        assert target is None or (target[1:] in ids if target.startswith("#") else target in OUTPUTS)
        if "aria-describedby" in attributes:
            assert attributes["aria-describedby"] in ids
    return found


# What is in it


def test_files(view: SearchView, full: RunStore) -> None:
    assert write_report(collect(run_of(), [view]), full) == full.path("report.html")
    assert sorted(path.name for path in full.folder.iterdir()) == sorted(OUTPUTS)
    check_page(full)


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


def may(view: SearchView) -> set[str]:
    return {e.digest for e in eligible(view.evaluations, view.budget, view.objectives)}


@pytest.mark.parametrize("steps", [360, 20, 4])
@pytest.mark.parametrize("budget", ["2.5M", "600K", "none"])
def test_what_is_retrained_is_what_is_reported(budget: str, steps: int) -> None:
    """Extraction and the report ask the same functions for roles, also where many networks have the same top-1."""
    view = search_view(budget=budget, given=1)
    scores: dict[str, float] = {}  # a network that is proposed again has the same score
    tied = [replace(e, top1=scores.setdefault(e.digest, round(e.top1 * steps) / steps)) for e in view.evaluations]
    view = replace(view, evaluations=tied)
    roles = roles_of(view.evaluations, view.budget, view.objectives)
    networks = {network.digest: network.roles for network in found_in(view).networks}
    assert networks == roles
    allowed = eligible(view.evaluations, view.budget, view.objectives)
    front = front_of(allowed, view.objectives)
    assert [digest for digest, names in roles.items() if "front" in names] == [e.digest for e in front]
    for points in (1, 3, 100):
        chosen = spread(allowed, view.objectives, points)
        assert len(chosen) == min(points, len(front))
        assert best_of(allowed, view.objectives) in chosen
        assert {e.digest for e in chosen} <= {e.digest for e in front}


def test_only_what_a_sampler_proposed_may_win(tmp_path: Path) -> None:
    """A baseline or a given network that beats everything is beside the front; another sampler's network is on it."""
    rng = random.Random(5)
    arch = architecture(rng, ((1, 12), (1, 12), (1, 12)))
    for kind, name, role in ((BASELINE, "hand_designed", "hand_designed"), ("given", "a.json", "given")):
        view = search_view()
        perfect = evaluation(999, Origin(kind, name), 0, arch, rng, top1=1.0, loss=0.0)
        found = found_in(with_evaluations(view, perfect))
        assert next(n.roles for n in found.networks if n.digest == arch.digest) == (role,)
        proposed = replace(perfect, n=1000, origin=Origin(SAMPLER, "my_sampler"))
        found = found_in(with_evaluations(view, perfect, proposed))
        assert next(n.roles for n in found.networks if n.digest == arch.digest) == ("front", role)
        assert [e.digest for e in found.front] == [arch.digest]
    store = reported(tmp_path, with_evaluations(search_view(), proposed))
    assert "my sampler" in check_page(store).text


@pytest.mark.parametrize(
    ("size", "tile", "row"),
    [
        ("46656", "46,656 networks in the space", ", 46656 networks"),
        ("1999999999", "2 × 10 9 networks in the space", ", 1999999999 networks"),
        ("9" * 60, "1 × 10 60 networks in the space", f", {'9' * 60} networks"),
        ("1234" + "0" * 398, "1.23 × 10 401 networks in the space", ", 1.23 × 10 401 networks"),
        ("25" + "1" * 4999, "2.51 × 10 5000 networks in the space", ", 2.51 × 10 5000 networks"),
    ],
    ids=lambda value: f"{len(value)} characters",
)
def test_spaces_of_any_size(tmp_path: Path, size: str, tile: str, row: str) -> None:
    """Their digits are never read as one integer, which Python refuses from 4,301 digits up."""
    text = check_page(reported(tmp_path, search_view(evaluations=3), space_size=size)).text
    assert tile in text
    assert row in text


def with_costs(columns: dict[str, str]) -> list[str]:
    names = list(columns)
    place = names.index("within_budget") + 1
    return [*names[:place], *COST_NAMES, *names[place:]]


def test_front_columns(view: SearchView, full: RunStore) -> None:
    listed = rows(full, "front.csv")
    assert list(listed[0]) == with_costs(FRONT_COLUMNS)
    assert all(meaning and "\n" not in meaning for meaning in (*FRONT_COLUMNS.values(), *TRIAL_COLUMNS.values()))
    evaluated = {e.digest: e for e in view.evaluations}
    assert len(listed) > 8
    for row in listed:
        known = evaluated[row["digest"]]
        arch = known.architecture
        assert {name: float(row[name]) for name in COST_NAMES} == known.costs
        assert row["macs"].isdigit()
        assert (row["search"], row["origin"], row["sampler"]) == ("search", known.origin.kind, known.origin.name)
        assert float(row["inherited_validation_top1"]) == known.top1
        assert float(row["inherited_validation_loss"]) == known.loss
        assert int(row["depth"]) == arch.depth == sum(map(int, row["depths"].split("|")))
        assert [int(width) for width in row["widths"].split("|")] == [stage.width for stage in arch.stages]
        mixers = [[block.mixer.name for block in stage.blocks] for stage in arch.stages]
        assert [stage.split(" ") for stage in row["mixers"].split("|")] == mixers
        for init, prefix in (("scratch", "scratch"), ("inherited", "inherited_init")):
            own = [r for r in view.retrainings if r.digest == row["digest"] and r.init == init]
            assert int(row[f"{prefix}_seeds"]) == len(own)
            if own:
                tests = [r.test_top1 for r in own]
                assert float(row[f"{prefix}_test_top1_mean"]) == pytest.approx(sum(tests) / len(tests), abs=1e-12)
                assert float(row[f"{prefix}_test_top1_min"]) == min(tests)
                assert float(row[f"{prefix}_test_top1_max"]) == max(tests)
                assert row["test_images"] == "360"
            else:
                assert row[f"{prefix}_test_top1_mean"] == ""


def test_trial_columns(view: SearchView, full: RunStore) -> None:
    listed = rows(full, "trials.csv")
    assert list(listed[0]) == with_costs(TRIAL_COLUMNS)
    assert [(row["digest"], int(row["n"]), float(row["top1"])) for row in listed] == [
        (e.digest, e.n, e.top1) for e in view.evaluations
    ]
    assert {row["within_budget"] for row in listed} == {"true", "false"}
    for row in listed:
        assert (row["within_budget"] == "true") == (int(row["macs"]) <= 2_500_000)
        assert row["on_front"] == "false" or row["on_sampler_front"] == "true"
        assert row["origin"] == "sampler" or row["on_sampler_front"] == "false"
        assert (row["origin"] == "baseline") == (row["sampler"] in BASELINES)


def test_costs_that_are_named_like_columns(tmp_path: Path) -> None:
    view = search_view(evaluations=2)
    renamed = [replace(e, costs={**e.costs, "depth": 7.5}) for e in view.evaluations]
    store = reported(tmp_path, replace(view, evaluations=renamed))
    for name in ("front.csv", "trials.csv"):
        assert {row["cost_depth"] for row in rows(store, name)} == {"7.5"}
        assert {row["depth"] for row in rows(store, name)} != {"7.5"}


def test_page_says_what_was_found(view: SearchView, full: RunStore) -> None:
    found = check_page(full)
    text, networks = found.text, found_in(view).networks
    for network in networks:
        run = full.folder
        for command in (
            f"nas extract run={run} digest={network.digest}",
            f"nas retrain run={run} digest={network.digest}",
            f"nas extract run={run} digest={network.digest} verify=true",
        ):
            assert command in found.words
    assert sum(word.startswith("extracted in searches/search/networks/") for word in found.words) == 1
    for mixer in MIXERS:
        assert mixer.name in found.words
    for said in (
        "FLOPs",
        "0123456789ab",
        "ba9876543210",
        "Some CPU",
        "torch 2.11.0",
        'search.budget = "2.5M"',
        "0, 1, 2",
        "hand-designed",
        "Time of one image on the target, from a table.",
    ):
        assert said in text
    assert "binomial standard error on 360 images is 0.0" in text
    assert any(
        "window_attention(num_heads=2, window_size=4)" in title and "ffn: mlp(ratio=" in title for title in found.titles
    )
    svgs = found.all("svg", role="img")
    assert len(svgs) == 6
    assert all(attributes["aria-label"] for attributes in svgs)


def test_headline_is_chosen_by_validation(view: SearchView) -> None:
    """A network with a perfect test and a poor validation result is not what the report presents."""
    before = found_in(view)
    whole = [network for network in before.networks if network.on_front and not network.results]
    lucky = replace(
        view.retrainings[0],
        digest=whole[0].digest,
        architecture=whole[0].architecture,
        test_top1=1.0,
        validation_top1=0.1,
    )
    after = found_in(replace(view, retrainings=[*view.retrainings, lucky]))
    assert before.retrained_best is not None
    assert after.retrained_best is not None
    assert after.retrained_best[0].digest == before.retrained_best[0].digest
    assert after.retrained_best[1] == before.retrained_best[1]


def test_hypervolume(view: SearchView, full: RunStore) -> None:
    text = page(full).text
    for sampler in ("nsga2", "random"):
        points = [
            (-e.top1, e.costs["macs"])
            for e in view.evaluations
            if e.origin.name == sampler and e.costs["macs"] <= 2_500_000
        ]
        assert f"{hypervolume(points, (0, 2_750_000)) / 2_750_000:.4f}" in text


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
    assert f"from 0 to latency_ms {compact(ends[2])} ms (a tenth beyond the largest candidate)" in text
    assert f"from loss 0 to {ends[0]:.3f}" in text


def test_last_of_equal_retrainings_counts() -> None:
    view = search_view(seeds=1)
    again = replace(view.retrainings[0], test_top1=0.125)
    found = found_in(replace(view, retrainings=[*view.retrainings, again]))
    network = next(network for network in found.networks if network.digest == again.digest)
    assert network.results[again.init].tests == [0.125]


def test_retrained_network_that_left_the_front_is_kept(tmp_path: Path) -> None:
    view = search_view(baselines=False, seeds=1)
    worst = next(network for network in found_in(view).networks if network.on_front and network.results)
    rng = random.Random(0)
    arch = architecture(random.Random(99), ((1, 12), (1, 12), (1, 12)))
    costs = {**costs_of(arch), "macs": worst.costs["macs"] - 1}
    better = evaluation(1000, Origin(SAMPLER, "nsga2"), 40, arch, rng, top1=0.999, costs=costs)
    store = reported(tmp_path, with_evaluations(view, better))
    row = next(row for row in rows(store, "front.csv") if row["digest"] == worst.digest)
    assert row["role"] in ("retrained", "random_best")
    assert row["scratch_seeds"] == "1"
    check_page(store)


def test_a_network_picked_by_its_digest(tmp_path: Path) -> None:
    view = search_view(seeds=1)
    other = next(
        e for e in view.evaluations if e.digest not in roles_of(view.evaluations, view.budget, view.objectives)
    )
    line = replace(view.retrainings[0], digest=other.digest, architecture=other.architecture, roles=("chosen",))
    store = reported(tmp_path, replace(view, retrainings=[line]))
    assert [row["role"] for row in rows(store, "front.csv") if row["scratch_seeds"] == "1"] == ["chosen"]


# Other costs and objectives


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
    assert len(names) == drawn + 1
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
    assert "budget was latency_ms 1.20 ms and 3.00M MACs" in found.text
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


# Several searches


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


def test_a_search_looks_alike_alone_and_beside_others(three: tuple[SearchView, ...], tmp_path: Path) -> None:
    alone = rows(reported(tmp_path / "alone", three[0]), "front.csv")
    both = rows(reported(tmp_path / "both", three[0], three[1]), "front.csv")
    assert alone == [row for row in both if row["search"] == "small"]


# At every stage


def test_without_retraining(tmp_path: Path) -> None:
    store = reported(tmp_path, search_view())
    text = check_page(store).text
    assert "No network of the front is retrained yet" in text
    assert "it has not been read yet" in text
    assert "retrained from scratch" not in text
    assert all(row["scratch_seeds"] == "0" and row["test_images"] == "" for row in rows(store, "front.csv"))


@pytest.mark.parametrize(
    ("changes", "front"),
    [
        pytest.param({"evaluations": 1, "samplers": ("nsga2",), "baselines": False, "budget": "none"}, 1, id="one"),
        pytest.param({"evaluations": 1, "samplers": ("random",), "baselines": False, "seeds": 1, "budget": "none"}, 1),
        pytest.param({"evaluations": 0, "seeds": 2}, 0, id="baselines"),
        pytest.param({"evaluations": 5, "budget": "1K", "seeds": 1}, 0, id="nothing within the budget"),
        pytest.param({"evaluations": 8, "samplers": ("random", "tpe", "cmaes", "nsga2")}, None, id="other samplers"),
        pytest.param({"evaluations": 9, "samplers": ("tpe",), "finished": False, "closed": True}, None, id="no random"),
        pytest.param(
            {"evaluations": 5, "budget": "1K", "objectives": ("loss",)}, 0, id="one objective, nothing within"
        ),
        pytest.param({"evaluations": 5, "budget": "macs=1K", "objectives": ("top1", "loss", "params")}, 0, id="three"),
        pytest.param({"evaluations": 0, "baselines": False, "given": 1}, 0, id="given alone"),
    ],
)
def test_sparse_runs(tmp_path: Path, changes: dict[str, Any], front: int | None) -> None:
    view = search_view(**changes)
    store = reported(tmp_path, view)
    text = check_page(store).text
    found = collect(run_of(), [view])
    assert front is None or len(found.searches[0].front) == front
    assert front != 0 or "None of the evaluated networks" in text or "No sampler has evaluated a network yet" in text
    assert len(rows(store, "front.csv")) == len(found.searches[0].networks)
    assert max(map(len, table(found).splitlines())) <= 100


@pytest.mark.parametrize("changes", [{}, {"finished": False}, {"finished": False, "closed": True}])
def test_nothing_evaluated(tmp_path: Path, changes: dict[str, Any]) -> None:
    view = search_view(evaluations=0, baselines=False, **changes)
    store = reported(tmp_path, view)
    text = check_page(store).text
    assert "Nothing has been evaluated yet." in text
    assert ("closed by hand" in text) == ("closed" in changes)
    assert "Nothing has been evaluated yet." in table(collect(run_of(), [view]))
    assert rows(store, "front.csv") == rows(store, "trials.csv") == []
    assert store.path("front.png").stat().st_size > 1000


def test_no_search_at_all(tmp_path: Path) -> None:
    assert "This run has no search yet." in check_page(reported(tmp_path)).text
    assert "no search yet" in table(collect(run_of(), []))


# The same bytes


def test_same_bytes_in_another_process(beside: RunStore) -> None:
    before = {name: beside.path(name).read_bytes() for name in OUTPUTS}
    code = (
        "import sys; from nas.reporting import collect, write_report; from nas.store import RunStore\n"
        "assert not {'matplotlib', 'pandas', 'torch', 'optuna', 'moocore', 'numpy'} & set(sys.modules), 'heavy imports'\n"
        "from tests.nas.made_searches import run_of, search_view\n"
        "views = [search_view('small', seeds=1),\n"
        "    search_view('fast', budget='macs=3M,latency_ms=1.2', unknown=True, given=2, samplers=('tpe', 'random')),\n"
        "    search_view('closed', budget='1.2M', evaluations=7, finished=False, closed=True)]\n"
        "write_report(collect(run_of(), views), RunStore(sys.argv[1]))"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code, beside.folder], check=True, env=environment, cwd=root, timeout=60)
    assert {name: beside.path(name).read_bytes() for name in OUTPUTS} == before


def test_the_folder_that_commands_name(view: SearchView, full: RunStore, tmp_path: Path) -> None:
    """A report elsewhere names the run, and is the same bytes as that in the run."""
    write_report(collect(run_of(), [view]), RunStore(tmp_path), full.folder)
    assert {name: (tmp_path / name).read_bytes() for name in OUTPUTS} == {
        name: full.path(name).read_bytes() for name in OUTPUTS
    }


def test_picture_has_no_clock_or_version(full: RunStore) -> None:
    data, kinds, place = full.path("front.png").read_bytes(), set(), 8
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        kinds.add(data[place + 4 : place + 8])
        place += 12 + size
    assert kinds <= {b"IHDR", b"IDAT", b"IEND", b"pHYs"}


# Text is text


EVIL = "</title><script>alert('x')</script><img src=x onerror=\"y\"> & $\\frac{$ \u4e2d \ud800"


@pytest.mark.parametrize("others", [0, 1])
def test_text_is_never_markup(tmp_path: Path, others: int) -> None:
    config = run_of()["config"]
    config["data"]["name"] = config["data"]["root"] = EVIL
    identity = {
        "config": config,
        "space_name": EVIL,
        "space_digest": EVIL,
        "split_digest": EVIL,
        "classes": [EVIL, "b"],
        "versions": {EVIL: EVIL},
        "machine": {"cpu": EVIL, "cores": 1, "memory_gib": 0.0, "threads": 1},
        "commit": "",
        "command": ["nas", EVIL],
        "costs": [*COSTS, {"name": EVIL, "unit": EVIL, "about": EVIL}],
    }
    part = Part.of(EVIL, **{EVIL: EVIL})
    block = Block(position=part, norm=part, mixer=part, ffn=part, scale=part)
    stage = Stage(width=4, embedding=part, blocks=(block,))
    arch = Architecture(in_channels=1, num_classes=2, resolution=8, stages=(stage,), head=part)
    rng = random.Random(1)
    known = evaluation(99, Origin(SAMPLER, EVIL), 1, architecture(rng), rng)
    view = with_evaluations(
        search_view(EVIL, evaluations=3, seeds=1, budget="none", objectives=("top1", "macs")),
        replace(known, architecture=arch, digest="<i>evil</i>", top1=0.999, costs={**known.costs, EVIL: 3.5}),
        replace(known, n=100, origin=Origin("given", EVIL), digest="y" * 40),
        replace(known, n=101, origin=Origin(SAMPLER, "nsga2"), digest="x" * 40),
    )
    limited = replace(view, budget=Budget(((EVIL, 5.0),)), settings={EVIL: EVIL, "samplers": [EVIL]})
    views = [limited, *[search_view("plain", evaluations=2, baselines=False)] * others]
    store = reported(tmp_path / "<b>run", *views, **identity)
    found = check_page(store)
    assert EVIL.replace("\ud800", "?") in found.words
    findings = collect(run_of(**identity), views)
    assert len(rows(store, "front.csv")) == sum(len(search.networks) for search in findings.searches)
    assert max(map(len, table(findings).splitlines())) <= 100
    table(findings).encode()


# The text for the terminal


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


def test_table_of_a_wide_network(tmp_path: Path) -> None:
    rng = random.Random(1)
    arch = architecture(rng, ((12, 1024),) * 9)
    wide = evaluation(9, Origin(SAMPLER, "random"), 3, arch, rng, top1=1.0)
    view = with_evaluations(search_view(evaluations=2, budget="none"), wide)
    check_page(reported(tmp_path, view))
    lines = table(collect(run_of(), [view])).splitlines()
    assert max(map(len, lines)) <= 100
    assert any(line.endswith("..") for line in lines)


# Small parts


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 10**12), st.floats(1e-3, 1.0)), min_size=1, max_size=6), st.integers(5, 8))
def test_scale_holds_its_values(values: list[float], most: int) -> None:
    for logarithmic in (False, True):
        scale = Scale.over(values, logarithmic=logarithmic)
        assert all(0 <= scale.at(value) <= 1 for value in values)
        assert all(scale.downwards().at(value) == 1 - scale.at(value) for value in values)
        ticks = scale.ticks(most)
        assert ticks == sorted(set(ticks))
        assert all(-1e-9 <= scale.at(tick) <= 1 + 1e-9 for tick in ticks)
        assert scale.log or 2 <= len(ticks) <= most + 1
        assert len(ticks) >= 1


def test_scale_prints_round_numbers() -> None:
    assert Scale(0.0, 0.8, False).ticks() == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    assert Scale(3e5, 6e6, True).ticks() == [5e5, 1e6, 2e6, 5e6]


@pytest.mark.parametrize(
    ("number", "text"),
    [(847, "847"), (31_234, "31.2K"), (2_350_000, "2.35M"), (999_600, "1.00M"), (3e12, "3.00T"), (0, "0"), (12, "12"),
     (3.5, "3.50"), (0.01254, "0.0125"), (99.96, "100"), (123.4, "123"), (-2.5e6, "-2.50M"), (999.7, "1.00K")],
)  # fmt: skip
def test_compact(number: float, text: str) -> None:
    assert compact(number) == text


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20, unique=True))
def test_mixer_codes_differ(names: list[str]) -> None:
    parts = [Part.of(name) for name in names]
    blocks = tuple(Block(position=part, norm=part, mixer=part, ffn=part, scale=part) for part in parts)
    stage = Stage(width=1, embedding=parts[0], blocks=blocks)
    mixers = Mixers.of([Architecture(in_channels=1, num_classes=1, resolution=1, stages=(stage,), head=parts[0])])
    assert set(mixers.codes) == set(names)
    assert len(set(mixers.codes.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9]{1,3}", code) for code in mixers.codes.values())


def test_roles_come_in_order() -> None:
    view = search_view(given=2)
    for names in roles_of(view.evaluations, view.budget, view.objectives).values():
        assert list(names) == sorted(names, key=list(ROLES).index)


def test_the_last_hand_designed_network_counts() -> None:
    rng = random.Random(3)
    view = search_view()
    later = evaluation(500, Origin(BASELINE, "hand_designed"), 1, architecture(rng), rng)
    found = found_in(with_evaluations(view, later))
    assert [n.digest for n in found.networks if "hand_designed" in n.roles] == [later.digest]

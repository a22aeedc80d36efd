"""The report of one made search: what is in it, and that no text becomes markup."""

import random
import re
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nas.goals.pareto import hypervolume
from nas.goals.roles import best_of, front_of, roles_of, spread
from nas.records import BASELINE, SAMPLER, Origin, eligible
from nas.reporting import (
    BASELINES,
    FRONT_COLUMNS,
    ROLES,
    TRIAL_COLUMNS,
    SearchView,
    collect,
    table,
    write_report,
)
from nas.reporting.chart import Scale
from nas.reporting.mixers import Mixers
from nas.reporting.words import compact
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture, Block, Part, Stage
from tests.nas.reporting.hostile import hostile_identity, hostile_search
from tests.nas.reporting.made_searches import (
    MIXERS,
    architecture,
    costs_of,
    evaluation,
    reported,
    run_of,
    search_view,
    with_evaluations,
)
from tests.nas.reporting.pages import COST_NAMES, OUTPUTS, check_page, found_in, page, rows


def test_files(view: SearchView, full: RunStore) -> None:
    assert write_report(collect(run_of(), [view]), full) == full.path("report.html")
    assert sorted(path.name for path in full.folder.iterdir()) == sorted(OUTPUTS)
    check_page(full)


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


def test_estimates_are_marked(tmp_path: Path) -> None:
    """Wherever all trials are shown. A baseline that was dropped as a candidate has its accuracy on all images."""
    plain = search_view(objectives=("top1", "macs"))
    baseline = next(e for e in plain.evaluations if e.origin.name == "hand_designed")
    rival = next(e for e in plain.evaluations if e.origin.name == "nsga2")
    dropped = replace(baseline, n=900, origin=Origin(SAMPLER, "nsga2"), trial=900, top1=0.99, images=90)
    dropped = replace(dropped, against=rival.digest)
    store = reported(tmp_path / "raced", replace(plain, evaluations=[dropped, *plain.evaluations]))
    shown = {row["role"]: row for row in rows(store, "front.csv")}["hand_designed"]
    assert (float(shown["inherited_validation_top1"]), shown["validation_images"]) == (baseline.top1, "360")
    assert [row["n"] for row in rows(store, "trials.csv") if row["against"] == rival.digest] == ["900"]
    assert sum(row["against"] == "" for row in rows(store, "trials.csv")) == len(plain.evaluations)
    raced, unraced = check_page(store).text, page(reported(tmp_path / "plain", plain)).text
    for words in ("top-1 0.990, estimated from 90 images", "dropped before all images"):
        assert words in raced
        assert words not in unraced


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


def test_without_retraining(tmp_path: Path) -> None:
    store = reported(tmp_path, search_view())
    text = check_page(store).text
    assert "No network of the Pareto front is retrained yet" in text
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


EVIL = "</title><script>alert('x')</script><img src=x onerror=\"y\"> & $\\frac{$ \u4e2d \ud800"


@pytest.mark.parametrize("others", [0, 1])
def test_text_is_never_markup(tmp_path: Path, others: int) -> None:
    identity = hostile_identity(EVIL)
    views = [hostile_search(EVIL), *[search_view("plain", evaluations=2, baselines=False)] * others]
    store = reported(tmp_path / "<b>run", *views, **identity)
    found = check_page(store)
    assert EVIL.replace("\ud800", "?") in found.words
    findings = collect(run_of(**identity), views)
    assert len(rows(store, "front.csv")) == sum(len(search.networks) for search in findings.searches)
    assert max(map(len, table(findings).splitlines())) <= 100


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


@settings(max_examples=120, deadline=None)
@example(values=[1.0, 0.9999999999999999], most=6)
@given(
    values=st.lists(st.one_of(st.integers(1, 10**12), st.floats(1e-3, 1.0)), min_size=1, max_size=6),
    most=st.integers(5, 8),
)
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

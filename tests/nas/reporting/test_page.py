"""The report of one made search: what is in it, and that no text becomes markup."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.goals.pareto import hypervolume
from nas.records import SAMPLER, Origin
from nas.reporting import SearchView, collect, table, write_report
from nas.runs.store import RunStore
from tests.nas.reporting.hostile import hostile_identity, hostile_search
from tests.nas.reporting.made_searches import MIXERS, reported, run_of, search_view
from tests.nas.reporting.pages import OUTPUTS, check_page, found_in, page, rows


def test_files(view: SearchView, full: RunStore) -> None:
    assert write_report(collect(run_of(), [view]), full) == full.path("report.html")
    assert sorted(path.name for path in full.folder.iterdir()) == sorted(OUTPUTS)
    check_page(full)


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


def test_hypervolume(view: SearchView, full: RunStore) -> None:
    text = page(full).text
    for sampler in ("nsga2", "random"):
        points = [
            (-e.top1, e.costs["macs"])
            for e in view.evaluations
            if e.origin.name == sampler and e.costs["macs"] <= 2_500_000
        ]
        assert f"{hypervolume(points, (0, 2_750_000)) / 2_750_000:.4f}" in text


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

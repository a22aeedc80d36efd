"""Times on devices in the report: predicted against measured, MACs against milliseconds, and which network keeps its budget."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nas.goals.roles import roles_of
from nas.records import Evaluation, Reference, Retraining, eligible
from nas.records.device_times import OVER, PREDICTED, DeviceTime, refuted
from nas.reporting import FRONT_COLUMNS, MEASURED_COLUMNS, TRIAL_COLUMNS, SearchView
from nas.runs.store import RunStore
from tests.nas.reporting.made_searches import COSTS, reported, search_view
from tests.nas.reporting.pages import check_page, found_in, rows

COST = "latency_ms@a-b.2_c"
HELD_OUT = {"count": 30, "mape": 0.05, "bias": -0.02}
DEVICE = {"device": "a-b.2_c", "id": "0" * 12, "here": True, "held_out": HELD_OUT}


def renamed(evaluation: Evaluation) -> Evaluation:
    costs = {(COST if name == "latency_ms" else name): value for name, value in evaluation.costs.items()}
    return replace(evaluation, costs=costs)


def measured_view(name: str = "fast", budget: str = f"{COST}=1.2", share: float = 1.1, **changes: object) -> SearchView:
    """A search under a limit on a device's latency, all of whose networks with a role were measured.

    Args:
        share: measured over predicted, give or take a twentieth.
    """
    view = search_view(name, budget="none", objectives=("top1", "latency_ms"))
    view = replace(
        view, evaluations=[renamed(e) for e in view.evaluations], devices={COST: DEVICE},
        budget=type(view.budget).parse(budget), objectives=tuple(type(o)(COST) if o.is_cost else o for o in view.objectives),
    )  # fmt: skip
    rng, found = random.Random(3), dict[str, DeviceTime]()
    times = {e.digest: e.costs[COST] for e in view.evaluations}
    while missing := [
        digest
        for digest in roles_of(view.evaluations, view.budget, view.objectives, refuted(found.values(), view.budget))
        if digest not in found
    ]:
        for digest in missing:
            ms = times[digest] * share * rng.uniform(0.95, 1.05)
            found[digest] = DeviceTime(
                digest=digest, cost=COST, predicted=times[digest], measured=ms, low=0.98 * ms, high=1.02 * ms, rounds=20, device="0" * 12,
                noisy=False, time="2030-01-01T00:00:00+00:00",
            )  # fmt: skip
    return replace(view, measurements=list(found.values()), **changes)  # type: ignore[arg-type]


def with_cost(folder: Path, *views: SearchView) -> RunStore:
    return reported(folder, *views, costs=[*COSTS, {"name": COST, "unit": "ms", "about": "on a device, predicted"}])


@pytest.fixture(scope="module")
def slow() -> SearchView:
    return measured_view()


@pytest.fixture(scope="module")
def store(slow: SearchView, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    return with_cost(tmp_path_factory.mktemp("measured") / "run", slow)


def test_what_was_measured_over_the_budget_is_not_on_the_front(slow: SearchView, store: RunStore) -> None:
    over = refuted(slow.measurements, slow.budget)
    predicted = {e.digest for e in eligible(slow.evaluations, slow.budget, slow.objectives)}
    assert over & predicted  # or this test would show nothing
    front = {row["digest"] for row in rows(store, "front.csv") if "front" in row["role"].split("+")}
    assert front
    assert not front & over
    found = found_in(slow)
    assert found.refuted == over
    assert all(m.high is not None and m.high <= 1.2 for m in slow.measurements if m.digest in front)
    page = check_page(store)
    text = page.text
    tail = f"{len(over & predicted)} further networks that had been predicted to be within it took too long."
    kept = "Each of them was measured whole on the device, and the confidence interval of its time is at most the limit"
    assert f"{kept}; {tail}" in text
    shown_over = [network.digest for network in found.networks if network.digest in over]
    assert page.words.count(OVER) >= len(shown_over) > 0


def test_tables_have_columns_of_what_was_measured(slow: SearchView, store: RunStore) -> None:
    wanted = [f"{kind}_{COST}" for kind in MEASURED_COLUMNS]
    over = refuted(slow.measurements, slow.budget)
    known = {m.digest: m for m in slow.measurements}
    for name, columns in (("front.csv", FRONT_COLUMNS), ("trials.csv", TRIAL_COLUMNS)):
        listed = rows(store, name)
        after = list(listed[0]).index(wanted[0])
        assert list(listed[0])[after : after + 4] == wanted
        assert after > list(columns).index("within_budget")
        for row in listed:
            found = known.get(row["digest"])
            assert row[f"measured_{COST}"] == (str(found.measured) if found else "")
            said = "predicted" if found is None else "over" if row["digest"] in over else "within"
            assert row[f"delivered_{COST}"] == said
            limited = float(row[COST]) <= 1.2 and row["digest"] not in over
            assert row["within_budget"] == ("true" if limited else "false")
    assert all("\n" not in meaning for meaning in MEASURED_COLUMNS.values())


def test_tables_without_measurements_have_no_such_columns(tmp_path: Path) -> None:
    listed = rows(with_cost(tmp_path, replace(measured_view(), measurements=())), "front.csv")
    assert not [column for column in listed[0] if column.startswith(("measured", "delivered"))]


def test_predicted_against_measured(slow: SearchView, store: RunStore) -> None:
    text, found = store.path("report.html").read_text(), check_page(store)
    assert "Predicted against measured" in found.words
    count = len(slow.measurements)
    assert f"{count} networks of this search were measured whole on a-b.2_c." in found.text
    shares = [(m.predicted or 0) / (m.measured or 1) - 1 for m in slow.measurements]
    assert f"off by {sum(map(abs, shares)) / count * 100:.1f} % on average (MAPE)" in found.text
    assert f"their mean is {sum(shares) / count * 100:+.1f} % off (bias)" in found.text
    assert "on 30 held-out networks was 5.0 % and the bias -2.0 %" in found.text
    (chart,) = (c for c in re.findall(r'<svg class="chart wide".*?</svg>', text, flags=re.DOTALL) if "line strong" in c)
    marks = re.findall(r"translate\(([\d.]+) ([\d.]+)\)[^>]*><title>\w+\npredicted", chart)
    assert len(marks) == count
    # The diagonal rises from left to right, and networks that take longer than predicted are above it.
    x1, y1, x2, y2 = map(float, re.findall(r'class="line strong" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', chart)[0])
    assert x1 < x2
    assert y1 > y2
    above = [float(y) < y1 + (y2 - y1) * (float(x) - x1) / (x2 - x1) for x, y in marks]
    slower = sum((m.measured or 0) > (m.predicted or 0) for m in slow.measurements)
    assert abs(sum(above) - slower) <= 1  # pixels are rounded
    for y in re.findall(r'class="line[^"]*" d="M[\d.]+ (-?[\d.]+)L[\d.]+ (-?[\d.]+)"', chart):
        assert all(42 <= float(end) <= 342 for end in y)  # inside the chart


def test_macs_against_milliseconds(slow: SearchView, store: RunStore) -> None:
    found = check_page(store)
    assert "MACs against milliseconds" in found.words
    known = {e.digest: (e.costs["macs"], e.costs[COST]) for e in slow.evaluations}
    alike = [b[1] / a[1] for a in known.values() for b in known.values() if max(a[0], b[0]) <= 1.05 * min(a[0], b[0])]
    assert f"the times differ by a factor of up to {max(alike):.2f}" in found.text
    assert f"of {len(known)} networks is " in found.text


def test_the_tolerance_of_the_budget_is_drawn(store: RunStore, tmp_path: Path) -> None:
    text = store.path("report.html").read_text()
    assert "± 5.0 %: mean error of the predictions on held-out networks" in text
    assert text.count('class="band" d="M2 1') == 1  # in the legend of the front's chart
    plain = with_cost(tmp_path, replace(measured_view(), devices={}))
    assert 'class="band"' not in plain.path("report.html").read_text()
    assert plain.path("front.png").read_bytes() != store.path("front.png").read_bytes()


def test_a_range_in_words_and_lines(tmp_path: Path) -> None:
    found = check_page(with_cost(tmp_path, measured_view(budget=f"macs=1M..4M,{COST}=0.8..1.4")))
    assert f"budget was from 0.800 to 1.40 ms on {COST.partition('@')[2]} and from 1.00M to 4.00M MACs" in found.text
    assert "0.800–1.40" in found.words
    assert "budget from 0.800" in found.text
    assert "below budget: MACs" in found.text or "over budget: MACs" in found.text


def test_several_searches_and_another_device(slow: SearchView, tmp_path: Path) -> None:
    """Ids differ, whatever a device is called; times of a device that is not there are called predicted."""
    other = measured_view("far", share=1.0)
    alone = [replace(m, measured=None, low=None, high=None, rounds=0, device="1" * 12) for m in other.measurements]
    found = check_page(with_cost(tmp_path, slow, replace(other, measurements=alone)))
    assert "is not the device that searched" in found.text
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert all(identifier and re.fullmatch(r"[\w-]+", identifier) for identifier in ids)


def test_reports_of_counted_costs_have_no_such_sections(full: RunStore) -> None:
    text = full.path("report.html").read_text()
    assert "Predicted against measured" not in text
    assert "MACs against milliseconds" not in text


def test_what_was_not_measured_is_predicted_only(tmp_path: Path) -> None:
    """A network off the Pareto front that was picked by its digest, and timm's models, which have times of their own."""
    slow = measured_view()
    measured = {m.digest for m in slow.measurements}
    off = next(e for e in slow.evaluations if e.digest not in measured and slow.budget.allows(e.costs))
    chosen = Retraining(
        digest=off.digest, roles=("chosen",), init="scratch", seed=0, architecture=off.architecture, costs=off.costs, epochs=1,
        skipped_steps=0, validation_top1=0.5, test_top1=0.5, test_loss=1.0, test_images=100,
    )  # fmt: skip
    time = {"ms": 3.0, "low": 2.5, "high": 3.5, "rounds": 15, "noisy": True}
    reference = Reference(
        model="resnet18", seed=0, costs={"macs": 10**6, COST: 3.0}, epochs=1, skipped_steps=0, validation_top1=0.5, test_top1=0.5,
        test_loss=1.0, test_images=100, times={COST: time},
    )  # fmt: skip
    store = with_cost(tmp_path / "run", replace(slow, retrainings=[chosen], references=[reference]))
    (row,) = [row for row in rows(store, "front.csv") if row["digest"] == off.digest]
    assert (row["within_budget"], row[f"delivered_{COST}"], row[f"measured_{COST}"]) == ("true", "predicted", "")
    page = store.path("report.html").read_text()
    check_page(store)
    assert page.count(f"<small>{PREDICTED}</small>") == 1
    assert "<small>measured, on a noisy machine</small>" in page
    assert "2.50 to 3.50 ms (95 % confidence)" in page

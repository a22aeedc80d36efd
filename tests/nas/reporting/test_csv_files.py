"""front.csv and trials.csv: their columns, and what the rows say of each network."""

from dataclasses import replace
from pathlib import Path

import pytest

from nas.reporting import BASELINES, FRONT_COLUMNS, TRIAL_COLUMNS, SearchView
from nas.runs.store import RunStore
from tests.nas.reporting.made_searches import reported, search_view
from tests.nas.reporting.pages import COST_NAMES, rows


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

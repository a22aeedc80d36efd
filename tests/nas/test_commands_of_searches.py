"""Commands of a run with several searches: one of them is named, or all are meant; what is refused or damaged leaves the others as they are."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from nas.runs.searches import read_search
from nas.runs.store import RunStore
from tests.command_line import Commands, Runs, prepare

After = Callable[[str], Path]


def test_a_run_of_the_older_layout(nas: Commands, after: After) -> None:
    """Its supernet is searched; its own search goes aside, and whoever asks for it is told so."""
    place = after("train")
    run = json.loads((place / "run" / "run.json").read_text())
    (place / "run" / "run.json").write_text(json.dumps(run | {"format": 1}))
    (place / "run" / "evaluations.jsonl").write_text('{"n":0,"sampler":"nsga2"}\n')
    for verb in ("extract", "retrain", "report"):
        _, _, instead = nas(verb, "run=run", cwd=place).refused("older version of nas")
    assert instead.startswith("nas search run=run")
    for verb in ("search", "extract", "report"):
        nas(verb, "config.toml", cwd=place).ok()
    assert (place / "run" / "older" / "evaluations.jsonl").read_text() == '{"n":0,"sampler":"nsga2"}\n'
    assert json.loads((place / "run" / "run.json").read_text())["format"] == 2
    (place / "run" / "run.json").write_text(json.dumps(run | {"format": 3}))
    nas("search", "config.toml", cwd=place).refused("another version of nas")


def test_commands_name_a_search_or_mean_all(nas: Commands, after: After) -> None:
    place = after("search")
    nas("search", "run=run", "name=other", "evaluations=3", cwd=place).ok()
    printed = nas("extract", "run=run", cwd=place).ok().out
    assert "searches/small/networks/" in printed
    assert "searches/other/networks/" in printed
    one = nas("extract", "run=run", "search=other", cwd=place).ok().out
    assert "searches/small/networks/" not in one
    given, allowed, _ = nas("extract", "run=run", "search=othre", cwd=place).refused("unknown search")
    assert "othre" in given
    assert "other" in allowed
    for arguments, shown in ((("search=other",), {"other"}), ((), {"small", "other"})):
        nas("report", "run=run", *arguments, cwd=place).ok()
        rows = (place / "run" / "front.csv").read_text().splitlines()[1:]
        assert {row.split(",")[0] for row in rows} == shown
    nas("retrain", "run=run", "search=other", "epochs=2", cwd=place).ok()
    nas("retrain", "run=run", "search=small", cwd=place).ok()  # by the recipe of the run
    nas("retrain", "run=run", cwd=place).ok()  # each by its own
    nas("retrain", "run=run", "search=other", "epochs=3", cwd=place).refused("retrain.epochs=2, not 3")
    nas("search", "run=run", "search=none", "close=true", cwd=place).refused("unknown search")


def test_a_digest_is_asked_of_the_searches_that_know_it(nas: Commands, after: After) -> None:
    """Without search=, wherever it was evaluated; a digest of no search is refused before anything is written."""
    place = after("search")
    nas("search", "run=run", "name=other", "search.seed=5", "evaluations=3", cwd=place).ok()
    store = RunStore(place / "run")
    first, second = ([e.digest for e in read_search(store, name).evaluations()] for name in ("small", "other"))
    alone = {"small": next(d for d in first if d not in second), "other": next(d for d in second if d not in first)}
    both = next(d for d in first if d in second)
    for name, digest in alone.items():
        for key in ("digest", "pick"):
            said = nas("extract", "run=run", f"{key}={digest}", f"out={key}{name}", cwd=place).ok().out
            assert [path.name for path in (place / f"{key}{name}").iterdir()] == [digest]
            assert said.count("largest difference") == 1
    assert nas("extract", "run=run", f"digest={both}", "out=both", cwd=place).ok().out.count("largest difference") == 2
    nas("extract", "run=run", f"pick={','.join(alone.values())}", "out=two", cwd=place).ok()
    assert {path.name for path in (place / "two").iterdir()} == set(alone.values())
    nas("extract", "run=run", f"pick={alone['small']},ffffffffffff", "out=none", cwd=place).refused(
        "pick 'ffffffffffff' names 0 networks"
    )
    assert not (place / "none").exists()
    nas("extract", "run=run", f"digest={alone['other']}", cwd=place).ok()
    said = nas("retrain", "run=run", f"digest={alone['other']}", "epochs=1", "seeds=1", cwd=place).ok().out
    assert alone["other"] in said
    assert read_search(store, "other").retrainings()
    assert not read_search(store, "small").retrainings()


def test_roles_are_said(nas: Commands, after: After) -> None:
    """The smallest and the largest network and the hand-designed one are written, too, and are no winners."""
    place = after("search")
    lines = nas("extract", "run=run", cwd=place).ok().out.splitlines()
    for role in ("front", "smallest", "largest", "hand_designed"):
        assert any(f"  {role}" in line or f", {role}" in line for line in lines), lines


def test_all_searches_are_meant_whatever_they_are_called(nas: Commands, after: After) -> None:
    """Also where one has the name that plain settings give; one that has not finished is left out, with a line."""
    place = after("search")
    nas("search", "run=run", "evaluations=2", cwd=place).ok()  # by the run's own settings
    nas("search", "run=run", "name=third", "evaluations=2", cwd=place).ok()
    about = place / "run" / "searches" / "third" / "search.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"state": "running"}))
    printed = nas("extract", "run=run", cwd=place).ok().out
    assert "search third has not finished, and is left out" in printed
    assert "searches/small/networks/" in printed
    assert "searches/nobudget_top1-macs_nsga2-random_seed0/networks/" in printed
    assert "searches/third/networks/" not in printed
    nas("extract", "run=run", "search=third", cwd=place).refused("has not finished", "close=true")


def test_what_is_refused_leaves_no_search(nas: Commands, after: After) -> None:
    place = after("train")
    (place / "bad.json").write_text("{}")
    for settings, names in (
        ("samplers=optuna.samplers.CmaEsSampler", "cannot have several objectives"),
        ("networks=missing.json", "missing.json is no file"),
        ("networks=bad.json", "bad.json"),
        ("budget=params=1", "params is the binding limit"),
        ("objectives=top1,parms", "search.objectives=top1,params"),
        ("measured=missing.csv", "missing.csv"),
    ):
        nas("search", "run=run", settings, "name=refused", cwd=place).refused(names)
    assert not list((place / "run" / "searches").glob("*"))


def test_damage_in_one_search_does_not_stop_the_others(nas: Commands, after: After) -> None:
    place = after("search")
    nas("search", "run=run", "name=other", "evaluations=2", cwd=place).ok()
    for name, text in (("evaluations.jsonl", '{"n":0}\n'), ("search.json", '{"number": 3}'), ("search.json", "{")):
        path = place / "run" / "searches" / "other" / name
        whole = path.read_text()
        path.write_text(text)
        nas("report", "run=run", "search=other", cwd=place).refused(f"searches/other/{name}", "discards this search")
        nas("extract", "run=run", "search=small", cwd=place).ok()
        assert (
            "search other is left out" in nas("search", "run=run", "search=small", "evaluations=5", cwd=place).ok().out
        )
        path.write_text(whole)


def test_another_run_shares_nothing(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """Evaluations with other settings of evaluation are not taken over."""
    place = Path(shutil.copytree(runs["search"], tmp_path / "place"))
    prepare(place)
    nas("search", "run=run", "name=other", "calibration_images=32", cwd=place).ok()
    one, other = (read_search(RunStore(place / "run"), name).evaluations() for name in ("small", "other"))
    scores = {e.digest: e.loss for e in one}
    assert any(scores[e.digest] != e.loss for e in other if e.digest in scores)

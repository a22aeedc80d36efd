"""A search of a run in Ray Tune is the search of `nas search`."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces.errors import InputError
from tests.command_line import Commands, Runs, environment

pytest.importorskip("ray")

RECORDS = "run/searches/small/evaluations.jsonl"


def records(place: Path) -> str:
    return (place / RECORDS).read_text() if (place / RECORDS).exists() else ""


@pytest.fixture
def trained(after: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that is trained and not searched; commands are typed in it."""
    place = after("train")
    monkeypatch.chdir(place)
    return place


def test_a_searcher_asked_by_hand(trained: Path, runs: Runs) -> None:
    """Results come in any order; it is closed, saved and pickled in between, and the records are those of `nas search`."""
    import pickle

    from nas.searching.evaluation import score
    from nas.tuning import TunedSearch
    from nas.tuning.searcher import arch_of

    search = TunedSearch("run", "name=small")
    run = search.searcher._run
    assert run is not None
    from nas.searching.searching import setup_of

    evaluator, space = setup_of(run)(), run.space
    searcher, waiting, asked = search.searcher, {}, 0
    while (suggestion := searcher.suggest(str(asked))) != searcher.FINISHED:
        if suggestion is not None:
            waiting[str(asked)] = arch_of(space, suggestion)
            asked += 1
        if suggestion is None or len(waiting) == 3:
            trial, arch = waiting.popitem()  # the last first
            searcher.on_trial_complete(
                trial, {**score(evaluator, arch)._asdict(), "digest": arch.digest, "costs": {"macs": 1}}
            )
        if asked == 5:
            before = records(trained)
            searcher.save(str(trained / "state"))
            searcher.close()
            waiting.clear()
            searcher = pickle.loads(pickle.dumps(searcher))
            searcher.restore(str(trained / "state"))
            asked += 10
            assert before
            assert records(trained) == before
    assert records(trained) == records(runs["search"])
    about = json.loads((trained / "run/searches/small/search.json").read_text())
    assert about["state"] == "finished"
    with pytest.raises(InputError, match="is of search small"):
        TunedSearch("run", "name=other").searcher.restore(str(trained / "state"))


def test_what_nas_search_would_refuse(trained: Path) -> None:
    from nas.tuning import TunedSearch

    with pytest.raises(InputError, match="holds no run"):
        TunedSearch("elsewhere")
    with TunedSearch("run", "name=tiny", "budget=1") as search, pytest.raises(InputError, match="budget"):
        search.searcher.suggest("1")
    assert not (trained / "run/searches/tiny").exists()
    with pytest.raises(InputError, match="evaluation=fast") as caught:
        TunedSearch("run", "name=tiny", "evaluation=fast")
    assert "evaluation=exact" in caught.value.instead


def test_scalars_without_tensorboard(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from nas.tuning import TunedSearch

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else name)
    with pytest.raises(InputError, match="tensorboard is not installed"):
        TunedSearch("run", "tensorboard=true")


def test_a_trial_on_a_node_that_differs() -> None:
    """Its results would not be those of the process that searches."""
    from nas.executors.actor import identity
    from nas.tuning.trainable import Evaluation

    trial = Evaluation.__new__(Evaluation)
    with pytest.raises(InputError, match=r"has torch .*, and the process that searches has 1\.0"):
        trial.setup({}, packed=(b"", None), wanted={**identity(), "torch": "1.0"})


SCRIPT = """\
import logging, sys
import ray
from ray import tune
from nas.tuning import TunedSearch

ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
with TunedSearch("run", "name=small") as search:
    config = tune.TuneConfig(
        search_alg=search.searcher, num_samples=int(sys.argv[1]), reuse_actors=True, max_concurrent_trials=2
    )
    settings = search.run_config(name="small", storage_path="tune", verbose=0)
    tuner = tune.Tuner(search.trainable, tune_config=config, run_config=settings)
    grid = tuner.fit()
    assert not grid.errors, grid.errors
    print("trials", len(grid))
"""


def tuned(place: Path, *arguments: str) -> int:
    """The number of trials of an experiment."""
    (place / "script.py").write_text(SCRIPT.replace('"tune', f'"{place}/tune'))
    done = subprocess.run(
        [sys.executable, "script.py", *arguments], cwd=place, env=environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rpartition("trials ")[2])


@pytest.mark.slow
def test_an_experiment_of_ray_tune(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """It finds what `nas search` finds, and the run goes on from there."""
    place = Path(shutil.copytree(runs["train"], tmp_path / "tuned"))
    expected = records(runs["search"])
    assert tuned(place, "-1") == len({json.loads(line)["digest"] for line in expected.splitlines()})
    assert records(place) == expected
    nas("extract", "config.toml", cwd=place).ok()
    nas("report", "config.toml", cwd=place).ok()


@pytest.mark.slow
def test_an_experiment_that_was_stopped(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """`nas search` goes on, or another experiment does: each finds the records."""
    place = Path(shutil.copytree(runs["train"], tmp_path / "stopped"))
    assert tuned(place, "4") == 4
    expected = records(runs["search"])
    before = records(place)
    assert before
    assert expected.startswith(before)
    again = Path(shutil.copytree(place, tmp_path / "again"))
    nas("search", "config.toml", cwd=place).ok()
    assert records(place) == expected
    tuned(again, "-1")
    assert records(again) == expected


class Stopped(Exception):
    """What a scheduler that stops a trial is to it."""


def retrained(place: Path) -> dict[tuple[str, str, int], str]:
    """The lines of the retrained networks of a run, by what tells them apart."""
    lines = (place / RETRAINED).read_text().splitlines() if (place / RETRAINED).exists() else []
    found = [(json.loads(line), line) for line in lines]
    return {(one["digest"], one["init"], one["seed"]): line for one, line in found}


RETRAINED = "run/searches/small/retrained.jsonl"
LONGER = ("epochs=2",)


def test_retraining_by_hand(nas: Commands, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that is stopped is not recorded; the others are, and `nas retrain` ends as if there had been no trials."""
    from nas.tuning import TunedRetraining
    from nas.tuning.retrained import train

    place, plain = (Path(shutil.copytree(runs["extract"], tmp_path / name)) for name in ("tuned", "plain"))
    monkeypatch.chdir(place)
    with TunedRetraining("run", *LONGER) as retraining:
        names = retraining.param_space["job"]["grid_search"]
        assert len(names) == len(set(names)) > 2
        told: dict[str, list[tuple[int, float]]] = {}
        assert retraining._open
        for job in retraining._open[2]:

            def report(metrics: dict[str, float], name: str = job.name) -> None:
                told.setdefault(name, []).append((int(metrics["epoch"]), metrics["top1"]))
                if name == names[1] and metrics["epoch"] == 1:
                    raise Stopped

            if job.name == names[1]:
                with pytest.raises(Stopped):
                    train(job, report)
            else:
                train(job, report)
            assert 0 <= min(top1 for _, top1 in told[job.name]) <= max(top1 for _, top1 in told[job.name]) <= 1
        assert [epoch for epoch, _ in told[names[0]]] == [1, 2]
        assert [epoch for epoch, _ in told[names[1]]] == [1]
        assert retraining.epochs == 2
        assert not retrained(place)
        assert (place / f"run/work/retrain/small/{names[1]}.pt").exists()
    first = retrained(place)
    assert len(first) == len(names) - 1
    assert {"-".join(map(str, key)) for key in first} == {*names} - {names[1]}
    for key, line in first.items():
        assert told["-".join(map(str, key))][-1][1] == json.loads(line)["validation_top1"]
    nas("retrain", "config.toml", *LONGER, cwd=place).ok()
    nas("retrain", "config.toml", *LONGER, cwd=plain).ok()
    assert retrained(place) == retrained(plain)
    with pytest.raises(InputError, match="are retrained"):
        TunedRetraining("run", *LONGER)


def test_what_tuned_retraining_refuses(after: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.tuning import TunedRetraining

    place = after("extract")
    monkeypatch.chdir(place)
    with pytest.raises(InputError, match="holds no run"):
        TunedRetraining("elsewhere")
    with pytest.raises(InputError, match=r"retrain\.references is set") as caught:
        TunedRetraining("run", "references=timm/resnet18")
    assert caught.value.instead == 'TunedRetraining("run", "references=timm/resnet18", "references=")'
    with pytest.raises(InputError, match=r"retrain\.processes is 2"):
        TunedRetraining("run", "processes=2")
    with pytest.raises(InputError, match=r"retrain\.estimate is set"):
        TunedRetraining("run", "estimate=true")
    with TunedRetraining("run", "sched=cosine", "epochs=3", "cooldown_epochs=2") as retraining:
        assert retraining.epochs == 5


RETRAINING = """\
import logging, sys
import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from nas.tuning import TunedRetraining


class Stopping(FIFOScheduler):
    def on_trial_result(self, controller, trial, result):
        return TrialScheduler.STOP if trial.config["job"] == names[1] else TrialScheduler.CONTINUE


ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
with TunedRetraining("run", *sys.argv[1:]) as retraining:
    names = retraining.param_space["job"]["grid_search"]
    tuner = tune.Tuner(
        retraining.trainable, param_space=retraining.param_space, tune_config=tune.TuneConfig(scheduler=Stopping()),
        run_config=tune.RunConfig(name="small", storage_path="tune", verbose=0),
    )
    grid = tuner.fit()
    assert not grid.errors, grid.errors
    print("stopped", names[1])
"""


@pytest.mark.slow
def test_retraining_in_ray_tune(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """A scheduler stops one network after its first pass. What is recorded is what `nas retrain` finds."""
    place, plain = (Path(shutil.copytree(runs["extract"], tmp_path / name)) for name in ("tuned", "plain"))
    (place / "script.py").write_text(RETRAINING.replace('"tune"', f'"{place}/tune"'))
    done = subprocess.run(
        [sys.executable, "script.py", *LONGER], cwd=place, env=environment(), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [stopped] = [line.removeprefix("stopped ") for line in done.stdout.splitlines() if line.startswith("stopped ")]
    nas("retrain", "config.toml", *LONGER, cwd=plain).ok()
    expected = {key: line for key, line in retrained(plain).items() if "-".join(map(str, key)) != stopped}
    assert len(expected) == len(retrained(plain)) - 1
    assert retrained(place) == expected

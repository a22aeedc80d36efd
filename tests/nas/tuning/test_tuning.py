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

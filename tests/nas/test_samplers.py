"""Proposals: reproducible, complete, and copied to SQLite without loss."""

from pathlib import Path

import optuna
import pytest

from nas.samplers import Proposer, mirror
from search_spaces.costs.macs import macs
from search_spaces.named import load_space


def run(name: str, trials: int, seed: int = 3) -> Proposer:
    """A study whose accuracy is a function of the architecture."""
    space = load_space("digits")
    proposer = Proposer(space, name, seed=seed, population=5, budget=1_500_000)
    for _ in range(trials):
        trial, genes = proposer.ask()
        arch = space.decode(genes)
        proposer.tell(trial, space.encode(arch), arch, int(arch.digest, 16) / 16**12, macs(arch))
    return proposer


@pytest.mark.parametrize("name", ["nsga2", "random"])
def test_same_seed_same_proposals(name: str) -> None:
    one, other, third = run(name, 20), run(name, 20), run(name, 20, seed=4)
    assert [t.params for t in one.trials()] == [t.params for t in other.trials()]
    assert [t.params for t in one.trials()] != [t.params for t in third.trials()]
    assert {key for t in one.trials() for key in t.params} == {gene.name for gene in one.space.genes}


def test_infeasible_trials_are_recorded_as_such() -> None:
    for trial in run("random", 20).trials():
        assert trial.constraints["macs"] == trial.values[1] - 1_500_000


def test_the_copy_has_every_trial_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    first = run("nsga2", 6)
    mirror([first], path)
    more, other = run("nsga2", 11), run("random", 4)
    mirror([more, other], path)
    mirror([more, other], path)
    for proposer in (more, other):
        study = optuna.load_study(study_name=proposer.name, storage=f"sqlite:///{path}")
        found = [(t.number, t.params, t.values, t.user_attrs["digest"]) for t in study.get_trials()]
        assert found == [(t.number, t.params, t.values, t.user_attrs["digest"]) for t in proposer.trials()]
        assert study.metric_names == ["top1", "macs"]


def test_a_damaged_file_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(OSError, match="not a database"):
        mirror([run("random", 2)], path)

"""Regularised evolution: Optuna's own tests of samplers, and what the paper says."""

from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from nas.samplers.regularised_evolution import RegularisedEvolutionSampler


class TestOptunasTests(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: RegularisedEvolutionSampler(population_size=3, seed=0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def run(
    objective: Callable[[optuna.Trial], float | tuple[float, ...]],
    directions: list[str],
    trials: int,
    n_jobs: int = 1,
    **sampler: int,
) -> list[optuna.trial.FrozenTrial]:
    study = optuna.create_study(directions=directions, sampler=RegularisedEvolutionSampler(**sampler))
    study.optimize(objective, n_trials=trials, n_jobs=n_jobs)
    return study.get_trials()


def bits(trial: optuna.Trial) -> list[int]:
    return [trial.suggest_categorical(f"x{i}", [0, 1]) for i in range(12)]


def test_a_child_differs_from_a_living_parent_in_one_parameter() -> None:
    trials = run(lambda trial: sum(bits(trial)), ["maximize"], 60, population_size=10, seed=1)
    for number in range(10, 60):
        parents = [trial.params for trial in trials[number - 10 : number]]
        child = trials[number].params
        assert 1 in [sum(child[name] != parent[name] for name in child) for parent in parents]


def test_the_parent_wins_its_tournament_and_the_oldest_die() -> None:
    """A tournament of the whole population: the parent is the best of those alive, though better ones have died."""
    scores = iter([9.0, *np.linspace(0, 1, 39)])
    trials = run(lambda t: [next(scores), bits(t)][0], ["maximize"], 40, population_size=5, tournament_size=5, seed=0)
    for number in range(5, 40):
        best = max(trials[number - 5 : number], key=lambda trial: trial.value)
        assert sum(trials[number].params[name] != value for name, value in best.params.items()) == 1


def test_it_beats_random_on_one_and_on_two_objectives() -> None:
    one = run(lambda trial: sum(bits(trial)), ["maximize"], 100, population_size=10, seed=0)
    assert np.mean([trial.value for trial in one[50:]]) > 8.5  # random: 6, and the best of 100 is no help to it

    def two(trial: optuna.Trial) -> tuple[int, int]:  # leading ones, trailing zeros: 13 points on the front
        text = "".join(map(str, bits(trial)))
        return len(text) - len(text.lstrip("1")), len(text) - len(text.rstrip("0"))

    found = run(two, ["maximize", "maximize"], 300, population_size=20, seed=0)
    assert len({tuple(trial.values) for trial in found if sum(trial.values) == 12}) >= 4


def test_constraints_go_before_objectives() -> None:
    def objective(trial: optuna.Trial) -> float:
        ones = sum(bits(trial))
        trial.set_constraint("ones", ones - 4)
        return ones

    trials = run(objective, ["maximize"], 200, population_size=10, seed=0)
    assert (
        np.mean([trial.value <= 4 for trial in trials[100:]]) > 0.4
    )  # at random .19; of the children of 4 ones, a third
    assert max(trial.value for trial in trials[100:] if trial.value <= 4) == 4


def test_proposals_follow_from_the_study_alone() -> None:
    """A fresh sampler on a copy of the study proposes what the old one does."""
    study = optuna.create_study(sampler=RegularisedEvolutionSampler(population_size=5, seed=3))
    study.optimize(lambda trial: sum(bits(trial)), n_trials=20)
    copy = optuna.create_study(sampler=RegularisedEvolutionSampler(population_size=5, seed=3))
    copy.add_trials(study.get_trials())
    for _ in range(5):
        one, other = study.ask(), copy.ask()
        assert bits(one) == bits(other)
        for each, trial in ((study, one), (copy, other)):
            each.tell(trial, sum(trial.params.values()))


def test_several_jobs_and_failed_trials() -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number % 7 == 3:
            raise optuna.TrialPruned
        return sum(bits(trial))

    trials = run(objective, ["maximize"], 60, n_jobs=3, population_size=6, seed=0)
    assert sum(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials) == 60 - 9


@pytest.mark.parametrize("sizes", [{"population_size": 1}, {"population_size": 4, "tournament_size": 5}])
def test_sizes_out_of_range(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RegularisedEvolutionSampler(**sizes)

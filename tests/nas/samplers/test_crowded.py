"""NSGA-II with crowded tournaments: Optuna's own tests of samplers, and who becomes a parent."""

import math
from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase

from nas.samplers.crowded import CrowdedNSGAIISampler, _ranks

TWO = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]


class TestOptunasTests(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: CrowdedNSGAIISampler(population_size=3, seed=0)


def trial_of(number: int, values: list[float], violation: float = 0.0) -> optuna.trial.FrozenTrial:
    trial = optuna.create_trial(values=values, system_attrs={"constraints:macs": violation})
    trial.number = number
    return trial


def test_ranks_are_fronts_and_then_empty_regions() -> None:
    points = [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [9.0, 9.0], [0.5, 3.0], [5.0, 0.0], [6.0, 0.0]]
    violations = [0, 0, 0, 0, 0, 2.0, 1.0]
    trials = [trial_of(i, p, v) for i, (p, v) in enumerate(zip(points, violations, strict=True))]
    ranks = _ranks(trials, TWO)
    assert [rank for rank, _ in ranks] == [0, 0, 0, 0, 1, 3, 2]
    assert ranks[0][1] == ranks[3][1] == -math.inf
    assert ranks[1][1] == pytest.approx(-(2 / 9 + 2 / 9))
    assert ranks[2][1] == pytest.approx(-(8 / 9 + 8 / 9))
    assert ranks[2] < ranks[1]


def test_children_come_from_the_best() -> None:
    """Without mutation, every parameter of a child is one of a parent's, and dominated ones are rarely parents."""
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=CrowdedNSGAIISampler(population_size=8, mutation_prob=0.0, seed=0)
    )
    kinds = {f"x{i}": optuna.distributions.CategoricalDistribution(list(range(8))) for i in range(4)}
    for number in range(8):  # each trial is marked by its parameters; 0 to 3 dominate 4 to 7
        study.add_trial(
            optuna.create_trial(
                params=dict.fromkeys(kinds, number), distributions=kinds, system_attrs={"CrowdedNSGAIISampler:generation": 0},
                values=[number, number] if number < 4 else [number - 6, number + 9],
            )
        )  # fmt: skip
    good = [value < 4 for _ in range(60) for value in study.ask(kinds).params.values()]
    assert sum(good) / len(good) > 0.65  # a tournament of two; 0.5 without


@pytest.mark.parametrize("name", ["mutation_prob", "crossover_prob", "swapping_prob"])
def test_probabilities_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match="must be 0 to 1"):
        CrowdedNSGAIISampler(**{name: 1.5})

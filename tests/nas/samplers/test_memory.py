"""Studies in memory and the quick way to ask a sampler: what samplers see and propose is what Optuna's own give."""

import copy
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, distribution_to_json, json_to_distribution
from optuna.distributions import CategoricalDistribution as Optunas
from optuna.samplers import BaseSampler, RandomSampler
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState

from nas.goals.objectives import parse_objectives
from nas.samplers import make_sampler
from nas.samplers.memory import TrialMemory, distribution_of
from nas.samplers.proposer import Proposer, labels_of
from nas.samplers.uniform import UniformSampler
from tests.nas.table_space import Words

SPACE: Any = Words(5, 3)  # has what is needed of a space
OBJECTIVES = parse_objectives(("top1", "macs"))


class TestStorage(StorageTestCase):
    """The laws of every storage of Optuna."""

    @pytest.fixture
    def storage(self) -> TrialMemory:
        return TrialMemory()


def told(number: int, genes: tuple[int, ...]) -> tuple[tuple[float, float], float]:
    """Values that favour some genes, and a violation of some proposals."""
    return (sum(genes) / 15 + number % 7 / 70, float(sum(genes))), float(sum(genes) - 7)


def by_optuna(sampler: BaseSampler, starts: list[tuple[int, ...]], count: int) -> list[tuple[int, ...]]:
    """The proposals of a sampler that Optuna's own `Study.ask` and plain storage drive."""
    labels = labels_of(SPACE)
    kinds: dict[str, BaseDistribution] = {name: Optunas(choices) for name, choices in labels.items()}
    study = optuna.create_study(directions=[objective.direction for objective in OBJECTIVES], sampler=sampler)
    for genes in starts:
        study.enqueue_trial({name: choices[i] for (name, choices), i in zip(labels.items(), genes, strict=True)})
    found = []
    for number in range(count):
        trial = study.ask(kinds)
        if number < len(starts) and isinstance(sampler, optuna.samplers.BaseGASampler):
            _ = trial.relative_params
        genes = tuple(labels[name].index(value) for name, value in trial.params.items())
        values, violation = told(number, genes)
        trial.set_constraint("macs", violation)
        study.tell(trial, state=TrialState.PRUNED) if violation > 0 else study.tell(trial, values)
        found.append(genes)
    return found


@pytest.mark.parametrize("name", ["random", "nsga2", "nsga3", "tpe", "evolution"])
@pytest.mark.parametrize("starts", [[], [(0, 1, 2, 0, 1), (1, 1, 1, 1, 1)]])
def test_proposals_are_those_of_optunas_own_loop(name: str, starts: list[tuple[int, ...]]) -> None:
    proposer = Proposer(SPACE, name, make_sampler(name, seed=3, population=8), OBJECTIVES, ("macs",))
    for genes in starts:
        proposer.enqueue(genes)
    found = []
    for number in range(40):
        trial, genes = proposer.ask()
        values, violation = told(number, genes)
        if violation > 0:
            proposer.refuse(trial, {"macs": violation})
        else:
            proposer.tell(trial, values, {"macs": violation})
        found.append(genes)
    plain = RandomSampler(3) if name == "random" else make_sampler(name, seed=3, population=8)
    assert found == by_optuna(plain, starts, 40)


@pytest.mark.parametrize("together", [True, False])
def test_uniform_draws_are_those_of_optuna(together: bool) -> None:
    kinds: dict[str, BaseDistribution] = {
        "a": Optunas([1, 2, 3]),
        "b": Optunas(["x", "y"]),
        "c": Optunas([None, True, 0.5, "z"]),
    }
    one = optuna.create_study(sampler=UniformSampler(search_space=kinds if together else None, seed=9))
    other = optuna.create_study(sampler=RandomSampler(9))
    assert [one.ask(kinds).params for _ in range(50)] == [other.ask(kinds).params for _ in range(50)]


def test_uniform_leaves_other_parameters_to_optuna() -> None:
    kinds: dict[str, BaseDistribution] = {"a": Optunas([1, 2, 3]), "x": FloatDistribution(0, 1)}
    one = optuna.create_study(sampler=UniformSampler(search_space=kinds, seed=9))
    other = optuna.create_study(sampler=RandomSampler(9))
    assert [one.ask(kinds).params for _ in range(9)] == [other.ask(kinds).params for _ in range(9)]


def test_a_distribution_is_that_of_optuna() -> None:
    one, plain = distribution_of(["a", "b"]), Optunas(["a", "b"])
    assert one is distribution_of(["a", "b"])
    assert one == plain
    assert plain == one
    assert hash(one) == hash(plain)
    assert repr(one) == repr(plain)
    assert one != distribution_of(["a", "c"])
    assert distribution_of([1, 2]) is not distribution_of([True, 2.0])
    assert copy.deepcopy({"x": one})["x"] is one
    assert json_to_distribution(distribution_to_json(one)) == one


def test_trials_that_were_handed_out_do_not_change() -> None:
    memory = TrialMemory()
    study = optuna.create_study(storage=memory)
    kinds = {name: distribution_of([1, 2]) for name in "abc"}
    number = study.ask()._trial_id
    before = memory.get_trial(number)
    memory.set_trial_params(number, {"a": 1}, kinds)
    listed = memory.get_all_trials(0, deepcopy=False)[0]
    memory.set_trial_params(number, {"b": 2}, kinds)
    after = memory.get_trial(number)
    memory.set_trial_params(number, {"c": 2}, kinds)
    assert (before.params, listed.params, after.params) == ({}, {"a": 1}, {"a": 1, "b": 2})
    assert memory.get_trial(number).params == {"a": 1, "b": 2, "c": 2}
    with pytest.raises(ValueError, match="dynamic value space"):
        memory.set_trial_params(study.ask()._trial_id, {"a": 3}, {"a": distribution_of([3, 4])})


class _Invents(RandomSampler):
    """Gives a parameter that it does not say it has."""

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {"nobody": 1}


def test_a_parameter_out_of_nowhere_is_refused() -> None:
    with pytest.raises(Exception, match="sample_relative gives nobody"):
        Proposer(SPACE, "own", _Invents(1), OBJECTIVES).ask()

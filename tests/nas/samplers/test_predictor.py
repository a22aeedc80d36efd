"""The predictor: Optuna's own tests of samplers, and what it promises of known costs, constraints, identities and replays."""

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase
from threadpoolctl import threadpool_info, threadpool_limits

import nas.samplers.candidates
import nas.samplers.predictor
from nas.samplers.additive import AdditiveSampler
from nas.samplers.hypervolume import expected_gains
from nas.samplers.informed import InformedSampler
from nas.samplers.predictor import PredictorSampler

OPERATORS, SIZES = ("conv", "attention", "pool"), (1, 2, 4)
SPACE: dict[str, BaseDistribution] = {
    **{f"operator{i}": CategoricalDistribution(OPERATORS) for i in range(3)},
    **{f"size{i}": CategoricalDistribution(SIZES) for i in range(3)},
}
KINDS = pytest.mark.parametrize("kind", [PredictorSampler, AdditiveSampler])


class TestOptunasTests(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: PredictorSampler(n_startup_trials=2, seed=0)


@pytest.mark.slow
class TestOptunasTestsOfTheBaseline(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: AdditiveSampler(n_startup_trials=2, seed=0)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def quality(params: Mapping[str, Any]) -> float:
    """Saturates with size; attention pays where it is large, pooling fails twice in a row."""
    found = sum(np.log2(1 + params[f"size{i}"]) for i in range(3))
    found += sum(0.4 * params[f"size{i}"] * (params[f"operator{i}"] == "attention") for i in range(3))
    return found - 5 * (params["operator0"] == params["operator1"] == "pool")


def cost(params: Mapping[str, Any]) -> float:
    weight = {"conv": 2.0, "attention": 3.0, "pool": 1.0}
    return 5 + sum(params[f"size{i}"] * weight[params[f"operator{i}"]] for i in range(3))


def canonical(params: Mapping[str, Any]) -> tuple[Any, ...]:
    """The last block's size does not matter where it pools."""
    fixed = {**params, "size2": 1} if params["operator2"] == "pool" else params
    return tuple(sorted(fixed.items()))


def searched(
    sampler: InformedSampler, trials: int, limit: float | None = None, running: int = 0
) -> tuple[optuna.Study, list[dict[str, Any]]]:
    """A study of quality and cost, in which so many trials are running whenever another is asked."""
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    open_, found = [], []
    for _ in range(trials):
        trial = study.ask(SPACE)
        found.append(trial.params)
        open_.append(trial)
        if len(open_) > running:
            done = open_.pop(0)
            if limit is not None:
                done.set_constraint("cost", cost(done.params) - limit)
            study.tell(done, (quality(done.params), cost(done.params)))
    return study, found


@KINDS
@pytest.mark.parametrize("every", [8192, 10])
def test_nothing_twice_and_nothing_that_is_known_to_be_infeasible(
    kind: type[InformedSampler], every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first trial to the last, with trials running, with rows listed and with rows evolved."""
    monkeypatch.setattr(nas.samplers.candidates, "EVERY", every)
    sampler = kind(
        known={1: cost}, constraints={"cost": lambda params: cost(params) - 14}, identity=canonical,
        search_space=SPACE, n_startup_trials=6, seed=1,
    )  # fmt: skip
    _, found = searched(sampler, 40, limit=14, running=3)
    assert max(map(cost, found)) <= 14
    assert len({canonical(params) for params in found}) == 40


@KINDS
def test_candidates_are_proposed_before_anything_else(kind: type[InformedSampler]) -> None:
    """20 of 729, of which some are the same to `identity` and some over the limit; where the parameters are others, none is used."""
    rng = np.random.default_rng(0)
    some = [{name: values.choices[rng.integers(3)] for name, values in SPACE.items()} for _ in range(20)]
    some.append({**some[0], "operator2": "pool", "size2": 2})
    some.append({**some[0], "operator2": "pool", "size2": 4})
    inside = {canonical(params) for params in some if cost(params) <= 18}
    assert 4 < len(inside) < 19
    sampler = kind(
        known={1: cost}, constraints={"cost": lambda params: cost(params) - 18}, identity=canonical,
        search_space=SPACE, candidates=some, n_startup_trials=4, seed=1,
    )  # fmt: skip
    _, found = searched(sampler, len(inside), limit=18)
    assert {canonical(params) for params in found} == inside
    other = optuna.create_study(sampler=kind(candidates=some, n_startup_trials=2, seed=1))
    space = {"another": CategoricalDistribution(OPERATORS)}
    for _ in range(3):
        other.tell(other.ask(space), 0.0)
    assert {trial.params["another"] for trial in other.trials} == set(OPERATORS)


@KINDS
def test_a_space_that_is_exhausted_is_repeated(kind: type[InformedSampler]) -> None:
    space = {name: SPACE[name] for name in ("operator0", "size0")}
    study = optuna.create_study(sampler=kind(search_space=space, n_startup_trials=3, seed=0))
    found = []
    for _ in range(12):
        trial = study.ask(space)
        found.append(tuple(trial.params.values()))
        study.tell(trial, float(trial.params["size0"]))
    assert len(set(found[:9])) == 9
    assert set(found[9:]) <= set(found[:9])


@KINDS
@pytest.mark.parametrize("running", [0, 4])
def test_proposals_follow_from_the_study_alone(kind: type[InformedSampler], running: int) -> None:
    """A new sampler on a copy of the study, running trials included, proposes what the old one does."""

    def make() -> InformedSampler:
        return kind(known={1: cost}, search_space=SPACE, n_startup_trials=5, seed=3)

    study, _ = searched(make(), 24, running=running)
    copy = optuna.create_study(directions=["maximize", "minimize"], sampler=make())
    copy.add_trials(study.get_trials())
    for _ in range(3):
        one, other = study.ask(SPACE), copy.ask(SPACE)
        assert one.params == other.params
        for each, trial in ((study, one), (copy, other)):
            each.tell(trial, (quality(trial.params), cost(trial.params)))


def test_results_that_come_out_of_order_are_learned_in_order() -> None:
    """The order in which running trials end does not matter once they have."""

    def asked(order: Sequence[int]) -> dict[str, Any]:
        sampler = PredictorSampler(known={1: cost}, search_space=SPACE, n_startup_trials=5, seed=3)
        study, _ = searched(sampler, 15)
        trials = [study.ask(SPACE) for _ in range(3)]
        for number in order:
            study.tell(trials[number], (quality(trials[number].params), cost(trials[number].params)))
            study.sampler.sample_relative(study, study.get_trials(deepcopy=False)[0], SPACE)  # which the model sees
        return study.ask(SPACE).params

    assert asked([0, 1, 2]) == asked([2, 0, 1])


def test_a_pickled_sampler_resumes() -> None:
    study, _ = searched(PredictorSampler(known={1: cost}, search_space=SPACE, n_startup_trials=4, seed=0), 12)
    kept = pickle.loads(pickle.dumps(study.sampler))
    expected = study.ask(SPACE)
    study.tell(expected, state=optuna.trial.TrialState.FAIL)
    row = kept.sample_relative(study, study.get_trials()[expected.number], dict(sorted(SPACE.items())))
    assert row == expected.params


def test_it_finds_the_front_that_random_search_does_not() -> None:
    """Of 729 networks; 60 are evaluated. Hypervolume above quality 0 and below cost 45, over that of all."""
    names = list(SPACE)
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 6), -1).reshape(-1, 6)
    every = [{n: SPACE[n].choices[i] for n, i in zip(names, word, strict=True)} for word in grid]

    def volume(some: Sequence[Mapping[str, Any]]) -> float:
        area, best = 0.0, 0.0
        for price, value in sorted((cost(params), -quality(params)) for params in some):
            if -value > best:
                area, best = area + (45 - price) * (-value - best), -value
        return area

    shares = {}
    for name, sampler in {
        "predictor": PredictorSampler(known={1: cost}, search_space=SPACE, n_startup_trials=15, seed=5),
        "random": optuna.samplers.RandomSampler(seed=5),
    }.items():
        study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        for _ in range(60):
            trial = study.ask(SPACE)
            study.tell(trial, (quality(trial.params), cost(trial.params)))
        shares[name] = volume([trial.params for trial in study.trials]) / volume(every)
    assert shares["predictor"] > 0.99 > 0.95 > shares["random"]


def test_a_constraint_that_only_trials_know_is_learned() -> None:
    study, found = searched(
        PredictorSampler(known={1: cost}, search_space=SPACE, n_startup_trials=15, seed=0), 40, limit=14
    )
    assert study.trials[0].constraints
    at_first, later = ([cost(params) <= 14 for params in some] for some in (found[:15], found[15:]))
    assert np.mean(later) > 0.8 > np.mean(at_first)


@pytest.mark.parametrize("objectives", [1, 3, 4])
@pytest.mark.parametrize("known", [{}, {0: cost}])
def test_any_number_of_objectives(objectives: int, known: dict[int, Callable[[Mapping[str, Any]], float]]) -> None:
    """Minimised, some known, none repeated; and the sum of all is better on average than in the first trials, which learn nothing."""
    sampler = PredictorSampler(known=known, search_space=SPACE, n_startup_trials=8, seed=2)
    study = optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)

    def objective(trial: optuna.Trial) -> list[float]:
        params = {name: trial.suggest_categorical(name, SPACE[name].choices) for name in SPACE}
        return [cost(params), -quality(params), *(float(params[f"size{i}"]) for i in range(2))][:objectives]

    study.optimize(objective, n_trials=24)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 24
    first, later = ([sum(trial.values) for trial in some] for some in (study.trials[:8], study.trials[8:]))
    assert np.mean(later) < np.mean(first)


def test_numbers_of_all_kinds_are_optimised() -> None:
    """A float, a logarithmic one, a stepped one, an integer and a large logarithmic integer: closer than 8 random draws a parameter."""
    space = {
        "a": FloatDistribution(-2, 2), "b": FloatDistribution(1e-6, 1, log=True), "c": FloatDistribution(0, 2, step=0.25),
        "d": IntDistribution(-5, 9, step=2), "e": IntDistribution(1, 10**9, log=True),
    }  # fmt: skip
    study = optuna.create_study(sampler=PredictorSampler(search_space=space, n_startup_trials=12, seed=1))
    for _ in range(60):
        trial = study.ask(space)
        p = trial.params
        loss = (p["a"] - 1) ** 2 + (np.log10(p["b"]) + 3) ** 2 + (p["c"] - 1) ** 2 + (p["d"] - 3) ** 2 / 9
        study.tell(trial, loss + (np.log10(p["e"]) - 4) ** 2 / 4)
    assert min(trial.value for trial in study.trials[12:]) < 0.25 < min(trial.value for trial in study.trials[:12])


@KINDS
def test_failed_trials_and_several_jobs(kind: type[InformedSampler]) -> None:
    study = optuna.create_study(sampler=kind(n_startup_trials=4, seed=0))

    def objective(trial: optuna.Trial) -> float:
        params = {name: trial.suggest_categorical(name, SPACE[name].choices) for name in SPACE}
        if trial.number % 5 == 3:
            raise optuna.TrialPruned
        return float("inf") if trial.number == 7 else cost(params)

    study.optimize(objective, n_trials=25, n_jobs=2)
    states = [trial.state for trial in study.trials]
    assert states.count(optuna.trial.TrialState.COMPLETE) == 20


@KINDS
def test_a_number_out_of_range(kind: type[InformedSampler]) -> None:
    with pytest.raises(ValueError, match="must be 2 or more"):
        kind(n_startup_trials=1)


@KINDS
def test_a_constraint_that_nothing_keeps(kind: type[InformedSampler]) -> None:
    """What comes nearest is proposed."""
    sampler = kind(known={1: cost}, constraints={"cost": lambda params: cost(params) - 1}, search_space=SPACE, seed=0, n_startup_trials=2)  # fmt: skip
    _, found = searched(sampler, 6, limit=1)
    assert {cost(params) for params in found} == {8.0}


def test_one_thread_of_linear_algebra(monkeypatch: pytest.MonkeyPatch) -> None:
    """With several, most of them wait at full load, and the last bits of sums differ from machine to machine, and then proposals."""
    seen = set()

    def watched(*given: Any) -> Any:
        seen.update(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")
        return expected_gains(*given)

    monkeypatch.setattr(nas.samplers.predictor, "expected_gains", watched)
    study = optuna.create_study(sampler=PredictorSampler(n_startup_trials=2, seed=0))
    with threadpool_limits(2, user_api="blas"):
        study.optimize(lambda trial: trial.suggest_int("x", 0, 9), n_trials=4)
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {2}
    assert seen == {1}

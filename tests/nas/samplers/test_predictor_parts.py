"""What the predictor and the additive baseline are made of, each compared with a slower way that is plainly right."""

import itertools

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nas.samplers.additive import AdditiveSampler
from nas.samplers.encoding import Column, Encoding
from nas.samplers.facts import Facts
from nas.samplers.gaussian_process import Kernel, Posterior, fit
from nas.samplers.hypervolume import Guess, Objective, Scale, expected_gains, undominated

MIXED: dict[str, BaseDistribution] = {
    "operator": CategoricalDistribution(("a", "b", "c")),
    "size": CategoricalDistribution((1, 2, 4, 8)),
    "count": IntDistribution(1, 100, log=True),
    "rate": FloatDistribution(1e-3, 1, log=True),
    "step": FloatDistribution(0, 1, step=0.25),
}


@pytest.mark.parametrize(
    ("choices", "ordered"),
    [((1, 2, 4), True), ((0.5, 1), True), ((4, 2, 1), False), ((1, 1), False), (("1", "2"), False), ((False, True), False), ((1, None), False)],
)  # fmt: skip
def test_choices_have_an_order_where_they_are_numbers_that_increase(choices: tuple, ordered: bool) -> None:
    assert Column("x", CategoricalDistribution(choices)).ordered is ordered


def test_rows_stand_for_parameters_and_back() -> None:
    encoding = Encoding(MIXED)
    rng = np.random.default_rng(0)
    rows = np.concatenate((encoding.draw(rng, 200), encoding.mutate(rng, encoding.draw(rng, 200))))
    table = encoding.table(rows)
    for i, row in enumerate(rows):
        params = encoding.decode(row)
        for name, kind in MIXED.items():
            assert kind._contains(kind.to_internal_repr(params[name]))
            same = kind.to_internal_repr(params[name]) if isinstance(kind, CategoricalDistribution) else params[name]
            assert table[name][i] == pytest.approx(same)
        assert encoding.encode(params) == pytest.approx(row, abs=1e-9)
    positions = encoding.positions(rows)
    assert positions[:, 1:].min() >= 0
    assert positions[:, 1:].max() <= 1


def test_a_mutation_changes_something_and_neighbours_one_thing() -> None:
    encoding = Encoding(MIXED)
    rng = np.random.default_rng(1)
    rows = encoding.draw(rng, 300)
    assert (encoding.mutate(rng, rows) != rows).any(axis=1).all()
    near = encoding.neighbours(rng, rows[0])
    assert ((near != rows[0]).sum(axis=1) <= 1).all()
    few = near[(near[:, :2] != rows[0, :2]).any(axis=1)]
    assert len(few) == 2 + 3


def test_of_many_neighbours_some_random_ones_are_taken() -> None:
    """Each at most once where values are listed, and every parameter's in turn; no random number is drawn where none is needed."""
    encoding = Encoding({f"p{i}": CategoricalDistribution(tuple("abcd")) for i in range(30)})
    rng = np.random.default_rng(1)
    row = encoding.draw(rng, 1)[0]
    whole = {near.tobytes() for near in encoding.neighbours(rng, row)}
    assert len(whole) == 90
    before = rng.bit_generator.state
    assert len(encoding.neighbours(rng, row, 90)) == 90
    assert rng.bit_generator.state == before
    seen: set[bytes] = set()
    for _ in range(40):
        some = [near.tobytes() for near in encoding.neighbours(rng, row, 20)]
        assert len(set(some)) == len(some) == 20
        seen |= set(some)
    assert seen == whole


def problem(n: int) -> tuple[Kernel, np.ndarray, np.ndarray]:
    encoding = Encoding(MIXED)
    rows = encoding.draw(np.random.default_rng(2), n)
    values = (rows[:, 0] == 1) + np.log1p(rows[:, 1]) + rows[:, 3] + 0.05 * np.random.default_rng(3).normal(size=n)
    return Kernel(encoding), rows, values - values.mean()


def test_the_covariance_is_the_sum_of_the_terms() -> None:
    """Of more parameters of the kernel in turn than it keeps the distances of, each twice."""
    kernel, rows, _ = problem(12)
    one, other = kernel.points(rows[:5], rows[:5, 3:4]), kernel.points(rows[5:], rows[5:, 3:4])
    rng = np.random.default_rng(5)
    thetas = rng.normal(size=(12, len(kernel.terms) + 2)) - 1
    for theta in (*thetas, *thetas):
        total = np.zeros((5, 7))
        for weight, (i, square) in zip(np.exp(theta), kernel.terms, strict=False):
            difference = one.positions[:, i, None] - other.positions[:, i]
            total += weight * (difference**2 if square else difference != 0)
        expected = np.exp(-total) + np.exp(theta[-1]) * one.features @ other.features.T + 3
        assert kernel.covariance(theta, one, other) == pytest.approx(expected)


@pytest.mark.parametrize("limit", [50, 90, 101])
def test_a_constraint_is_a_feature_by_its_cost_whether_or_not_rows_are_over_the_limit(limit: float) -> None:
    costs = np.arange(10.0, 101.0, 5.0)
    encoding = Encoding({"cost": IntDistribution(0, len(costs) - 1)})
    rows = np.arange(len(costs), dtype=float)[:, None]
    facts = Facts(encoding, [], [lambda params: costs[params["cost"]] / limit - 1])
    values, limits = facts.of(rows)
    facts.settle(values, limits)
    logarithms = np.log(costs)
    expected = (logarithms - logarithms.mean()) / logarithms.std()
    assert facts.features(values, limits)[:, 0] == pytest.approx(expected)


def test_rank_one_updates_are_the_posterior_of_all_values() -> None:
    kernel, rows, values = problem(60)
    points, pool = kernel.points(rows[:40], rows[:40, 3:4]), kernel.points(rows[40:], rows[40:, 3:4])
    theta = fit(kernel, points, values[:40])
    later = Posterior.base(kernel, theta, points.take(slice(0, 30)), values[:30], pool)
    for i in range(30, 40):
        later = later.given(points.take(slice(i, i + 1)), float(values[i]))
    whole = Posterior.base(kernel, theta, points, values[:40], pool)
    assert later.mean == pytest.approx(whole.mean, abs=1e-6)
    assert later.deviation == pytest.approx(whole.deviation, rel=1e-4, abs=1e-6)
    for posterior in (later, whole):
        mean, deviation = posterior.at(pool)
        assert mean == pytest.approx(whole.mean, abs=1e-6)
        assert deviation == pytest.approx(whole.deviation, rel=1e-4, abs=1e-6)
        assert values[:40] - posterior.residual() == pytest.approx(posterior.at(points)[0], abs=1e-6)


def test_an_awaited_value_moves_no_mean_and_takes_deviation_away() -> None:
    kernel, rows, values = problem(30)
    points = kernel.points(rows, np.zeros((30, 0)))
    before = Posterior.base(kernel, fit(kernel, points, values), points.take(slice(0, 29)), values[:29], points)
    after = before.given(points.take(slice(29, 30)), None)
    assert after.mean == pytest.approx(before.mean, abs=1e-12)
    assert after.deviation[29] < 0.7 * before.deviation[29]
    assert (after.deviation <= before.deviation + 1e-9).all()


def test_a_process_predicts_what_it_has_not_seen_and_finds_what_matters() -> None:
    kernel, rows, values = problem(160)
    points = kernel.points(rows, np.zeros((160, 0)))
    theta = fit(kernel, points.take(slice(0, 80)), values[:80])
    posterior = Posterior.base(kernel, theta, points.take(slice(0, 80)), values[:80], points.take(slice(80, 160)))
    errors = values[80:] - posterior.mean
    assert np.corrcoef(posterior.mean, values[80:])[0, 1] > 0.95
    assert 0.5 < np.mean(np.abs(errors) < 2 * np.hypot(posterior.deviation, 0.05)) <= 1
    by_column = {column: max(theta[t] for t, (at, _) in enumerate(kernel.terms) if at == column) for column in range(5)}
    assert min(by_column[0], by_column[1], by_column[3]) > max(by_column[2], by_column[4])


def test_the_logarithmic_scale_and_its_expectation() -> None:
    values = np.array([1.0, 5.0, 8.0, 9.0, 10.0])
    scale = Scale.over(values)
    assert scale.back(scale.to(values)) == pytest.approx(values)
    mean, deviation, heights = np.array([-0.5, 0.1]), np.array([0.3, 0.8]), np.array([4.0, 9.5, 11.0])
    draws = scale.back(mean[:, None] + deviation[:, None] * np.random.default_rng(0).normal(size=(2, 400_000)))
    for height, expected in zip(heights, scale.expected_above(mean, deviation, heights).T, strict=True):
        assert np.maximum(draws - height, 0).mean(axis=1) == pytest.approx(expected, rel=0.02, abs=1e-3)


def volume(points: np.ndarray, reference: np.ndarray) -> float:
    """Hypervolume by counting the cells of the grid of all coordinates."""
    axes = [np.unique(np.append(points[:, i], reference[i])) for i in range(len(reference))]
    total = 0.0
    for cell in itertools.product(*(range(len(axis) - 1) for axis in axes)):
        low, high = (np.array([axis[i + d] for axis, i in zip(axes, cell, strict=True)]) for d in (0, 1))
        if (low >= reference).all() and (points >= high).all(axis=1).any():
            total += float(np.prod(high - low))
    return total


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_gains_are_those_of_the_hypervolume(objectives: int) -> None:
    """With deviations next to nothing a guess is a value, and the gain is a difference of two hypervolumes."""
    rng = np.random.default_rng(objectives)
    values = rng.random((12, objectives))
    front = values[:6][undominated(values[:6])]
    reference = np.zeros(objectives)
    expected = np.array([volume(np.vstack((front, one)), reference) - volume(front, reference) for one in values[6:]])
    scale = Scale(1.0, 2.0)
    guess = Guess(scale, scale.to(values[6:, 0]), np.full(6, 1e-6))
    known: list[Objective] = [values[6:, i] for i in range(1, objectives)]
    found = expected_gains([guess, *known], front, reference, np.random.default_rng(0))
    if objectives < 3:
        assert found == pytest.approx(expected, abs=1e-5)
    else:  # of points that stand for the volume: in proportion
        kept = expected > 0.3 * expected.max()
        assert found[kept] / found.max() == pytest.approx(expected[kept] / expected.max(), abs=0.15)
        assert (found[expected == 0] == 0).all()


def test_points_and_strips_agree() -> None:
    rng = np.random.default_rng(4)
    front = np.array([[0.2, 0.9], [0.6, 0.5], [0.8, 0.1]])
    guess = Guess(Scale(1.0, 2.0), rng.uniform(-0.5, 0.2, 8), np.full(8, 0.2))
    known = rng.random(8)
    strips = expected_gains([guess, known], front, np.zeros(2), rng)
    points = expected_gains([guess, known, np.ones(8)], np.column_stack((front, np.ones(3))), np.zeros(3), rng)
    assert points / points.max() == pytest.approx(strips / strips.max(), abs=0.12)


def test_of_equal_points_one_is_kept() -> None:
    assert undominated(np.array([[1, 2], [2, 1], [1, 2], [0, 2], [1, 1]])).tolist() == [True, True, False, False, False]


def test_the_additive_baseline_finds_the_front_of_sums_without_fail() -> None:
    """Quality and cost are sums over 6 parameters of 3 values: from few trials, all 18 that follow are of the front or beside it."""
    rng = np.random.default_rng(7)
    gains, costs = rng.random((6, 3)), rng.integers(1, 20, (6, 3)).astype(float)
    space: dict[str, BaseDistribution] = {f"x{i}": CategoricalDistribution(("a", "b", "c")) for i in range(6)}

    def sums(params: dict[str, str], table: np.ndarray) -> float:
        return float(sum(table[i]["abc".index(params[f"x{i}"])] for i in range(6)))

    sampler = AdditiveSampler(
        known={1: lambda params: sums(dict(params), costs)}, search_space=space, n_startup_trials=25, seed=0
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for _ in range(43):
        trial = study.ask(space)
        study.tell(trial, (sums(trial.params, gains), sums(trial.params, costs)))
    every = [dict(zip(space, word, strict=True)) for word in itertools.product("abc", repeat=6)]
    points = np.array([[sums(params, gains), -sums(params, costs)] for params in every])
    later = np.array([[trial.values[0], -trial.values[1]] for trial in study.trials[25:]])
    beyond = [(points[points[:, 1] >= price][:, 0].max() - value) for value, price in later]
    assert np.median(beyond) < 0.03 * np.ptp(points[:, 0])
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 43

"""Racing: estimates with errors that hold, decisions that depend on nothing but what was known, and no network lost that could win."""

import json
import pickle
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from nas.goals.pareto import front
from nas.searching.racing import (
    BEST,
    FINE,
    LATEST,
    PRECISION,
    WARM_UP,
    Contest,
    Outcome,
    Race,
    Rival,
    Z,
    contested_first,
    looks,
    predicted,
)

IMAGES, BATCH = 2400, 100


class Population:
    """Networks of one supernet as they are on real images: most images are easy for all, some hopeless, and a part contested.

    A network has a quality of its own, which moves its log-odds on all images, and noise on each image.
    """

    def __init__(self, seed: int, networks: int, images: int = IMAGES) -> None:
        draw = np.random.default_rng(seed)
        ease = draw.normal(5.0, 4.0, images)
        quality = draw.normal(0.0, 0.25, networks)
        odds = ease + quality[:, None] + draw.normal(0.0, 0.8, (networks, images))
        self.outcomes = [Outcome(row > 0, np.logaddexp(0, -row).astype(np.float32)) for row in odds]
        self.top1 = [float(outcome.hits.mean()) for outcome in self.outcomes]
        self.loss = [float(outcome.losses.mean(dtype=np.float64)) for outcome in self.outcomes]
        self.costs = [float(cost) for cost in draw.uniform(1, 2, networks)]

    def verdict(self, index: int, race: Race | None) -> tuple[float, int, str]:
        """Top-1, images and rival of a network in a race."""
        if race is not None:
            outcome = self.outcomes[index]
            for seen in race.looks:
                first = race.order[:seen]
                found = race.verdict(seen, float(outcome.hits[first].sum()), float(outcome.losses[first].sum()))
                if found is not None:
                    return found.top1, found.images, found.against
        return self.top1[index], IMAGES, ""

    def add(self, contest: Contest, index: int, sampler: str = "one") -> None:
        rival = Rival(sampler, str(index), self.top1[index], self.loss[index])
        contest.add(rival, [self.costs[index]], self.outcomes[index])


def raced(population: Population, scores: tuple[str, ...] = ("top1",), batch: int = 4) -> list[tuple[float, int, str]]:
    """All networks of a population in batches, each compared with what was known before its batch."""
    contest, found = Contest(IMAGES, BATCH, scores), []
    for start in range(0, len(population.top1), batch):
        some = range(start, min(start + batch, len(population.top1)))
        races = [contest.race("one", [population.costs[index]]) for index in some]
        for index, race in zip(some, races, strict=True):
            found.append(population.verdict(index, race))
            if not found[-1][2]:
                population.add(contest, index)
    return found


def test_hopeless_candidates_are_dropped_and_none_that_could_win() -> None:
    """Over 20 searches: nobody on the Pareto front is dropped, at most 1 of 100 drops is wrong, and the order stays."""
    drops = wrong = seen = total = 0
    taus = []
    for seed in range(20):
        population = Population(seed, 80)
        found = raced(population)
        for index, (top1, images, against) in enumerate(found):
            seen, total = seen + images, total + IMAGES
            if not against:
                assert (top1, images) == (population.top1[index], IMAGES)
                continue
            drops += 1
            rival = int(against)
            assert rival < index // 4 * 4
            assert population.costs[rival] <= population.costs[index]
            wrong += population.top1[rival] < population.top1[index]  # an equal one that costs less dominates too
            assert IMAGES / 8 <= images <= LATEST * IMAGES
        points = [(-top1, cost) for top1, cost in zip(population.top1, population.costs, strict=True)]
        assert not any(found[index][2] for index in front(points))
        taus.append(cast(Any, kendalltau(population.top1, [top1 for top1, _, _ in found])).statistic)
    assert drops > 20 * 80 * 0.4
    assert wrong <= 0.01 * drops
    assert seen < 0.75 * total
    assert np.mean(taus) >= 0.97


def test_errors_hold() -> None:
    """The estimate less the truth, in standard errors, is spread as a prediction from 40 networks should be."""
    z = []
    for seed, at in ((0, 300), (1, 400), (2, 500)):
        population = Population(seed, 240)
        order = contested_first(population.outcomes[:WARM_UP])
        first, rest = order[:at], order[at:]
        seen = np.array([(o.hits[first].sum(), o.losses[first].sum()) for o in population.outcomes], dtype=float)
        totals = np.array([o.hits[rest].sum() for o in population.outcomes], dtype=float)
        for index in range(40, 240):
            value, error = predicted(seen[index - 40 : index], totals[index - 40 : index], seen[index])
            z.append((value - totals[index]) / error)
    assert 0.85 <= np.std(z) <= 1.15
    assert abs(np.mean(z)) <= 0.1
    assert np.mean(np.array(z) > Z) <= 0.015  # of a normal distribution .005
    assert np.mean(np.array(z) < -Z) <= 0.015


def test_regression_is_exact_where_all_is_linear() -> None:
    draw = np.random.default_rng(0)
    seen = draw.normal(0, 1, (50, 2))
    totals = 3 + seen @ np.array([2.0, -1.0])
    value, error = predicted(seen, totals, np.array([0.5, 0.25]))
    assert value == pytest.approx(3 + 1 - 0.25, abs=0.1)
    assert error < 0.1


def test_contested_images_come_first() -> None:
    population = Population(0, WARM_UP)
    order = contested_first(population.outcomes)
    assert sorted(order) == list(range(IMAGES))
    differ = np.stack([outcome.hits for outcome in population.outcomes]).astype(float).var(axis=0) > 0
    assert differ[order[: IMAGES // 4]].sum() > 0.95 * differ.sum()
    assert (contested_first(population.outcomes) == order).all()


@given(st.integers(1, 3000), st.integers(2, 512))
@settings(max_examples=50, deadline=None)
def test_looks_are_whole_batches(images: int, batch: int) -> None:
    for look in looks(images, batch):
        assert look % batch == 0
        assert images / 8 <= look <= LATEST * images


def contest_of(population: Population, count: int, scores: tuple[str, ...] = ("top1",)) -> Contest:
    contest = Contest(IMAGES, BATCH, scores)
    for index in range(count):
        population.add(contest, index)
    return contest


def test_nobody_races_before_the_warm_up() -> None:
    population = Population(1, WARM_UP)
    assert contest_of(population, WARM_UP - 1).race("one", [2.0]) is None
    assert contest_of(population, WARM_UP).race("one", [2.0]) is not None


def test_the_order_is_that_of_the_first_networks() -> None:
    population = Population(1, 20)
    few, many = (contest_of(population, count).order for count in (WARM_UP, 20))
    assert few is not None
    assert many is not None
    assert (few == many).all()


def test_rivals_cost_no_more_and_are_of_the_same_sampler() -> None:
    population = Population(2, 30)
    contest = contest_of(population, 25)
    for index in range(25, 30):
        population.add(contest, index, "other")
    for sampler, cost in (("one", 0.5), ("nobody", 2.0)):
        race = contest.race(sampler, [cost])
        assert race is not None
        assert (race.rivals, race.looks) == ((), ())
    for limit in sorted(population.costs):
        allowed = [i for i in range(25) if population.costs[i] <= limit]
        race = contest.race("one", [limit])
        assert race is not None
        assert [rival.digest for rival in race.rivals] == [str(max(allowed, key=lambda i: population.top1[i]))]


def test_with_two_scores_a_rival_is_better_in_both() -> None:
    population = Population(3, 60)
    found = raced(population, ("top1", "loss"))
    dropped = [(index, int(against)) for index, (_, _, against) in enumerate(found) if against]
    assert dropped
    for index, rival in dropped:
        assert population.top1[rival] >= population.top1[index]
        assert population.loss[rival] < population.loss[index]


def test_an_imprecise_estimate_drops_nobody() -> None:
    """However bad the candidate: with networks that have nothing in common, no order can be kept."""
    draw = np.random.default_rng(0)
    contest = Contest(IMAGES, BATCH, ("top1",))
    for index in range(40):
        hits = draw.random(IMAGES) < draw.uniform(0.85, 0.87)
        outcome = Outcome(hits, np.where(hits, 0.1, 2.0).astype(np.float32))
        contest.add(Rival("one", str(index), float(hits.mean()), 0.4), [1.0], outcome)
    race = contest.race("one", [1.0])
    assert race is not None
    spread = race.hits[:, -1].std(ddof=1)
    for look in race.looks:
        at = race.looks.index(look)
        seen = np.stack([race.hits[:, at], race.losses[:, at]], axis=1)
        _, error = predicted(seen, race.hits[:, -1] - race.hits[:, at], seen[0])
        assert error > PRECISION * spread
        assert race.verdict(look, 0.5 * look, 1.0 * look) is None


def test_a_race_is_the_same_in_another_process() -> None:
    population = Population(4, 60)
    race = contest_of(population, 40).race("one", [2.0])
    there = pickle.loads(pickle.dumps(race))
    for index in range(40, 60):
        assert population.verdict(index, there) == population.verdict(index, race)


def test_outcomes_are_written_exactly() -> None:
    for count in (1, 7, 8, 100):
        outcome = Population(5, 1, count).outcomes[0]
        found = Outcome.from_dict(json.loads(json.dumps(outcome.to_dict())))
        assert (found.hits == outcome.hits).all()
        assert (found.losses == outcome.losses).all()
        assert found.losses.dtype == np.float32


@pytest.mark.parametrize("change", [{"hits": "AA=="}, {"losses": "AAA="}, {"losses": "?"}, {"hits": 3}])
def test_what_is_no_outcome(change: dict[str, object]) -> None:
    line = Population(5, 1, 100).outcomes[0].to_dict()
    with pytest.raises((ValueError, TypeError)):
        Outcome.from_dict(line | change)


def test_images_without_an_order_are_raced_in_their_own() -> None:
    population = Population(6, 20)
    contest = Contest(IMAGES, BATCH, ("top1",), ordered=False)
    for index in range(20):
        population.add(contest, index)
    race = contest.race("one", [2.0])
    assert race is not None
    assert list(race.order) == list(range(IMAGES))


def known_race(margin: int, heads: dict[str, float]) -> Race:
    """A race of references that agree on all images after the first look, against one rival of 2,000 correct answers."""
    hits = np.array([[480.0 + index, 1980.0 + index] for index in range(40)])
    losses = np.array([[60.0 - index, 90.0 - index] for index in range(40)])
    rival = Rival("one", "rival", 2000 / IMAGES, 0.1, margin)
    return Race(np.arange(IMAGES), (600,), hits, losses, (rival,), ("top1",), Z, PRECISION, heads)


def test_an_equal_candidate_is_dropped_where_the_rival_costs_less() -> None:
    equal, better = (500.0, 40.0), (501.0, 39.0)
    found = known_race(1, {}).verdict(600, *equal)
    assert found is not None
    assert round(found.top1 * IMAGES) == 2000
    assert known_race(0, {}).verdict(600, *equal) is None
    assert known_race(1, {}).verdict(600, *better) is None


def test_margins_are_of_costs() -> None:
    population = Population(1, 20)
    contest = contest_of(population, 20)
    cheapest = min(range(20), key=lambda index: population.costs[index])
    for cost, margin in ((population.costs[cheapest], 0), (population.costs[cheapest] + 1e-9, 1)):
        race = contest.race("one", [cost])
        assert race is not None
        assert [rival.margin for rival in race.rivals] == [margin]


def test_the_best_by_score_need_a_finer_estimate() -> None:
    """The same candidate with the same error: dropped where it is far from the best ten, seen further where it is not."""
    draw = np.random.default_rng(0)
    race = known_race(1, {})
    spread = race.hits[:, -1].std(ddof=1)
    race.hits[:, -1] += draw.normal(0.0, (FINE + PRECISION) / 2 * spread, len(race.hits))
    candidate = (495.0, 45.0)
    assert race.verdict(600, *candidate) is not None
    near, far = (known_race(1, {"top1": 1995.0 + beyond}) for beyond in (0.0, 20.0))
    for other in (near, far):
        other.hits[:] = race.hits
    assert near.verdict(600, *candidate) is None
    assert far.verdict(600, *candidate) is not None


def test_the_head_is_that_of_the_ten_best() -> None:
    population = Population(1, 30)
    race = contest_of(population, 30).race("one", [3.0])
    assert race is not None
    assert race.heads["top1"] == sorted(outcome.hits.sum() for outcome in population.outcomes)[-BEST]

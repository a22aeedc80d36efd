"""What a progress line says of a running search is what the report says of it at the end."""

import math
import random

import pytest

from nas.budget import Budget
from nas.objectives import Objective, parse_objectives
from nas.pareto import hypervolume
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
from nas.roles import best_of, front_of
from nas.standing import Standing, box_of
from search_spaces.named import load_space
from search_spaces.space import SearchSpace


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return load_space("digits")


def evaluations_of(space: SearchSpace, count: int) -> list[Evaluation]:
    """Coarse numbers, so that some are equal; the first is a baseline."""
    rng, found = random.Random(0), []
    for n in range(count):
        arch = space.sample(rng)
        costs = {"macs": rng.randrange(1, 20) * 1000, "params": rng.randrange(1, 9)}
        origin = Origin(SAMPLER, rng.choice(("nsga2", "random"))) if n else Origin(BASELINE, "largest")
        found.append(
            Evaluation(
                n=n, origin=origin, trial=n, digest=arch.digest, architecture=arch, costs=costs,
                top1=rng.randrange(20) / 20, loss=rng.random() * 3, images=100,
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("names", [("top1", "macs"), ("loss", "macs", "params"), ("top1",)])
def test_it_is_the_front_of_all_that_was_added(names: tuple[str, ...], space: SearchSpace) -> None:
    objectives = parse_objectives(names)
    budget = Budget((("macs", 12_000.0),))
    evaluations = evaluations_of(space, 60)
    ends = box_of(objectives, budget, evaluations[0], 10)
    assert ends["macs"] == pytest.approx(13_200) if "macs" in names else "macs" not in ends
    standing = Standing(objectives, budget, ends)
    assert standing.shown() == {"front": 0}
    volumes = [0.0]
    for count, evaluation in enumerate(evaluations, 1):
        standing.add(evaluation)
        winners = eligible(evaluations[:count], budget, objectives)
        if not winners:
            continue
        front = front_of(winners, objectives)
        assert standing.front == len(front)
        best = best_of(winners, objectives)
        assert standing.best is not None
        assert (standing.best.digest, standing.best.n) == (best.digest, best.n)
        unit = [[_unit(o, o.of(e), ends) for o in objectives] for e in front]
        assert standing.hypervolume == pytest.approx(hypervolume(unit, [1.0] * len(objectives)))
        volumes.append(standing.hypervolume)
        shown = standing.shown()
        assert shown["front"] == len(front)
        assert ("hypervolume" in shown) == (len(names) > 1)
        assert shown[f"best {names[0]}"] == getattr(best, names[0])
        assert shown["at macs"] == best.costs["macs"]
    assert volumes == sorted(volumes)
    assert volumes[-1] > 0


def _unit(objective: Objective, value: float | None, ends: dict[str, float]) -> float:
    assert value is not None
    return 1 - value if objective.up else value / ends[objective.name]


def test_the_box_is_known_from_the_start(space: SearchSpace) -> None:
    """Without a limit, the largest network is its end."""
    largest = evaluations_of(space, 1)[0]
    objectives = parse_objectives(("loss", "macs", "latency_ms"))
    ends = box_of(objectives, Budget(()), largest, 10)
    assert ends == {"loss": math.log(10), "macs": 1.1 * largest.costs["macs"], "latency_ms": 1.0}
    assert Standing(objectives, Budget(()), ends).about().startswith("loss 0 to 2.303 by 0 to ")

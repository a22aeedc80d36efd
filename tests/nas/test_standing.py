"""What a progress line says of a running search is what the report says of it at the end."""

import math
import random
from dataclasses import replace

import pytest

from nas.goals.budget import Budget
from nas.goals.objectives import Objective, parse_objectives
from nas.goals.pareto import hypervolume
from nas.goals.roles import best_of, front_of
from nas.goals.standing import Standing, box_of
from nas.records import BASELINE, SAMPLER, Evaluation, Origin, eligible
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
    ends = box_of(objectives, budget, [evaluations[0].costs], 10)
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
    """Without a limit, the largest network is its end; of a measured cost, the largest that was measured."""
    largest = evaluations_of(space, 1)[0].costs
    objectives = parse_objectives(("loss", "macs", "latency_ms"))
    measured = [{"latency_ms": 2.0}, {"macs": 5.0, "latency_ms": 4.0}]
    ends = box_of(objectives, Budget(()), [largest, *measured], 10)
    assert ends == {"loss": math.log(10), "macs": 1.1 * largest["macs"], "latency_ms": 4.4}
    assert Standing(objectives, Budget(()), ends).about().startswith("loss 0 to 2.303 by 0 to ")


def test_a_cost_that_nothing_is_known_of_has_no_side(space: SearchSpace) -> None:
    """The front is of all objectives; its hypervolume is of the others."""
    evaluations = [
        replace(e, costs={**e.costs, "latency_ms": 1.0 + k}) for k, e in enumerate(evaluations_of(space, 20)[1:])
    ]
    objectives, budget = parse_objectives(("top1", "macs", "latency_ms")), Budget(())
    ends = box_of(objectives, budget, [{"macs": 20_000.0}], 10)
    assert set(ends) == {"top1", "macs"}
    standing = Standing(objectives, budget, ends)
    for evaluation in evaluations:
        standing.add(evaluation)
    assert standing.front == len(front_of(evaluations, objectives))
    unit = [(1 - e.top1, e.costs["macs"] / 22_000) for e in evaluations]
    assert standing.hypervolume == pytest.approx(hypervolume(unit, (1.0, 1.0)))
    assert standing.hypervolume > 0
    assert standing.about() == "top-1 0 to 1 by 0 to 22,000 MACs"


def test_an_end_has_no_digits_of_its_multiplication() -> None:
    objectives, budget = parse_objectives(("top1", "macs")), Budget((("macs", 1_500_000.0),))
    ends = box_of(objectives, budget, [], 10)
    assert ends["macs"] != 1_650_000
    assert Standing(objectives, budget, ends).about() == "top-1 0 to 1 by 0 to 1,650,000 MACs"

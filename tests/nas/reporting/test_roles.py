"""The roles of networks in a report: they are those of extraction, the best one is chosen by validation, and only what a sampler proposed may win."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from nas.goals.roles import best_of, front_of, roles_of, spread
from nas.records import BASELINE, SAMPLER, Origin, eligible
from nas.reporting import ROLES, SearchView
from tests.nas.reporting.made_searches import (
    architecture,
    costs_of,
    evaluation,
    reported,
    search_view,
    with_evaluations,
)
from tests.nas.reporting.pages import check_page, found_in, rows


@pytest.mark.parametrize("steps", [360, 20, 4])
@pytest.mark.parametrize("budget", ["2.5M", "600K", "none"])
def test_what_is_retrained_is_what_is_reported(budget: str, steps: int) -> None:
    """Extraction and the report ask the same functions for roles, also where many networks have the same top-1."""
    view = search_view(budget=budget, given=1)
    scores: dict[str, float] = {}  # a network that is proposed again has the same score
    tied = [replace(e, top1=scores.setdefault(e.digest, round(e.top1 * steps) / steps)) for e in view.evaluations]
    view = replace(view, evaluations=tied)
    roles = roles_of(view.evaluations, view.budget, view.objectives)
    networks = {network.digest: network.roles for network in found_in(view).networks}
    assert networks == roles
    allowed = eligible(view.evaluations, view.budget, view.objectives)
    front = front_of(allowed, view.objectives)
    assert [digest for digest, names in roles.items() if "front" in names] == [e.digest for e in front]
    for points in (1, 3, 100):
        chosen = spread(allowed, view.objectives, points)
        assert len(chosen) == min(points, len(front))
        assert best_of(allowed, view.objectives) in chosen
        assert {e.digest for e in chosen} <= {e.digest for e in front}


def test_only_what_a_sampler_proposed_may_win(tmp_path: Path) -> None:
    """A baseline or a given network that beats everything is beside the front; another sampler's network is on it."""
    rng = random.Random(5)
    arch = architecture(rng, ((1, 12), (1, 12), (1, 12)))
    for kind, name, role in ((BASELINE, "hand_designed", "hand_designed"), ("given", "a.json", "given")):
        view = search_view()
        perfect = evaluation(999, Origin(kind, name), 0, arch, rng, top1=1.0, loss=0.0)
        found = found_in(with_evaluations(view, perfect))
        assert next(n.roles for n in found.networks if n.digest == arch.digest) == (role,)
        proposed = replace(perfect, n=1000, origin=Origin(SAMPLER, "my_sampler"))
        found = found_in(with_evaluations(view, perfect, proposed))
        assert next(n.roles for n in found.networks if n.digest == arch.digest) == ("front", role)
        assert [e.digest for e in found.front] == [arch.digest]
    store = reported(tmp_path, with_evaluations(search_view(), proposed))
    assert "my sampler" in check_page(store).text


def test_headline_is_chosen_by_validation(view: SearchView) -> None:
    """A network with a perfect test and a poor validation result is not what the report presents."""
    before = found_in(view)
    whole = [network for network in before.networks if network.on_front and not network.results]
    lucky = replace(
        view.retrainings[0],
        digest=whole[0].digest,
        architecture=whole[0].architecture,
        test_top1=1.0,
        validation_top1=0.1,
    )
    after = found_in(replace(view, retrainings=[*view.retrainings, lucky]))
    assert before.retrained_best is not None
    assert after.retrained_best is not None
    assert after.retrained_best[0].digest == before.retrained_best[0].digest
    assert after.retrained_best[1] == before.retrained_best[1]


def test_last_of_equal_retrainings_counts() -> None:
    view = search_view(seeds=1)
    again = replace(view.retrainings[0], test_top1=0.125)
    found = found_in(replace(view, retrainings=[*view.retrainings, again]))
    network = next(network for network in found.networks if network.digest == again.digest)
    assert network.results[again.init].tests == [0.125]


def test_retrained_network_that_left_the_front_is_kept(tmp_path: Path) -> None:
    view = search_view(baselines=False, seeds=1)
    worst = next(network for network in found_in(view).networks if network.on_front and network.results)
    rng = random.Random(0)
    arch = architecture(random.Random(99), ((1, 12), (1, 12), (1, 12)))
    costs = {**costs_of(arch), "macs": worst.costs["macs"] - 1}
    better = evaluation(1000, Origin(SAMPLER, "nsga2"), 40, arch, rng, top1=0.999, costs=costs)
    store = reported(tmp_path, with_evaluations(view, better))
    row = next(row for row in rows(store, "front.csv") if row["digest"] == worst.digest)
    assert row["role"] in ("retrained", "random_best")
    assert row["scratch_seeds"] == "1"
    check_page(store)


def test_a_network_picked_by_its_digest(tmp_path: Path) -> None:
    view = search_view(seeds=1)
    other = next(
        e for e in view.evaluations if e.digest not in roles_of(view.evaluations, view.budget, view.objectives)
    )
    line = replace(view.retrainings[0], digest=other.digest, architecture=other.architecture, roles=("chosen",))
    store = reported(tmp_path, replace(view, retrainings=[line]))
    assert [row["role"] for row in rows(store, "front.csv") if row["scratch_seeds"] == "1"] == ["chosen"]


def test_roles_come_in_order() -> None:
    view = search_view(given=2)
    for names in roles_of(view.evaluations, view.budget, view.objectives).values():
        assert list(names) == sorted(names, key=list(ROLES).index)


def test_the_last_hand_designed_network_counts() -> None:
    rng = random.Random(3)
    view = search_view()
    later = evaluation(500, Origin(BASELINE, "hand_designed"), 1, architecture(rng), rng)
    found = found_in(with_evaluations(view, later))
    assert [n.digest for n in found.networks if "hand_designed" in n.roles] == [later.digest]

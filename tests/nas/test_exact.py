"""What samplers are told of a space is what costs, budgets and digests say; searches that use it resume as others do."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.goals.budget import Budget
from nas.goals.costing import excess_of, violations_of
from nas.goals.objectives import parse_objectives
from nas.samplers import make_sampler
from nas.samplers.proposer import Proposer, labels_of
from nas.searching.exact import Exact
from nas.searching.sources import Listed
from search_spaces.costs import costs_of, register_cost, temporary_costs
from search_spaces.named import load_space
from tests.command_line import SEARCH, Commands, Runs

SPACE = load_space("digits")


def drawn(count: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Random genes, and the same as labels by name."""
    sizes = [len(gene.choices) for gene in SPACE.genes]
    genes = np.random.default_rng(0).integers(0, sizes, size=(count, len(sizes)))
    labels = labels_of(SPACE)
    return genes, [{name: labels[name][i] for name, i in zip(labels, row, strict=True)} for row in genes.tolist()]


def test_one_network_and_many_have_the_costs_violations_and_digests_of_their_architectures() -> None:
    genes, params = drawn(24)
    archs = [SPACE.decode(tuple(row)) for row in genes.tolist()]
    macs = sorted(costs_of(arch, ("macs",))["macs"] for arch in archs)
    with temporary_costs():

        @register_cost("odd", about="known where the number of parameters is odd")
        def _(arch: Any) -> float | None:
            count = costs_of(arch, ("params",))["params"]
            return count / 7 if count % 2 else None

        budget = Budget.parse(f"macs={int(macs[6])}..{int(macs[18])},odd=1M")
        objectives = parse_objectives(("macs", "top1", "params", "odd"))
        told = Exact(SPACE, objectives, budget, ("macs", "odd")).arguments()
        table = {gene.name: genes[:, i] for i, gene in enumerate(SPACE.genes)}
        assert told["known"].keys() == {0, 2, 3}
        assert told["constraints"].keys() == {"macs", "odd"}
        for number, known in told["known"].items():
            name = objectives[number].name
            expected = [costs_of(arch, (name,)).get(name, math.inf) for arch in archs]
            assert known.many(table) == pytest.approx(expected)
            assert [known(some) for some in params] == expected
            assert math.isinf(max(expected)) == (number == 3)
        violations = [violations_of(budget)(arch) for arch in archs]
        for name, constraint in told["constraints"].items():
            expected = [violation[name] for violation in violations]
            assert constraint.many(table) == pytest.approx(expected)
            assert [constraint(some) > 0 for some in params] == [value > 0 for value in expected]
            assert {value > 0 for value in expected} == {False, True}
        assert [told["identity"](some) for some in params] == [arch.digest for arch in archs]


def test_a_cost_that_must_be_known_is_a_constraint() -> None:
    _, params = drawn(5)
    with temporary_costs():
        register_cost("never")(lambda arch: None)
        told = Exact(SPACE, parse_objectives(("top1", "never")), Budget(), ("never",)).arguments()
        assert all(told["constraints"]["never"](some) > 0 for some in params)


@pytest.mark.parametrize("name", ["predictor", "additive"])
def test_no_proposal_is_over_the_budget_or_repeated(name: str) -> None:
    """From the first one, without the loop that would refuse it: half the networks of a real space are too large."""
    objectives, budget = parse_objectives(("top1", "macs")), Budget.parse("macs=1.5M")
    exact = Exact(SPACE, objectives, budget, ("macs",)).arguments()
    sampler = make_sampler(name, seed=0, population=5, options={"n_startup_trials": 6}, exact=exact)
    proposer = Proposer(SPACE, name, sampler, objectives, ("macs",))
    digests = set()
    for _ in range(14):
        number, genes = proposer.ask()
        arch = SPACE.decode(genes)
        macs = costs_of(arch, ("macs",))
        assert budget.allows(macs)
        digests.add(arch.digest)
        proposer.tell(number, (len(arch.digest.strip("0123")) / 9, macs["macs"]), violations_of(budget)(arch))
    assert len(digests) == 14


@pytest.mark.parametrize("name", ["predictor", "additive"])
def test_where_costs_were_measured_only_what_was_measured_is_proposed(name: str) -> None:
    """Of 16 measured networks of a space of many more, 12 are within the budget: all of them are proposed, each once."""
    genes, _ = drawn(16)
    archs = [SPACE.decode(tuple(row)) for row in genes.tolist()]
    times = {arch.digest: 1.0 + number for number, arch in enumerate(archs)}
    objectives, budget = parse_objectives(("top1", "phone_ms")), Budget.parse("phone_ms=12")
    with temporary_costs():
        register_cost("phone_ms")(lambda arch: times.get(arch.digest))
        source = Listed(SPACE, archs, excess_of(violations_of(budget)))
        exact = Exact(SPACE, objectives, budget, ("phone_ms",), source.feasible).arguments()
        sampler = make_sampler(name, seed=0, population=5, options={"n_startup_trials": 4}, exact=exact)
        proposer = Proposer(SPACE, name, sampler, objectives, ("phone_ms",))
        found = []
        for _ in range(12):
            number, genes = proposer.ask()
            arch = SPACE.decode(genes)
            found.append(times[arch.digest])
            proposer.tell(number, (found[-1] % 5, found[-1]), violations_of(budget)(arch))
    assert sorted(found) == [1.0 + number for number in range(12)]


def test_only_samplers_that_take_it_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "telling_samplers.py").write_text(
        "from optuna.samplers import RandomSampler\n\n\n"
        "class Told(RandomSampler):\n"
        "    takes_exact = True\n\n"
        "    def __init__(self, identity=None, seed=None):\n"
        "        super().__init__(seed=seed)\n"
        "        self.told = identity\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    exact = Exact(SPACE, parse_objectives(("top1", "macs")), Budget()).arguments()
    sampler = make_sampler("telling_samplers.Told", seed=0, population=5, exact=exact)
    assert vars(sampler)["told"] is exact["identity"]
    make_sampler("nsga2", seed=0, population=5, exact=exact)


def lines(place: Path, name: str) -> list[dict[str, Any]]:
    text = (place / "run" / Path(SEARCH).parent / name / "evaluations.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_a_search_that_is_stopped_resumes_with_the_same_networks(
    nas: Commands, image_runs: Runs, tmp_path: Path
) -> None:
    """Random search stands beside both, batches of three; in one go, and stopped early and then killed after some seconds."""
    macs = [
        json.loads(line)["costs"]["macs"]
        for line in (image_runs["search"] / "run" / SEARCH / "evaluations.jsonl").read_text().splitlines()
    ]
    settings = ("samplers=predictor,additive", "options=predictor.n_startup_trials=4,additive.n_startup_trials=4", "name=told", "batch=3", f"budget={int((min(macs) + max(macs)) / 2)}")  # fmt: skip
    whole, pieces = (Path(shutil.copytree(image_runs["train"], tmp_path / name)) for name in ("whole", "pieces"))
    nas("search", "config.toml", *settings, "evaluations=8", cwd=whole).ok()
    nas("search", "config.toml", *settings, "evaluations=5", cwd=pieces).ok()
    for seconds in (0.5, 1.0, 1.5, 2.0):
        nas("search", "config.toml", *settings, "evaluations=8", cwd=pieces, kill=seconds)
    nas("search", "config.toml", *settings, "evaluations=8", cwd=pieces).ok()
    chosen = [
        [(r["origin"]["name"], r["trial"], r["digest"], r["top1"]) for r in lines(place, "told") if r["origin"]["kind"] == "sampler"]
        for place in (whole, pieces)
    ]  # fmt: skip
    assert chosen[0] == chosen[1]
    for sampler in ("predictor", "additive", "random"):
        assert len({digest for name, _, digest, _ in chosen[0] if name == sampler}) == 8
    assert [trial for name, trial, _, _ in chosen[0] if name == "predictor"] == list(range(8))  # none refused

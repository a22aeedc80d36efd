"""Laws of the loop of a search, on spaces of words of which everything is known."""

import hashlib
import random
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.samplers import RandomSampler

from nas.goals.objectives import parse_objectives
from nas.samplers import make_sampler
from nas.samplers.proposer import Proposer
from nas.searching.engine import Proposal, Tally, run_search
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.space import Genes
from tests.nas.table_space import Word, Words

QUICK = ("random", "nsga2", "nsga3", "tpe", "evolution", "predictor", "additive")
WORDS = Words(5, 3)


def values_of(word: Word, count: int) -> tuple[float, ...]:
    """A quality that no one can guess wholly, and costs."""
    noise = int(hashlib.sha256(word.digest.encode()).hexdigest(), 16) % 1000 / 1000
    return (sum(word.letters) / 10 + noise / 5, float(sum(word.letters)), float(word.letters[0]), noise)[:count]


def limit(most: int) -> Callable[[Any], Mapping[str, float]]:
    return lambda word: {"macs": float(sum(word.letters) - most)}


class Scored:
    """Runs a search and keeps all that was asked of `score`."""

    def __init__(
        self,
        samplers: Sequence[str] = ("nsga2",),
        *,
        evaluations: int = 20,
        batch: int = 1,
        space: Words = WORDS,
        most: int = 5,
        objectives: int = 2,
        order: Callable[[Sequence[Proposal]], Sequence[Proposal]] = list,
        proposers: Sequence[Any] = (),
        starts: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        names = ("top1", "macs", "params", "activations")[:objectives]
        self.proposals: list[Proposal] = []
        self.counts: list[dict[str, int]] = []
        self.order = order
        made = [
            Proposer(space, name, make_sampler(name, seed=1, population=5), parse_objectives(names), ("macs",))
            for name in samplers
        ]
        self.objectives = objectives
        self.tallies = run_search(
            space,
            [*made, *proposers],
            evaluations=evaluations,
            batch=batch,
            seed=0,
            violations=limit(most),
            score=self.score,
            starts=starts,
        )

    def score(self, proposals: Sequence[Proposal]) -> Iterator[tuple[float, ...]]:
        found = {id(proposal): values_of(proposal.arch, self.objectives) for proposal in self.order(proposals)}
        for proposal in proposals:
            self.proposals.append(proposal)
            yield found[id(proposal)]

    def of(self, sampler: str) -> list[tuple[int, str]]:
        return [(p.trial, p.arch.digest) for p in self.proposals if p.sampler == sampler]


@pytest.mark.parametrize("batch", [1, 4])
def test_starts_come_first_and_count(batch: int) -> None:
    """Whatever the sampler does with them afterwards; one without starts is not touched."""
    starts = [Word(digest) for digest in ("00001", "10000", "01010", "00000", "00100")]
    names = [name for name in QUICK if name != "random"]
    search = Scored(QUICK, batch=batch, evaluations=12, starts=dict.fromkeys(names, starts))
    for name in names:
        own = search.of(name)
        assert [digest for _, digest in own[:5]] == [word.digest for word in starts]
        assert [trial for trial, _ in own[:5]] == [0, 1, 2, 3, 4]
        assert len({digest for _, digest in own}) == len(own) == 12
    assert search.of("random") == Scored(("random",), batch=batch, evaluations=12).of("random")
    few = Scored(("nsga2",), batch=batch, evaluations=3, starts={"nsga2": starts})
    assert few.of("nsga2") == search.of("nsga2")[:3]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_samplers_keep_step_and_nothing_is_scored_twice_or_over_the_budget(batch: int) -> None:
    run = Scored(QUICK, batch=batch, evaluations=20)
    done = dict.fromkeys(QUICK, 0)
    for proposal in run.proposals:
        done[proposal.sampler] += 1
        assert max(done.values()) - min(done.values()) <= 1
        assert sum(proposal.arch.letters) <= 5
    for name, tally in zip(QUICK, run.tallies, strict=True):
        digests = [digest for _, digest in run.of(name)]
        assert len(set(digests)) == len(digests) == tally.scored == tally.wanted == 20
        assert tally.asked >= 20 + tally.infeasible + tally.repeated
        assert not tally.exhausted


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", QUICK)
def test_a_longer_search_begins_as_a_shorter_one(name: str, batch: int) -> None:
    long = Scored([name], evaluations=30, batch=batch).of(name)
    for evaluations in (1, 7, 16):
        assert Scored([name], evaluations=evaluations, batch=batch).of(name) == long[:evaluations]


@pytest.mark.parametrize("name", QUICK)
def test_proposals_do_not_depend_on_the_order_of_computation_or_on_other_samplers(name: str) -> None:
    def shuffled(proposals: Sequence[Proposal]) -> Sequence[Proposal]:
        return random.Random(3).sample(list(proposals), len(proposals))

    alone = Scored([name], batch=4).of(name)
    assert Scored([name], batch=4, order=shuffled).of(name) == alone
    assert Scored(dict.fromkeys([name, "random", "nsga2"]), batch=4).of(name) == alone


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("batch", [1, 5])
def test_a_tiny_space_is_exhausted(name: str, batch: int) -> None:
    space = Words(3, 2, short=True)
    whole = Scored([name], space=space, evaluations=1000, most=100, batch=batch)
    assert sorted(digest for _, digest in whole.of(name)) == sorted(word.digest for word in space.members)
    assert whole.tallies[0].wanted == space.size == 14
    assert not whole.tallies[0].exhausted
    within = Scored([name], space=space, evaluations=1000, most=1, batch=batch)
    assert len(within.proposals) == sum(sum(word.letters) <= 1 for word in space.members) < space.size
    assert within.tallies[0].exhausted


def test_a_budget_that_one_member_meets() -> None:
    run = Scored(QUICK, space=Words(12, 2, short=True), most=1, evaluations=3)
    assert all(sum(proposal.arch.letters) <= 1 for proposal in run.proposals)
    alone = Scored(["nsga2"], space=Words(7, 3), evaluations=9, most=0)  # the word of zeros alone costs nothing
    assert [digest for _, digest in alone.of("nsga2")] == ["0000000"]
    assert alone.tallies[0].drawn == 1
    assert alone.tallies[0].exhausted


def test_a_budget_that_no_member_meets() -> None:
    with pytest.raises(OutsideBudget):
        Scored(["random"], most=-1)


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_any_number_of_objectives(objectives: int) -> None:
    run = Scored(QUICK, objectives=objectives, evaluations=25, batch=2)
    assert [tally.scored for tally in run.tallies] == [25] * len(QUICK)


@pytest.mark.parametrize("objectives", [1, 2])
def test_gaussian_processes(objectives: int) -> None:
    run = Scored(["gp"], objectives=objectives, evaluations=12, space=Words(3, 3), batch=3)
    assert run.tallies[0].scored == 12


class Stubborn:
    """Proposes one thing, unless it is told what to propose."""

    name = "stubborn"

    def __init__(self, genes: Genes) -> None:
        self.genes, self.next, self.asked = genes, [], 0
        self.heard: list[tuple[int, str]] = []

    def ask(self) -> tuple[int, Genes]:
        self.asked += 1
        return self.asked - 1, self.next.pop() if self.next else self.genes

    def enqueue(self, genes: Genes) -> None:
        self.next.append(genes)

    def tell(self, number: int, values: Sequence[float], violations: Mapping[str, float]) -> None:
        self.heard.append((number, "told"))

    def refuse(self, number: int, violations: Mapping[str, float]) -> None:
        self.heard.append((number, "refused"))


@pytest.mark.parametrize("genes", [(0, 0, 0, 0, 0), (2, 2, 2, 2, 2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_sampler_that_always_proposes_the_same(genes: Genes, batch: int) -> None:
    """Inside the budget or over it: networks are drawn, and it hears of every proposal once."""
    stubborn = Stubborn(genes)
    run = Scored([], proposers=[stubborn], evaluations=12, batch=batch)
    assert len({digest for _, digest in run.of("stubborn")}) == run.tallies[0].scored == 12
    assert run.tallies[0].drawn >= 11
    assert sorted(number for number, _ in stubborn.heard) == list(range(stubborn.asked))


def test_known_values_are_told_again_and_infeasible_ones_never() -> None:
    """What the study says at the end: values only of what was scored, and each trial with its violation."""
    proposer = Proposer(
        WORDS, "nsga2", make_sampler("nsga2", seed=1, population=5), parse_objectives(["top1", "macs"]), ("macs",)
    )
    run = Scored([], proposers=[proposer], evaluations=40)
    tally = run.tallies[0]
    scored = {digest for _, digest in run.of("nsga2")}
    told = refused = 0
    for trial in proposer._study.get_trials():
        word = Word("".join(str(trial.params[gene.name]) for gene in WORDS.genes))
        assert trial.constraints == limit(5)(word)
        if trial.values is None:
            refused += 1
            assert trial.constraints["macs"] > 0
        else:
            told += 1
            assert word.digest in scored
            assert tuple(trial.values) == values_of(word, 2)
    assert told == tally.scored + tally.repeated
    assert refused == tally.infeasible
    assert tally.repeated > 0
    assert tally.infeasible > 0


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_what_is_drawn_belongs_to_a_generation(name: str) -> None:
    """Optuna gives a trial of given genes no generation; parents would never come of a budget that only draws meet."""
    proposer = Proposer(
        Words(8, 3), name, make_sampler(name, seed=1, population=5), parse_objectives(["top1"]), ("macs",)
    )
    run = Scored([], space=Words(8, 3), proposers=[proposer], evaluations=30, most=2, objectives=1)
    trials = [trial for trial in proposer._study.get_trials() if trial.values]
    assert run.tallies[0].drawn > 5
    keys = {key for trial in trials for key in trial.system_attrs if key.endswith(":generation")}
    generations = [trial.system_attrs.get(key) for key in keys for trial in trials]
    assert None not in generations
    assert max(generations) >= 5


def test_progress_is_told_of_every_network() -> None:
    seen: list[tuple[str, int]] = []

    def progress(tally: Tally) -> None:
        seen.append((tally.sampler, tally.scored))

    proposers = [
        Proposer(WORDS, name, make_sampler(name, seed=1, population=5), parse_objectives(["top1"]))
        for name in ("random", "tpe")
    ]
    run_search(
        WORDS, proposers, evaluations=3, batch=2, seed=0, violations=lambda arch: {}, progress=progress,
        score=lambda proposals: [values_of(p.arch, 1) for p in proposals],
    )  # fmt: skip
    assert seen == [("random", 1), ("tpe", 1), ("random", 2), ("tpe", 2), ("random", 3), ("tpe", 3)]


def test_a_sampler_from_elsewhere_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "searching_samplers.py").write_text(
        textwrap.dedent("""
            from optuna.samplers import RandomSampler

            class Last(RandomSampler):
                def sample_independent(self, study, trial, param_name, param_distribution):
                    return param_distribution.choices[-1]
            """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = Scored(["searching_samplers.Last"], most=10, evaluations=5)
    assert run.proposals[0].arch.digest == "22222"
    assert run.tallies[0].scored == 5


def test_a_sampler_that_cannot_have_several_objectives() -> None:
    class One(RandomSampler):
        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            self._raise_error_if_multi_objective(study)
            return super().sample_independent(study, trial, param_name, param_distribution)

    proposer = Proposer(WORDS, "One", One(), parse_objectives(["top1", "macs"]))
    with pytest.raises(InputError, match="One cannot have several objectives"):
        proposer.ask()

"""The loop of a search: samplers propose, networks within the budget are scored, samplers get the scores. No torch, no optuna.

Its state follows from its arguments and the scores alone. So a search that starts again with the same arguments proposes the same
networks, and `score` can look up what is known already. It makes no difference how and where networks are scored.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from search_spaces.architecture import Architecture
from search_spaces.space import Excess, Genes

ASKS = 20
"""Most proposals of a sampler per new network. After them, a network is drawn inside the budget."""

DRAWS = 200
"""Most draws per new network. After them the sampler is exhausted, because a small space runs out of members."""


class Asked(Protocol):
    """The interface of a sampler that the loop needs; `nas.samplers.proposer.Proposer` implements it."""

    @property
    def name(self) -> str: ...
    def ask(self) -> tuple[int, Genes]: ...
    def enqueue(self, genes: Genes) -> None: ...
    def tell(self, number: int, values: Sequence[float], violations: Mapping[str, float]) -> None: ...
    def refuse(self, number: int, violations: Mapping[str, float]) -> None: ...


class Space(Protocol):
    """The interface of a space that the loop needs; `search_spaces.space.SearchSpace` implements it."""

    @cached_property
    def size(self) -> int: ...
    def decode(self, genes: Genes) -> Architecture: ...
    def encode(self, arch: Architecture) -> Genes: ...
    def sample(self, rng: random.Random, excess: Excess | None = None) -> Architecture: ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """A network to be scored.

    Args:
        trial: number among all proposals of its sampler, including those that are not scored.
    """

    sampler: str
    trial: int
    arch: Architecture


@dataclass(slots=True)
class Tally:
    """Counts of the proposals of one sampler.

    Args:
        wanted: different networks to score. scored: different networks scored so far.
        asked: all proposals. infeasible: those over the budget. repeated: those of networks proposed before.
        drawn: networks drawn inside the budget because the sampler proposed nothing new.
        exhausted: whether nothing new can be found any more.
    """

    sampler: str
    wanted: int
    scored: int = 0
    asked: int = 0
    infeasible: int = 0
    repeated: int = 0
    drawn: int = 0
    exhausted: bool = False

    @property
    def finished(self) -> bool:
        """Whether this sampler proposes no more."""
        return self.exhausted or self.scored >= self.wanted


Violations = Callable[[Architecture], Mapping[str, float]]
"""Gives a number per limited cost, at most 0 if the limit is kept; see `nas.goals.budget.Budget.violations`."""


class _Member:
    """One sampler in the loop."""

    def __init__(
        self,
        space: Space,
        proposer: Asked,
        wanted: int,
        seed: int,
        violations: Violations,
        starts: Iterable[Architecture] = (),
    ) -> None:
        self.space, self.proposer, self.violations = space, proposer, violations
        self.tally = Tally(proposer.name, wanted)
        self.rng = random.Random(repr((seed, "drawn", proposer.name)))
        self.told: dict[str, Sequence[float]] = {}
        self.pending: dict[str, Proposal] = {}
        self.starts = deque(starts)

    def propose(self, batch: int) -> None:
        """Adds `batch` different networks without a score to `pending`. If there are fewer, the sampler is exhausted."""
        for _ in range(min(batch, self.space.size - len(self.told))):
            proposal = self._asked() or self._drawn()
            if proposal is None:
                self.tally.exhausted = True
                return
            self.pending[proposal.arch.digest] = proposal

    def _asked(self) -> Proposal | None:
        for _ in range(ASKS):
            proposal = self._ask()
            digest, violations = proposal.arch.digest, self.violations(proposal.arch)
            if any(violation > 0 for violation in violations.values()):
                self.tally.infeasible += 1
                self.proposer.refuse(proposal.trial, violations)
            elif digest in self.told:
                self.tally.repeated += 1
                self.proposer.tell(proposal.trial, self.told[digest], violations)
            elif digest in self.pending:  # its result is not known yet
                self.tally.repeated += 1
                self.proposer.refuse(proposal.trial, violations)
            else:
                return proposal
        return None

    def _ask(self) -> Proposal:
        if self.starts:
            self.proposer.enqueue(self.space.encode(self.starts.popleft()))
        trial, genes = self.proposer.ask()
        self.tally.asked += 1
        return Proposal(self.proposer.name, trial, self.space.decode(genes))

    def _drawn(self) -> Proposal | None:
        for _ in range(DRAWS):
            arch = self.space.sample(self.rng, self._excess)
            if arch.digest not in self.told and arch.digest not in self.pending:
                self.tally.drawn += 1
                self.proposer.enqueue(self.space.encode(arch))
                return self._ask()
        return None

    def _excess(self, arch: Architecture) -> float:
        return max(self.violations(arch).values(), default=-1.0)

    def tell(self, proposal: Proposal, values: Sequence[float]) -> None:
        """Passes the values of the objectives of a pending network to the sampler."""
        self.proposer.tell(proposal.trial, values, self.violations(proposal.arch))
        self.told[proposal.arch.digest] = values
        del self.pending[proposal.arch.digest]
        self.tally.scored += 1


def run_search(
    space: Space,
    proposers: Sequence[Asked],
    *,
    evaluations: int,
    batch: int,
    seed: int,
    violations: Violations,
    score: Callable[[Sequence[Proposal]], Iterable[Sequence[float]]],
    progress: Callable[[Tally], None] | None = None,
    starts: Mapping[str, Sequence[Architecture]] | None = None,
) -> tuple[Tally, ...]:
    """Lets samplers search side by side, with equal numbers of different networks inside the budget for each.

    In every round, each sampler proposes `batch` networks. One call scores the proposals of all samplers in turn, so that a stopped
    search has equal numbers of each. `evaluations` only says where to stop: a search with more evaluations starts with the same
    proposals.

    Args:
        space: used through `decode`, `encode`, `sample` and `size`.
        proposers: one per sampler, newly made, with different names.
        evaluations: different networks per sampler; at most the size of the space.
        batch: networks that a sampler proposes before it is told a result.
        seed: of the networks that are drawn if a sampler proposes nothing new.
        score: gives the values of the objectives of each proposal, in order. Two samplers may propose the same network.
        progress: called after each network whose values a sampler gets.
        starts: by sampler, the networks that it proposes first, in order: different members within the limits. They count as evaluations.

    Returns:
        The counts of each sampler, in the order of `proposers`.

    Raises:
        OutsideBudget: no network inside the budget was found.
    """
    wanted = min(evaluations, space.size)
    members = [
        _Member(space, proposer, wanted, seed, violations, (starts or {}).get(proposer.name, ()))
        for proposer in proposers
    ]
    while active := [member for member in members if not member.tally.finished]:
        for member in active:
            member.propose(batch)
        chosen = [list(member.pending.values())[: wanted - member.tally.scored] for member in active]
        turns = [
            (member, own[turn])
            for turn in range(max(map(len, chosen)))
            for member, own in zip(active, chosen, strict=True)
            if turn < len(own)
        ]
        if not turns:
            break
        results = score([proposal for _, proposal in turns])
        for (member, proposal), values in zip(turns, results, strict=True):
            member.tell(proposal, tuple(values))
            if progress is not None:
                progress(member.tally)
    for member in members:
        member.tally.exhausted = member.tally.scored < wanted
    return tuple(member.tally for member in members)

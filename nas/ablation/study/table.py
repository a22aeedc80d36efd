"""The comparison as numbers: mean and spread of every network over the seeds, and what the winner gains over each other one."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.ablation.study.networks import DRAWN, FAMILY, FIXED, WINNER, Compared
from nas.ablation.table import Spread
from nas.ablation.training import Result
from nas.latency.accuracy import kendall_tau


@dataclass(frozen=True)
class Entry:
    """A trained network.

    Args:
        kind: a key of `nas.ablation.study.networks.KINDS`.
        ms: measured latency; None where it was not measured.
        validation, test: top-1 in [0, 1] by seed; test is empty while the test images are unread.
        inherited: as of `nas.ablation.study.networks.Compared`.
    """

    name: str
    kind: str
    digest: str
    costs: Mapping[str, float]
    ms: float | None
    validation: Mapping[int, float]
    test: Mapping[int, float]
    inherited: float | None = None

    def top1(self, part: str) -> Mapping[int, float]:
        """By seed, on the part "test" or "val"."""
        return self.test if part == "test" else self.validation


@dataclass(frozen=True)
class Verdict:
    """What winners gain.

    Args:
        what, against: the two sides.
        difference: of top-1 over the seeds that both have.
    """

    what: str
    against: str
    difference: Spread

    @property
    def decision(self) -> str:
        """Whether the difference is larger than its standard deviation over the seeds."""
        mean, std = self.difference.mean, self.difference.std
        if std is None:
            return "one seed says nothing of the spread"
        if abs(mean) <= std:
            return "within the spread"
        return "better beyond the spread" if mean > 0 else "worse beyond the spread"

    def words(self) -> str:
        """In one line."""
        return f"{self.what} against {self.against}: {self.difference.percent('+')} points, {self.decision}"


def entries_of(
    networks: Sequence[tuple[Compared, str, Mapping[str, float]]],
    results: Mapping[tuple[str, int], Result],
    times: Mapping[str, float],
    seeds: int,
) -> list[Entry]:
    """The networks with their results.

    Args:
        networks: each with its digest and its costs.
        results: by name and seed.
        times: milliseconds by digest.
        seeds: how many are compared.
    """
    found = []
    for one, digest, costs in networks:
        own = {seed: results[one.name, seed] for seed in range(seeds) if (one.name, seed) in results}
        validation = {seed: result.validation_top1 for seed, result in own.items()}
        test = {seed: result.test_top1 for seed, result in own.items() if result.test_top1 is not None}
        found.append(Entry(one.name, one.kind, digest, costs, times.get(digest), validation, test, one.inherited))
    return found


def ranking(entries: Sequence[Entry]) -> tuple[float, int]:
    """Kendall's tau-b between top-1 with inherited weights and mean top-1 after retraining, both on search-validation, and of how many networks.

    A search by inherited weights is of use as far as they rank networks as retraining does (Yu et al., "Evaluating the search phase of
    neural architecture search", ICLR 2020).
    """
    known = [(one.inherited, statistics.fmean(one.validation.values())) for one in entries if one.inherited is not None]
    return kendall_tau(np.array([inherited for inherited, _ in known]), np.array([own for _, own in known])), len(known)


def best_of(entries: Sequence[Entry], kind: str) -> Entry:
    """The best of a kind by its mean top-1 on search-validation, the earliest of equal ones. The test has no part in the choice."""
    own = [entry for entry in entries if entry.kind == kind]
    return max(own, key=lambda entry: statistics.fmean(entry.validation.values()))


def verdicts(entries: Sequence[Entry], part: str) -> list[Verdict]:
    """What the best winner gains over every family, the best random network and the fixed ratio, and all winners over all random networks.

    The best of several networks is chosen on search-validation; differences are of top-1 on `part` at equal seeds.
    """
    kinds = {entry.kind for entry in entries}
    best = best_of(entries, WINNER)
    found = []
    if FAMILY in kinds:
        strongest = best_of(entries, FAMILY)
        found.append(_between(best, strongest, part, f"the best of the families, {strongest.name}"))
        found += [_between(best, one, part, one.name) for one in entries if one.kind == FAMILY]
    if DRAWN in kinds:
        other = best_of(entries, DRAWN)
        found.append(_between(best, other, part, f"the best of the random networks, {other.name}"))
        found.append(_of_all(entries, part))
    found += [_between(best, one, part, one.name) for one in entries if one.kind == FIXED]
    return found


def _between(best: Entry, other: Entry, part: str, against: str) -> Verdict:
    mine, theirs = best.top1(part), other.top1(part)
    return Verdict(best.name, against, Spread.of([mine[seed] - theirs[seed] for seed in mine if seed in theirs]))


def _of_all(entries: Sequence[Entry], part: str) -> Verdict:
    """The mean of all winners against that of all random networks, seed by seed."""
    sides = [[entry.top1(part) for entry in entries if entry.kind == kind] for kind in (WINNER, DRAWN)]
    common = set.intersection(*(set(scores) for side in sides for scores in side))
    means = [[statistics.fmean(scores[seed] for scores in side) for seed in sorted(common)] for side in sides]
    differences = [one - other for one, other in zip(*means, strict=True)]
    return Verdict("the mean of all winners", "the mean of all random networks", Spread.of(differences))

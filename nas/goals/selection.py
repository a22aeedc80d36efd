"""Which networks of a search are extracted and retrained, and why."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from nas.goals.picking import Picks, picked
from nas.goals.roles import front_of, roles_of, spread
from nas.records import Evaluation, eligible
from nas.runs.searches import Search
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

NOTHING_PICKED = Picks()


@dataclass(frozen=True)
class Selected:
    """A network, why it was selected, and its evaluation."""

    roles: tuple[str, ...]
    record: Evaluation

    @property
    def arch(self) -> Architecture:
        return self.record.architecture


def selected(search: Search, points: int, digest: str, run: str, picks: Picks = NOTHING_PICKED) -> dict[str, Selected]:
    """The networks that are extracted and retrained, by digest.

    `points` networks of the Pareto front, the smallest and the largest network, random search's best, the hand-designed network, and
    the networks that the user gave; or the one that `digest` names; or those that are picked.

    Args:
        digest: the first digits of one network's digest, or empty.
        run: the run's folder as it was typed, for messages.

    Raises:
        InputError: the search has not finished, no evaluated network has that digest, or none keeps the conditions of a pick.
    """
    search.check_finished(run)
    evaluations, budget, objectives = search.evaluations(), search.budget, search.objectives
    refuted = search.refuted()
    winners = eligible(evaluations, budget, objectives, refuted)
    roles = roles_of(evaluations, budget, objectives, refuted)
    full = [evaluation for evaluation in evaluations if not evaluation.is_estimate]
    by_digest = {evaluation.digest: evaluation for evaluation in reversed(full)}
    if digest or picks:
        wanted = [(digest, "digest")] if digest else [(one, "pick") for one in picks.digests]
        front = [evaluation.digest for evaluation in front_of(winners, objectives)]
        named = [_named(one, by_digest, front, search, key) for one, key in wanted]
        found = [evaluation.digest for evaluation in picked(picks, winners, objectives, search.name)]
        return {known: Selected(roles.get(known, ("chosen",)), by_digest[known]) for known in (*found, *named)}
    chosen = {evaluation.digest for evaluation in spread(winners, objectives, points)}
    entries = {}
    for known, names in roles.items():
        if known in chosen or names != ("front",):
            entries[known] = Selected(names, by_digest[known])
    return entries


def asked(searches: Sequence[Search], digest: str, picks: Picks = NOTHING_PICKED) -> list[tuple[Search, Picks]]:
    """The searches that networks are asked of, and what is picked of each: a digest is asked only of those that evaluated such a network.

    Where none did, it is asked of all, so that `selected` says so; so it is where a search cannot be read.

    Args:
        digest: as of `selected`.
    """
    wanted = [digest] if digest else list(picks.digests)
    if not wanted or len(searches) < 2:
        return [(search, picks) for search in searches]
    known = {search.name: _evaluated(search) for search in searches}
    of = {
        one: [name for name, found in known.items() if any(known_one.startswith(one) for known_one in found)]
        for one in wanted
    }
    chosen = []
    for search in searches:
        own = tuple(one for one in wanted if search.name in of[one] or not of[one])
        if own or picks.names or picks.within:
            chosen.append((search, picks if digest else replace(picks, digests=own)))
    return chosen


def _evaluated(search: Search) -> set[str]:
    """Digests of the networks that a search evaluated in full; none where that cannot be read."""
    try:
        return {evaluation.digest for evaluation in search.evaluations() if not evaluation.is_estimate}
    except InputError:
        return set()


def _named(digest: str, known: Collection[str], front: list[str], search: Search, key: str) -> str:
    """The whole digest of the network that its first digits name.

    Raises:
        InputError: they name none, or several.
    """
    matching = [one for one in known if one.startswith(digest)]
    if len(matching) != 1:
        offered = front or list(known)
        raise InputError(
            f"{key} {digest!r} names {len(matching)} networks that search {search.name} evaluated in full",
            f"one of its networks, such as {', '.join(offered[:8])}", f"{key}={offered[-1]}",
        )  # fmt: skip
    return matching[0]

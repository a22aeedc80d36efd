"""Which networks of a search are extracted and retrained, and why."""

from collections.abc import Collection
from dataclasses import dataclass

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

"""Which networks of a search are extracted and retrained, and why."""

from dataclasses import dataclass

from nas.goals.roles import front_of, roles_of, spread
from nas.records import Evaluation, eligible
from nas.runs.searches import Search
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError


@dataclass(frozen=True)
class Selected:
    """A network, why it was selected, and its evaluation."""

    roles: tuple[str, ...]
    record: Evaluation

    @property
    def arch(self) -> Architecture:
        return self.record.architecture


def selected(search: Search, points: int, digest: str, run: str) -> dict[str, Selected]:
    """The networks that are extracted and retrained, by digest.

    `points` networks of the Pareto front, the smallest and the largest network, random search's best, the hand-designed network, and
    the networks that the user gave; or the one that `digest` names.

    Args:
        digest: the first digits of one network's digest, or empty.
        run: the run's folder as it was typed, for messages.

    Raises:
        InputError: the search has not finished, or no evaluated network has that digest.
    """
    search.check_finished(run)
    evaluations, budget, objectives = search.evaluations(), search.budget, search.objectives
    refuted = search.refuted()
    winners = eligible(evaluations, budget, objectives, refuted)
    roles = roles_of(evaluations, budget, objectives, refuted)
    full = [evaluation for evaluation in evaluations if not evaluation.is_estimate]
    by_digest = {evaluation.digest: evaluation for evaluation in reversed(full)}
    if digest:
        matching = [known for known in by_digest if known.startswith(digest)]
        if len(matching) != 1:
            front = [evaluation.digest for evaluation in front_of(winners, objectives)]
            raise InputError(
                f"digest {digest!r} names {len(matching)} networks that search {search.name} evaluated in full",
                f"one of its networks, such as {', '.join(front[:8])}", f"digest={front[-1]}",
            )  # fmt: skip
        return {known: Selected(roles.get(known, ("chosen",)), by_digest[known]) for known in matching}
    chosen = {evaluation.digest for evaluation in spread(winners, objectives, points)}
    found = {}
    for known, names in roles.items():
        if known in chosen or names != ("front",):
            found[known] = Selected(names, by_digest[known])
    return found

"""Which networks of a search are asked for by what they are: the best, the knee of the Pareto front, or the best within limits.

    pick=best                        the best of all that may win
    pick=knee                        where the Pareto front bends: more cost buys little more, less cost loses much
    pick=all                         the whole Pareto front
    pick=a05d4eb1136f                a network by the first digits of its digest
    pick="macs<=1G"                  the best that keeps a limit on a cost
    pick="macs<=1G,latency_ms<=8"    the best that keeps both
    pick=best,knee,"params<=2M"      several networks

Standard library only.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from nas.goals.budget import Budget, number_of, quantity, worded
from nas.goals.objectives import Objective, principal_cost
from nas.goals.pareto import losses
from nas.goals.roles import axes, best_of, front_of
from nas.records import Evaluation
from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError, nearest

BEST, KNEE, ALL = "best", "knee", "all"

_DIGEST = re.compile(r"[0-9a-f]{4,12}")

_CONDITION = re.compile(r"\s*([\w.@-]+)\s*(<=|>=|<|>|=)\s*(.*?)\s*")

_EXAMPLE = 'pick=best, pick=knee, pick=all, pick=DIGEST or pick="macs<=1G"'


NO_LIMIT = Budget()


@dataclass(frozen=True, slots=True)
class Picks:
    """What is picked.

    Args:
        names: `BEST`, `KNEE` and `ALL`, each at most once.
        digests: beginnings of digests.
        within: all conditions together; they pick one network. Empty for none.
    """

    names: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    within: Budget = NO_LIMIT

    @classmethod
    def parse(cls, items: Sequence[str]) -> "Picks":
        """
        Raises:
            InputError: an item is none of those above.
        """
        names: list[str] = []
        digests: list[str] = []
        within = Budget()
        for item in items:
            if item in (BEST, KNEE, ALL):
                names.append(item)
            elif _DIGEST.fullmatch(item):
                digests.append(item)
            elif any(sign in item for sign in "<>="):
                within |= _condition(item)
            else:
                near = nearest(item, (BEST, KNEE, ALL))
                raise InputError(
                    f"extract.pick has {item[:80]!r}",
                    f"{BEST}, {KNEE}, {ALL}, the first four or more digits of a digest, or a limit on a cost",
                    f"pick={near}, or {_EXAMPLE}",
                )
        return cls(tuple(dict.fromkeys(names)), tuple(dict.fromkeys(digests)), within)

    def __bool__(self) -> bool:
        return bool(self.names or self.digests or self.within)


def _condition(item: str) -> Budget:
    found = _CONDITION.fullmatch(item)
    name, sign, text = found.groups() if found else ("", "", "")
    number = number_of(text) if text else None
    if not is_cost_name(name.lower()) or sign not in ("<=", ">=") or number is None or math.isinf(number):
        raise InputError(
            f"extract.pick has {item[:80]!r}",
            "COST<=NUMBER or COST>=NUMBER, with K, M or G if you like; in quotes, as a shell takes < and > for itself",
            'pick="macs<=1G"',
        )
    bound = ((name.lower(), number),)
    return Budget(limits=bound) if sign == "<=" else Budget(floors=bound)


def picked(
    picks: Picks, winners: Sequence[Evaluation], objectives: Sequence[Objective], search: str
) -> list[Evaluation]:
    """The networks that are picked by name or by conditions, each once.

    Args:
        winners: the networks that may win.
        search: its name, for messages.

    Raises:
        InputError: no network may win, or none of them keeps the conditions; what comes nearest is offered.
    """
    if not (picks.names or picks.within):
        return []
    if not winners:
        raise InputError(
            f"search {search} has no network that may win, so there is nothing to pick",
            "a search that found a network within its budget",
            "pick=DIGEST of an evaluated network, or a search with a looser budget",
        )
    found: dict[str, Evaluation] = {}
    for name in picks.names:
        if name == ALL:
            found |= {evaluation.digest: evaluation for evaluation in front_of(winners, objectives)}
            continue
        one = best_of(winners, objectives) if name == BEST else knee_of(winners, objectives)
        found.setdefault(one.digest, one)
    if picks.within:
        one = _best_within(picks.within, winners, objectives, search)
        found.setdefault(one.digest, one)
    return list(found.values())


def _best_within(
    within: Budget, winners: Sequence[Evaluation], objectives: Sequence[Objective], search: str
) -> Evaluation:
    kept = [evaluation for evaluation in winners if within.allows(evaluation.costs)]
    if kept:
        return best_of(kept, objectives)
    near = min(winners, key=lambda evaluation: within.excess(evaluation.costs))
    unknown = [name for name in within.names if name not in near.costs]
    if unknown:
        raise InputError(
            f"search {search} does not know the cost {unknown[0]} of its networks",
            f"one of {', '.join(sorted(near.costs))}",
            f'pick="{principal_cost(objectives)}<={quantity(near.costs[principal_cost(objectives)])}"',
        )
    words = ", ".join(worded(name, near.costs[name]) for name in within.names)
    instead = within.widened(near.costs)
    typed = [f"{name}<={quantity(limit)}" for name, limit in instead.limits]
    typed += [f"{name}>={quantity(floor)}" for name, floor in instead.floors]
    raise InputError(
        f"no network of search {search} that may win has {within.said()}; the nearest has {words}",
        "limits that one of them keeps",
        f'pick="{",".join(typed)}"',
    )


def knee_of(winners: Sequence[Evaluation], objectives: Sequence[Objective]) -> Evaluation:
    """The network of the Pareto front farthest from the straight line between its cheapest and its best, towards better ones.

    The score and the logarithm of the principal cost are scaled to the range that the front has. Networks that another one beats in
    these two alone, as there are with three objectives and more, are left out. With a front of two networks or without a cost, the best.
    """
    score, cost = axes(objectives)
    name = principal_cost(objectives)
    front = front_of(winners, objectives)
    best = best_of(winners, objectives)
    places = []
    for evaluation in front:
        point = losses(evaluation, objectives)
        value = evaluation.costs.get(name)
        if point is None or value is None:
            return best
        places.append((point[score], math.log(value) if cost is not None and value > 0 else value))
    scores, costs = zip(*places, strict=True)
    high, wide = max(scores) - min(scores), max(costs) - min(costs)
    if not high or not wide:
        return best
    scaled = [((s - min(scores)) / high, (c - min(costs)) / wide) for s, c in places]
    # Below the line from (0, 1) to (1, 0); the ends themselves lie on it.
    index = min(range(len(front)), key=lambda i: (sum(scaled[i]), scaled[i], i))
    return front[index] if sum(scaled[index]) < 1 else best

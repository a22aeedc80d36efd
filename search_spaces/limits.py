"""Limits on the costs of a network, as what narrows or samples a space needs them: how far a network is above or below them."""

from collections.abc import Mapping

from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named
from search_spaces.space import Excess

Limits = Mapping[str, tuple[float | None, float | None]]
"""By the name of a cost, the least and the most that a network may cost; None for no such bound. A least value of 0 bounds nothing."""

UNKNOWN = 1e6
"""How far a network is outside a limit on a cost that is not known for it."""

TINY = 2.0**-52
"""The least that a cost above its limit is above it: division rounds."""


def above(limits: Limits, times: float = 1.0) -> Excess:
    """How far a network is above its upper limits: the largest cost / limit - 1. It is within them when this is 0 or less.

    Args:
        times: a multiple of the limits that is allowed.
    """
    highs = [(cost_named(name), times * high) for name, (_, high) in limits.items() if high is not None]

    def excess(arch: Architecture) -> float:
        found = [(cost(arch), high) for cost, high in highs]
        return max((UNKNOWN if cost is None else violation(cost, high) for cost, high in found), default=-1.0)

    return excess


def below(limits: Limits) -> Excess:
    """How far a network is below its lower limits: the largest 1 - cost / limit. It is within them when this is 0 or less."""
    lows = [(cost_named(name), low) for name, (low, _) in limits.items() if low is not None]

    def lacking(arch: Architecture) -> float:
        found = [(cost(arch), low) for cost, low in lows]
        return max((UNKNOWN if cost is None else shortfall(cost, low) for cost, low in found), default=-1.0)

    return lacking


def outside(limits: Limits, times: float = 1.0) -> Excess:
    """The larger of `above` and `below`: a network is feasible when this is 0 or less."""
    high, low = above(limits, times), below(limits)
    return lambda arch: max(high(arch), low(arch))


def violation(cost: float, limit: float) -> float:
    """cost / limit - 1, above 0 if and only if the cost is above the limit: division rounds. Of a limit of 0, the cost itself."""
    found = cost / limit - 1 if limit > 0 else cost - limit
    return max(found, TINY) if cost > limit else min(found, 0.0)


def shortfall(cost: float, floor: float) -> float:
    """1 - cost / floor, above 0 if and only if the cost is below the floor. At most 1, so that samplers can compute with it; -1 of a floor
    of 0, which no cost is below.
    """
    if floor <= 0:
        return -1.0
    found = 1 - cost / floor
    return max(found, TINY) if cost < floor else min(found, 0.0)

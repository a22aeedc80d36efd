"""The costs of a search: which there are, how far a network is above the limits, and whether any network keeps them."""

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence

from nas.config.search import SearchConfig
from nas.goals.budget import UNKNOWN, Budget
from nas.goals.objectives import Objective, parse_objectives
from nas.latency.profiles import add_profiles
from search_spaces.architecture import Architecture
from search_spaces.costs import BUILT_IN, cost_named, cost_names, costs_of
from search_spaces.costs.table import read_costs
from search_spaces.errors import InputError, OutsideBudget, nearest
from search_spaces.feasible import FeasibleSampler
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded, resolved


def prepare_costs(settings: SearchConfig) -> list[Architecture]:
    """Reads the files of measured costs, and checks that every limit and objective names a cost that is known.

    Plugins, which may register costs, are imported before.

    Returns:
        The architectures that the files list.

    Raises:
        InputError: a file cannot be used, or there is no cost of a name.
    """
    listed = [arch for path in settings.measured for arch in read_costs(path)]
    budget, objectives = Budget.parse(settings.budget), parse_objectives(settings.objectives)
    if settings.learned:
        from nas.latency.learned_costs import add_learned  # scikit-learn's models take a second to import

        for path in settings.learned:
            add_learned(path)
    add_profiles(settings.profiles, needed(budget, objectives), settings.fill)
    check_limits(budget, "search.budget")
    for objective in objectives:
        if objective.is_cost:
            _check(objective.name, "search.objectives", objective.name, settings.objectives)
    return listed


LATENCY = "latency_ms"

CALLED = {
    **dict.fromkeys(("flops", "madds", "mac", "multadds"), "macs"),
    **dict.fromkeys(("latency", "lat", "ms", "time", "milliseconds"), LATENCY),
    **dict.fromkeys(("parameters", "weights", "size"), "params"),
}
"""What else costs are called, for messages: spelling alone takes `flops` for `params`. Not gflops, whose numbers have another unit."""

_WITH_A_PROFILE = "{} search.profiles=FILE, where FILE is from: nas profile space=SPACE out=FILE"


def check_limits(budget: Budget, key: str) -> None:
    """
    Args:
        key: what the message calls the budget.

    Raises:
        InputError: there is no cost of a name that the budget limits.
    """
    limits = [f"{name}={budget.spelt(name)}" for name in budget.names]
    for name, typed in zip(budget.names, limits, strict=True):
        _check(name, key, typed, limits)


def _check(name: str, key: str, typed: str, among: Sequence[str]) -> None:
    """
    Args:
        typed: where the name stands among what was typed for the key.
    """
    try:
        cost_named(name)
    except InputError:
        named = {item.partition("=")[0] for item in among}
        free = [known for known in cost_names() if known not in named]  # a second limit of one cost would be refused
        others = [item for item in among if item != typed]
        called, at, device = name.partition("@")
        meant = CALLED.get(called.lower(), called)
        if meant == LATENCY:
            meant += at + device
        elif meant not in cost_names():
            meant = nearest(name, free) if free else ""
        fixed = [typed.replace(name, meant, 1)] if meant and (meant == name or meant not in named) else []
        instead = f"{key}={','.join([*others, *fixed])}"
        allowed = f"{', '.join(cost_names())}, a cost of a plugin, a column of a file in search.measured or search.learned, or the device of search.profiles"
        if called.lower() == "flops" and "=" in typed:
            allowed += "; macs counts a multiplication and its addition as one operation: halve a number of FLOPs that counts them as two"
        raise InputError(
            f"{key} names {name!r}, which is no known cost",
            allowed,
            _WITH_A_PROFILE.format(instead) if meant.partition("@")[0] == LATENCY else instead,
        ) from None


def needed(budget: Budget, objectives: Sequence[Objective]) -> tuple[str, ...]:
    """The costs that a search needs, each once."""
    names = (*budget.names, *(objective.name for objective in objectives if objective.is_cost))
    return tuple(dict.fromkeys(names))


def sparse_costs(budget: Budget, objectives: Sequence[Objective]) -> tuple[str, ...]:
    """The costs that a search needs and that may be unknown for some networks: all but those that are counted."""
    return tuple(name for name in needed(budget, objectives) if name not in BUILT_IN)


def measured_costs(settings: SearchConfig) -> set[str]:
    """The names of the costs that files of measured values have."""
    files = {str(resolved(path)) for path in map(expanded, settings.measured)}
    return {name for name in cost_names() if any(cost_named(name).origin.endswith(file) for file in files)}


def or_else(cost: Callable[[Architecture], float | None], otherwise: float) -> Callable[[Architecture], float]:
    """A cost with a value where it is not known."""

    def found(arch: Architecture) -> float:
        value = cost(arch)
        return otherwise if value is None else value

    return found


Violations = Callable[[Architecture], Mapping[str, float]]


def violations_of(budget: Budget, sparse: Sequence[str] = ()) -> Violations:
    """Per limited cost, how far an architecture is outside its limits: see `nas.goals.budget.Budget.violations`.

    Args:
        sparse: costs that are needed and known for some networks only: any other network is infeasible.
    """
    sparse = tuple(name for name in sparse if name not in budget.names)

    def violations(arch: Architecture) -> Mapping[str, float]:
        costs = costs_of(arch, (*budget.names, *sparse))
        return budget.violations(costs) | {name: -1.0 if name in costs else UNKNOWN for name in sparse}

    return violations


def excess_of(violations: Violations) -> Callable[[Architecture], float]:
    """One number, which is not above 0 where an architecture is feasible."""
    return lambda arch: max(violations(arch).values(), default=-1.0)


def known_everywhere(name: str) -> bool:
    """Whether a cost is known wherever the units of a network are: it is counted, or adds up over units."""
    return name in BUILT_IN or (name in cost_names() and cost_named(name).additive is not None)


def check_feasible(space: SearchSpace, budget: Budget) -> None:
    """
    Raises:
        InputError: no network within the limits on counted costs, and on those that add up over units, was found. It names the binding
            limit, or the two that no network keeps together, and the nearest network's costs.
    """
    checked = budget.over([name for name in budget.names if known_everywhere(name)])
    found, within = nearest_within(space, checked)
    if not within:
        raise refusal(space, checked, found)


def nearest_within(space: SearchSpace, budget: Budget) -> tuple[Architecture, bool]:
    """The network that comes nearest to a budget, and whether it is within it.

    Steps of one choice each find it nearly always, and quickly. In a narrow range they may end beside it; then members within are
    sampled, where all limits are on costs that add up over units. That takes a count of every unit of the space, and so it is left
    where a limit on a counted cost is beyond its extreme, which the steps do find.
    """

    def stepped(limits: Budget) -> tuple[Architecture, bool]:
        excess = excess_of(violations_of(limits))
        closest = space.nearest(excess)
        return closest, excess(closest) <= 0

    closest, within = stepped(budget)
    if within or any(cost_named(name).additive is None for name in budget.names):
        return closest, within
    alone = budget.single()
    if any(limit.names[0] in BUILT_IN and (len(alone) == 1 or not stepped(limit)[1]) for limit in alone):
        return closest, False
    limits = [(name, budget.floor(name) or 0.0, budget.limit(name) or math.inf) for name in budget.names]
    try:
        return FeasibleSampler(space, limits).sample(random.Random(0)), True
    except OutsideBudget:
        return closest, False


def apart(space: SearchSpace, budget: Budget, costs: Mapping[str, float]) -> Sequence[Budget]:
    """The first two limits for which no network was found that keeps both, though one was found for each of them alone; or nothing.

    A limit is one from above or one from below: two may be the ends of one range.

    Args:
        costs: of the network that came nearest to all limits. What it keeps need not be searched for, which takes a while in a large space.
    """

    def kept(limits: Budget) -> bool:
        return limits.allows(costs) or nearest_within(space, limits)[1]

    alone = budget.single()
    if len(alone) < 2 or not all(map(kept, alone)):
        return ()
    return next((pair for pair in itertools.combinations(alone, 2) if not kept(pair[0] | pair[1])), ())


def refusal(space: SearchSpace, budget: Budget, closest: Architecture, needed: Sequence[str] = ()) -> InputError:
    """The error of a budget that nothing was found within.

    Args:
        closest: the network that came nearest.
        needed: costs that have to be known.
    """
    costs = costs_of(closest, (*budget.names, *needed))
    unknown = [name for name in (*budget.names, *needed) if name not in costs]
    if unknown:
        return InputError(
            f"no network of space {space.name} was found whose {unknown[0]} is known"
            + (f" and that is within search.budget={budget}" if budget else ""),
            f"a function that gives {unknown[0]} for networks within the budget; or a file in search.measured with their digests and, "
            "in a column architecture, the JSON of their arch.json",
            "another limit, or more networks in the file",
        )
    return budget.refusal(space.name, costs, apart(space, budget, costs))

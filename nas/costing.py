"""The costs of a search: which there are, how far a network is above the limits, and whether any network keeps them."""

import random
from collections.abc import Callable, Mapping, Sequence

from nas.budget import UNKNOWN, Budget
from nas.config import SearchConfig
from nas.objectives import Objective, parse_objectives
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names, costs_of
from search_spaces.costs.table import read_costs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.space import SearchSpace


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
    for name in budget.names:
        _check(name, "search.budget")
    for objective in objectives:
        if objective.is_cost:
            _check(objective.name, "search.objectives")
    return listed


def _check(name: str, key: str) -> None:
    try:
        cost_named(name)
    except InputError as error:
        known = ", ".join(cost_names())
        raise InputError(
            f"{key} names {name!r}, which is no known cost",
            f"{known}, a cost of a plugin, or a column of a file in search.measured",
            error.instead,
        ) from None


PROBES = 20
"""Members that tell whether a cost is known for all networks of a space, or for those of a table only."""


def is_known(name: str, space: SearchSpace) -> bool:
    """Whether a cost has a value for members of a space in general."""
    rng, cost = random.Random(0), cost_named(name)
    return all(cost(space.sample(rng)) is not None for _ in range(PROBES))


def needed_costs(budget: Budget, objectives: Sequence[Objective]) -> tuple[str, ...]:
    """The costs without which a network is infeasible: those that are limited, and the objectives."""
    return tuple(dict.fromkeys((*budget.names, *(o.name for o in objectives if o.is_cost))))


Violations = Callable[[Architecture], Mapping[str, float]]


def violations_of(budget: Budget, sparse: Sequence[str] = ()) -> Violations:
    """Per limited cost, how far an architecture is above its limit (cost / limit - 1).

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


def check_feasible(space: SearchSpace, budget: Budget) -> None:
    """
    Args:
        budget: on costs that are known for all networks.

    Raises:
        InputError: no network within the budget was found; it names the binding limit and the nearest network's costs.
    """
    excess = excess_of(violations_of(budget))
    nearest = space.nearest(excess)
    if excess(nearest) > 0:
        raise refusal(space, budget, nearest)


def refusal(space: SearchSpace, budget: Budget, nearest: Architecture | OutsideBudget) -> InputError:
    """The error of a budget that nothing was found within."""
    arch = nearest.nearest if isinstance(nearest, OutsideBudget) else nearest
    return budget.refusal(space.name, costs_of(arch, budget.names))

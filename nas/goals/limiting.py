"""A budget of training: the space that the supernet is made for, the sub-networks that train it, and the searches that it allows."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from nas.config import Config, TrainConfig
from nas.goals.budget import Budget
from nas.goals.costing import check_limits, measured_costs, prepare_costs, refusal
from nas.latency.profiles import add_profiles, check_covered
from search_spaces.costs import temporary_costs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.limits import Limits
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from supernet.fitting import Fit

KEY = "train.budget"


def limits_of(budget: Budget) -> Limits:
    """A budget as `search_spaces` takes it."""
    return {name: (budget.floor(name), budget.limit(name)) for name in budget.names}


def budget_of(settings: TrainConfig) -> Budget:
    """The budget of training; empty without one."""
    return Budget.parse(settings.budget, KEY)


@contextmanager
def costs_of_training(config: Config, key: str = KEY) -> Iterator[None]:
    """Inside, the costs that the budget of training limits are known. Without such a budget nothing is read.

    Args:
        key: what a message calls the budget.

    Raises:
        InputError: there is no cost of a name, or it is known for some networks only.
    """
    budget = budget_of(config.train)
    if not budget:
        yield
        return
    with temporary_costs():
        prepare_costs(replace(config.search, budget="none"))  # which may be the same, and is checked by another name
        add_profiles(config.search.profiles, budget.names, config.search.fill)
        check_limits(budget, key)
        for name in sorted(measured_costs(config.search) & {*budget.names}):
            others = budget.over([other for other in budget.names if other != name])
            raise InputError(
                f"{key} limits {name}, which is known for the networks of a table only",
                "costs that are known for every network, such as macs, params and activations",
                f"{key}={others} search.budget={budget}",
            )
        yield


def narrow(space: SearchSpace, budget: Budget, key: str = KEY) -> SearchSpace:
    """A space without the choices that no network within a budget can have; the same object where there are none.

    Args:
        space: checked and bound to its data.
        key: what a message calls the budget.

    Raises:
        InputError: no network within the budget was found, or a cost is not known for units of the space.
    """
    limits = limits_of(budget)
    try:
        found = narrowed(space, limits)
        Fit(found, limits).check()
    except OutsideBudget as error:
        check_covered(space, budget.names)  # which names the units of the space that a profile lacks
        missed = refusal(space, budget, error.nearest)
        raise InputError(missed.given, missed.allowed, missed.instead.replace("search.budget", key)) from None
    return found


def fit_of(settings: TrainConfig, space: SearchSpace) -> Fit | None:
    """What keeps the sub-networks of training within its budget; None without one.

    Args:
        space: narrowed to the budget.
    """
    budget = budget_of(settings)
    return Fit(space, limits_of(budget), settings.largest) if budget else None


def check_search(training: Budget, search: Budget) -> None:
    """
    Raises:
        InputError: the search allows networks that the supernet was not made for.
    """
    both = training | search
    if both == search:
        return
    looser = next(name for name in training.names if both.spelt(name) != search.spelt(name))
    # A range of the search may lie outside that of training, and then no network is in both.
    empty = [name for name in training.names if (both.floor(name) or 0) > (both.limit(name) or math.inf)]
    if empty:
        both = training | search.over([name for name in search.names if name not in empty])
    raise InputError(
        f"search.budget={search} is looser than {KEY}={training}, for which the supernet was made: networks with {looser} outside "
        f"{looser}={training.spelt(looser)} were never trained",
        f"limits that are equal or tighter on {', '.join(training.names)}, and any others",
        f"search.budget={both}, or a new supernet: nas train run=runs/new {KEY}={search}",
    )

"""What is known of the networks of a space without evaluating them, in the form in which a sampler can ask for it.

A sampler whose class has the attribute `takes_exact = True` is given those of these arguments that its constructor has
(`nas.samplers.make_sampler`):

- `known`: for each objective that is a cost, by its number, a function of parameters by name;
- `constraints`: for each limited cost, by its name, how far parameters are outside the limit, at most 0 where it is kept;
- `identity`: the digest of the network that parameters stand for;
- `search_space`: the parameters;
- `candidates`: parameters of all networks that may be evaluated, where these are listed (those with measured costs); else None.

Each function has an attribute `many`, which looks up many networks at once, and which is given arrays of the indices of choices by name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from nas.goals.budget import Budget
from nas.goals.objectives import Objective
from nas.samplers.proposer import distributions_of, labels_of
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, costs_of
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.limits import UNKNOWN
from search_spaces.space import SearchSpace

Params = Mapping[str, Any]
"""A label per gene, by the gene's name; genes of one choice may be left out."""


class Exact:
    """What a sampler can be told of a space.

    Args:
        budget: the limits.
        sparse: costs that a network must have a value of, beside the limited ones.
        listed: all networks that may be evaluated, where not every one within the budget may.
    """

    def __init__(
        self,
        space: SearchSpace,
        objectives: Sequence[Objective],
        budget: Budget,
        sparse: Sequence[str] = (),
        listed: Sequence[Architecture] | None = None,
    ) -> None:
        self.space, self.objectives, self.budget, self.listed = space, objectives, budget, listed
        self._sparse = tuple(name for name in sparse if name not in budget.names)
        self._index = {gene: {label: i for i, label in enumerate(labels)} for gene, labels in labels_of(space).items()}

    def arguments(self) -> dict[str, Any]:
        """By the name of a sampler's argument."""
        known = {
            number: self._function(objective.name, lambda costs: np.nan_to_num(costs, nan=math.inf))
            for number, objective in enumerate(self.objectives)
            if objective.is_cost
        }
        return {
            "known": known,
            "constraints": {name: self._function(name, self._violation(name)) for name in (*self.budget.names, *self._sparse)},
            "identity": lambda params: self.decode(params).digest,
            "search_space": distributions_of(self.space),
            "candidates": None if self.listed is None else [self._params(arch) for arch in self.listed],
        }  # fmt: skip

    def _params(self, arch: Architecture) -> dict[str, Any]:
        """The parameters of a network."""
        pairs = zip(self._index.items(), self.space.encode(arch), strict=True)
        return {gene: list(index)[number] for (gene, index), number in pairs}

    def decode(self, params: Params) -> Architecture:
        """The network of parameters."""
        return self.space.decode(
            tuple(index[params[gene]] if gene in params else 0 for gene, index in self._index.items())
        )

    def _violation(self, name: str) -> Callable[[np.ndarray], np.ndarray]:
        """How far costs (n,) are outside the limits of one of them, as `nas.goals.budget.Budget.violations` has it."""

        def found(costs: np.ndarray) -> np.ndarray:
            if name in self._sparse:
                return np.where(np.isnan(costs), UNKNOWN, -1.0)
            of_one = self.budget.over((name,)).violations
            values, back = np.unique(costs[~np.isnan(costs)], return_inverse=True)
            violations = np.array([of_one({name: value})[name] for value in values.tolist()])
            outside = np.full(len(costs), UNKNOWN)
            outside[~np.isnan(costs)] = violations[back] if len(values) else []
            return outside

        return found

    def _function(self, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Params], float]:
        def one(params: Params) -> float:
            cost = costs_of(self.decode(params), (name,)).get(name, math.nan)
            return float(change(np.array([cost]))[0])

        def many(table: Mapping[str, np.ndarray]) -> np.ndarray:
            count = len(next(iter(table.values())))
            columns = [table.get(gene, np.zeros(count, np.intp)) for gene in self._index]
            return change(self._costs(name, np.stack(columns, axis=1)))

        setattr(one, "many", many)  # noqa: B010
        return one

    def _costs(self, name: str, genes: np.ndarray) -> np.ndarray:
        """One cost (n,) of networks by their genes (n, genes); NaN where it is not known."""
        if name in self._additive.names:
            return self._additive.costs(genes)[name]
        found = (costs_of(self.space.decode(tuple(row)), (name,)).get(name, math.nan) for row in genes.tolist())
        return np.fromiter(found, float, len(genes))

    @cached_property
    def _additive(self) -> Any:
        """The costs that add up over units."""
        wanted = [objective.name for objective in self.objectives if objective.is_cost]
        names = dict.fromkeys([*self.budget.names, *self._sparse, *wanted])
        additive = [name for name in names if cost_named(name).additive is not None]
        return SpaceCosts(self.space, additive) if additive else _Nothing()


class _Nothing:
    """Stands for the costs of a space where none adds up."""

    names: tuple[str, ...] = ()

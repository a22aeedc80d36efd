"""Costs that are learned from a table of measured networks, for devices where Python does not run.

The table is one that `search_spaces.costs.table` reads, with the column architecture. Each of its costs is learned from its networks and then
known for every network, where the table alone knows those that were measured.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from nas.latency.choosing import FEWEST
from nas.latency.features import unit_features
from nas.latency.learned_networks import FITS, NetworkModel, fit_networks
from nas.latency.profiles import LEARNED
from nas.log import Progress, say
from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, Cost, add_cost
from search_spaces.costs.table import check_columns, read_table
from search_spaces.errors import InputError
from search_spaces.registry import complete
from search_spaces.textfiles import expanded, resolved
from search_spaces.units import Unit, units


def units_of(arch: Architecture) -> Counter[Unit]:
    """The units of a complete architecture, and how often it has each."""
    return Counter(unit for _, unit in units(arch))


def add_learned(path: str | Path, seed: int = 0) -> list[Cost]:
    """Registers each cost of a table of measured networks, learned from them for every network, and prints its error.

    Args:
        seed: of the cross-validation.

    Raises:
        InputError: the table cannot be read, a cost of that name is there already, or too few networks have an architecture.
    """
    table, file = read_table(path), expanded(path)
    origin = f"{LEARNED}a column of {resolved(file)}"
    check_columns(table, origin)
    models = {}
    for name in table.units:
        values = {digest: ms for digest, ms in table.medians(name).items() if digest in table.architectures}
        if len(values) < FEWEST:
            raise InputError(
                f"{path} has {len(values)} networks with {name} and an architecture",
                f"{FEWEST} or more, each with the JSON of its arch.json in the column architecture",
                "more networks, or search.measured in place of search.learned, which takes only networks that were measured",
            )
        archs = tuple(complete(table.architectures[digest]) for digest in values)
        try:
            models[name] = _network_model(archs, tuple(values.values()), seed)
        except InputError as error:
            raise InputError(f"{path}, column {name}: {error.given}", error.allowed, error.instead) from None
    costs = []
    for name, model in models.items():
        learned = f"learned from {model.accuracy.count} networks of {file.name} by {model.name}; cross-validated {model.accuracy}"
        additive = Additive(model.unit_ms, model.base) if model.additive else None
        cost = Cost(name, table.units[name], learned, _Predicted(model), origin, additive)
        add_cost(cost)
        say(f"{name}: {learned}")
        costs.append(cost)
    return costs


@lru_cache(maxsize=8)
def _network_model(archs: tuple[Architecture, ...], ms: tuple[float, ...], seed: int) -> NetworkModel[Unit]:
    progress = Progress("learning", FITS)
    return fit_networks([units_of(arch) for arch in archs], np.array(ms), unit_features, seed, progress)


@dataclass(frozen=True)
class _Predicted:
    """What a model predicts, of networks that were measured too: then costs of networks compare with each other."""

    model: NetworkModel[Unit]

    def __call__(self, arch: Architecture) -> float:
        return float(self.model.predict([units_of(arch)])[0])

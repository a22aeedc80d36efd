"""The cost `params`: parameters of a network, buffers not included."""

from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, register_cost
from search_spaces.costs.pieces import cost, unit_cost


@register_cost(
    "params", unit="parameters", about="weights of the network", additive=Additive(lambda unit: unit_cost(unit).params)
)
def params(arch: Architecture) -> int:
    """Parameters of an architecture. Raises as `pieces.cost`."""
    return cost(arch).params

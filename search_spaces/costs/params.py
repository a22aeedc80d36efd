"""The cost `params`: parameters of a network, buffers not included."""

from search_spaces.architecture import Architecture
from search_spaces.costs import register_cost
from search_spaces.costs.pieces import cost


@register_cost("params", unit="parameters", about="weights of the network")
def params(arch: Architecture) -> int:
    """Parameters of an architecture. Raises as `pieces.cost`."""
    return cost(arch).params

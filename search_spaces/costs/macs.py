"""The cost `macs`: multiply-adds of a network for one image, by the conventions of operators.py."""

from search_spaces.architecture import Architecture
from search_spaces.costs import Additive, register_cost
from search_spaces.costs.pieces import cost, unit_cost


@register_cost(
    "macs", unit="MACs", about="multiply-adds for one image", additive=Additive(lambda unit: unit_cost(unit).macs)
)
def macs(arch: Architecture) -> int:
    """MACs of an architecture at its resolution, for one image. Raises as `pieces.cost`."""
    return cost(arch).macs

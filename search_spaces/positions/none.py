"""No position encoding."""

from search_spaces.registry import Position, register
from search_spaces.unchanged import NoOptions, Unchanged


@register("none")
class NoPosition(Unchanged, Position):
    """Leaves its input as it is."""

    Options = NoOptions
    examples = (NoOptions(),)

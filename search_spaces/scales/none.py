"""No scale."""

from search_spaces.registry import Scale, register
from search_spaces.unchanged import NoOptions, Unchanged


@register("none")
class NoScale(Unchanged, Scale):
    """Leaves its input as it is."""

    Options = NoOptions
    examples = (NoOptions(),)

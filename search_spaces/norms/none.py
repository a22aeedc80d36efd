"""No norm."""

from search_spaces.registry import Norm, register
from search_spaces.unchanged import NoOptions, Unchanged


@register("none")
class NoNorm(Unchanged, Norm):
    """Leaves its input as it is."""

    Options = NoOptions
    examples = (NoOptions(),)

"""No token mixer: the block has its channel mixer only (MAT's first two stages, dissertation, table 4.2)."""

from search_spaces.registry import TokenMixer, register
from search_spaces.unchanged import NoOptions, Unchanged


@register("none")
class NoMixer(Unchanged, TokenMixer):
    """A block with it has no norm and no scale for the mixer's branch either, and never calls it."""

    Options = NoOptions
    examples = (NoOptions(),)
    is_absent = True

"""The identity as a token mixer: the baseline of EMSNet's ablation (dissertation, table 3.5)."""

from search_spaces.registry import TokenMixer, register
from search_spaces.unchanged import NoOptions, Unchanged


@register("identity")
class Identity(Unchanged, TokenMixer):
    """Mixes nothing: the block adds its normalised features to its features."""

    Options = NoOptions
    examples = (NoOptions(),)

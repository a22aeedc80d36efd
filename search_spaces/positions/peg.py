"""Conditional position encoding, made by a position encoding generator (PEG; CPVT, arXiv:2102.10882, section 4.2)."""

from dataclasses import dataclass

from search_spaces.positions.dpe import DPE
from search_spaces.registry import register


@register("peg")
class PEG(DPE):
    """x + DWConv(x) with bias and zero padding, which is where positions come from; CPVT's kernel is 3.

    The same map as `dpe`, which comes from another paper with kernel 7; MAT and PartialFormer have this one before each attention. It has
    a name of its own since files of architectures name it, and a supernet that offers both trains weights for each.
    """

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Options(DPE.Options):
        kernel_size: int = 3

    examples = (Options(), Options(kernel_size=5))

"""Merging what training had in parallel: the same outputs with fewer parameters, as a network of another architecture.

A part takes part by `reparameterised` (the merged module, on copies of its weights) and `reparameterised_options`.
"""

import copy
import dataclasses

from torch import nn

from search_spaces.architecture import Architecture, Part
from search_spaces.network import Network
from search_spaces.registry import PartModule, complete, lookup, options


def _merged(kind: str, part: Part) -> Part:
    merged = lookup(kind, part.name).reparameterised_options(options(kind, part))
    return part if merged is None else Part(part.name, tuple(dataclasses.asdict(merged).items()))


def reparameterised(arch: Architecture) -> Architecture:
    """The architecture that a network of `arch` has after `reparameterise`; `arch`, completed, where there is nothing to merge.

    Raises:
        InputError: an unknown part or option, or a value that is not allowed.
    """
    return complete(arch).mapped(_merged)


def reparameterise(network: Network) -> Network:
    """A network of `reparameterised(network.arch)` with the same outputs in evaluation mode, up to rounding, on copies of the weights.
    A timm model stays one.
    """
    merged = copy.deepcopy(network)
    merge_parts(merged)
    merged.arch = reparameterised(network.arch)
    return merged


def merge_parts(module: nn.Module) -> None:
    """Puts the merged form in the place of every part inside `module` that has one."""
    for name, child in list(module.named_modules()):
        part = child.reparameterised() if isinstance(child, PartModule) else None
        if part is not None:
            trained = any(parameter.requires_grad for parameter in child.parameters())
            module.set_submodule(name, part.train(child.training).requires_grad_(trained))

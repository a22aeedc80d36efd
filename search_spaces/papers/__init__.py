"""The papers' networks. Each family is a table like the one in its paper, and each network an architecture.

    from search_spaces.papers import paper_network, paper_networks
    build(paper_network("transxnet_tiny").arch)

Counts are at 224 x 224 and 1,000 classes. "Ours" counts every product, attention and dynamic convolutions included (costs/operators.py);
"as published" follows the rule of the counter that the paper's authors used (`costs.published.RULES`), so that their figure can be compared.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import unknown

IMAGE = {"in_channels": 3, "num_classes": 1000, "resolution": 224}
"""The image size and classes of the published counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperNetwork:
    """A network as a paper publishes it.

    Args:
        name: as for `timm.create_model`; a row of an ablation is named FAMILY_TABLE_ROW.
        family: of the paper's networks, and the name of the search space that has them.
        arch: not completed; `search_spaces.complete` writes its options out.
        source: where it is in the paper.
        params, macs: as printed, in millions and in 10^9; None if nothing (legible) is printed.
        top1: ImageNet-1K, in per cent, as printed.
        rule: the counter behind the printed MACs, a name in `costs.published.RULES`.
        uncomputed: MACs of results in the paper's network that nothing reads; our network does not compute them.
        drop_path: rate of stochastic depth in training; 0 if none is printed.
        note: why a count differs from the printed one, or what the paper leaves open.
        ablation: whether it is a row of an ablation rather than a network for use.
    """

    name: str
    family: str
    arch: Architecture
    source: str
    params: float | None = None
    macs: float | None = None
    top1: float | None = None
    rule: str = "ours"
    uncomputed: int = 0
    drop_path: float = 0.0
    note: str = ""
    ablation: bool = False


@cache
def _all() -> Mapping[str, PaperNetwork]:
    found: dict[str, PaperNetwork] = {}
    for module in pkgutil.iter_modules(__path__):
        for network in importlib.import_module(f"{__name__}.{module.name}").networks():
            assert network.name not in found, network.name
            found[network.name] = network
    return found


def paper_networks(*, ablations: bool = False) -> list[PaperNetwork]:
    """The papers' networks in the order of their tables; with `ablations`, rows of ablations too."""
    return [network for network in _all().values() if ablations or not network.ablation]


def paper_network(name: str) -> PaperNetwork:
    """
    Raises:
        InputError: no such network; the nearest name is offered.
    """
    if name not in _all():
        raise unknown("network", name, list(_all()), "{}")
    return _all()[name]


def stage(width: int, embedding: Part, depth: int, block: Block, position_bias: Part | None = None) -> Stage:
    """An embedding and `depth` equal blocks."""
    return Stage(width=width, embedding=embedding, blocks=(block,) * depth, position_bias=position_bias)


def architecture(stages: Iterable[Stage], head: Part) -> Architecture:
    """An architecture for ImageNet at 224 x 224."""
    return Architecture(**IMAGE, stages=tuple(stages), head=head)

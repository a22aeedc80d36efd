"""What every search is compared with, beside random search: a plain network as one would design by hand."""

import itertools
import math

from search_spaces.architecture import Architecture
from search_spaces.space import Cost, Gene, SearchSpace
from supernet.sampling import is_kind

STEPS = 3
"""Levels (smallest, middle, largest) at which the hand-designed network's expansion and other options are tried."""


ENUMERATED = 20_000
"""Combinations of widths and depths that are tried one by one."""


def hand_designed(space: SearchSpace, cost: Cost, target: float) -> Architecture:
    """The plain network whose `cost` is nearest to `target`, both above 0, by their ratio: in every block the first token mixer and the first FFN that the space offers.

    All blocks are alike. Width and depth of each stage, and one level for all other options, are chosen for the cost alone.
    """
    free: list[list[int]] = []
    levels: list[list[int]] = []
    for gene in space.genes:
        count = len(gene.choices)
        if is_kind(gene):
            levels.append([0] * STEPS)
            free.append([0])
        elif _is_size(gene):
            levels.append([-1] * STEPS)
            free.append(list(range(count)))
        else:
            levels.append([round(level * (count - 1) / (STEPS - 1)) for level in range(STEPS)])
            free.append([0])
    if math.prod(map(len, free)) > ENUMERATED:  # one level of width and one of depth for all stages
        most = max(map(len, free))
        levels_of = [[round(share * (len(values) - 1) / (most - 1)) for values in free] for share in range(most)]
        kinds = [gene.name.endswith(".width") for gene in space.genes]
        picks = itertools.product(levels_of, levels_of)
        combinations = [
            tuple(w if is_width else d for w, d, is_width in zip(*pair, kinds, strict=True)) for pair in picks
        ]
    else:
        combinations = list(itertools.product(*free))
    best: tuple[float, str, Architecture] | None = None
    for level in range(STEPS):
        for sizes in combinations:
            genes = tuple(size if levels[i][level] < 0 else levels[i][level] for i, size in enumerate(sizes))
            arch = space.decode(genes)
            key = (_distance(cost(arch), target), arch.digest, arch)
            if best is None or key[:2] < best[:2]:
                best = key
    assert best is not None
    return best[2]


def _distance(cost: float, target: float) -> float:
    """In factors; costs of 0 have none, and differ by so much."""
    return abs(math.log(cost / target)) if cost > 0 and target > 0 else abs(cost - target)


def _is_size(gene: Gene) -> bool:
    return gene.name.count(".") == 1 and gene.name.endswith((".width", ".depth"))

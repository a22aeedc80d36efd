"""Which sub-networks one training step runs.

The sandwich rule (arXiv:2003.11142) trains the largest, the smallest and random sub-networks in every step. In a space of several
operators "largest" says nothing about the operator, and random draws leave operators unequally trained; so sizes follow the
sandwich, and operators are dealt out: in each place, the paths of a step share the parts as evenly as their number allows
(strict operator fairness, arXiv:1907.01845).

Under a budget the same draw says which operators and sizes are wanted, and `supernet.fitting` finds what fits.
"""

import random

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.fitting import Fit


def deal(choices: int, paths: int, rng: random.Random) -> list[int]:
    """`paths` indices in random order in which every choice occurs equally often, give or take one."""
    dealt: list[int] = []
    while len(dealt) < paths:
        dealt += rng.sample(range(choices), choices)
    dealt = dealt[:paths]
    rng.shuffle(dealt)
    return dealt


def sandwich(space: SearchSpace, rng: random.Random, random_paths: int, fit: Fit | None = None) -> list[Architecture]:
    """The sub-networks of one step: largest sizes first, then smallest sizes, then random sizes; operators dealt out.

    An option's values are taken as ascending: its first is the smallest and its last the largest.

    Args:
        fit: of this space, where limits hold. With limits that nothing is outside, the sub-networks are those without any.
    """
    paths = 2 + random_paths
    columns = []
    for gene in space.genes:
        count = len(gene.choices)
        if gene.chooses_part:
            columns.append(deal(count, paths, rng))
        else:
            columns.append([count - 1, 0, *(rng.randrange(count) for _ in range(random_paths))])
    drawn = [tuple(column[path] for column in columns) for path in range(paths)]
    if fit is None:
        return [space.decode(genes) for genes in drawn]
    return [
        fit.largest_of(drawn[0], rng),
        fit.smallest_of(drawn[1], rng),
        *(fit.random_of(genes, rng) for genes in drawn[2:]),
    ]

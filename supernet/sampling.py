"""Which sub-networks one training step runs.

The sandwich rule (arXiv:2003.11142) trains the largest, the smallest and random sub-networks in every step. It only applies to sizes: no
operator is the largest, and random draws would train operators unequally. Operators therefore follow strict operator fairness
(arXiv:1907.01845): in each place, the sub-networks of a step use each operator equally often, or as nearly so as their numbers allow.

Under a budget, the same draw says which operators and sizes are wanted, and `supernet.fitting` finds networks that fit.
"""

import random

from search_spaces.architecture import Architecture
from search_spaces.space import SearchSpace
from supernet.fitting import Fit


def deal(choices: int, paths: int, rng: random.Random) -> list[int]:
    """Strict fairness: `paths` indices in random order, in which the counts of any two choices differ by at most one."""
    dealt: list[int] = []
    while len(dealt) < paths:
        dealt += rng.sample(range(choices), choices)
    dealt = dealt[:paths]
    rng.shuffle(dealt)
    return dealt


def sandwich(space: SearchSpace, rng: random.Random, random_paths: int, fit: Fit | None = None) -> list[Architecture]:
    """The sub-networks of one step: largest sizes first, then smallest sizes, then random sizes; operators by `deal`.

    The values of an option must ascend: the first is the smallest and the last the largest.

    Args:
        fit: of this space, if there are limits. Limits that every network keeps do not change the sub-networks.
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

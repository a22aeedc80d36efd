"""What evaluating the candidates of a batch in the order of their shared prefixes would save, counted on recorded searches.

    python tests/benchmarks/prefix_order.py results/relations/evaluations.jsonl results/relations_latency_wide/evaluations.jsonl

Printed is the share of units whose maps are kept from earlier networks (`supernet.reuse`), with room for all maps. `as proposed` keeps a
prefix once it comes a second time, as a search does. `ordered` knows the candidates of a batch beforehand, sorts them by prefix, and
keeps at once what a later one of them begins with. With several processes, `as proposed` deals the candidates out in turn, and `ordered`
gives each process neighbours. No network is run, and a unit counts the same whatever it costs.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from search_spaces.architecture import Architecture
from search_spaces.units import units

Prefix = tuple[object, ...]


def prefixes(arch: Architecture) -> list[Prefix]:
    """The leading units of a network: one, two and so on. A prefix holds the one before it, so that equal ones are cheap to make."""
    return list(accumulate(units(arch), lambda prefix, unit: (prefix, unit), initial=()))[1:]


class Process:
    """What one process has seen and kept."""

    def __init__(self) -> None:
        self.seen: set[Prefix] = set()
        self.kept: set[Prefix] = set()
        self.units = self.spared = 0

    def evaluate(self, candidates: Sequence[list[Prefix]], ahead: bool) -> None:
        """
        Args:
            ahead: what several of the candidates begin with is kept when it comes first.
        """
        coming = Counter(prefix for chain in candidates for prefix in chain)
        for chain in candidates:
            self.units += len(chain)
            self.spared += max((number for number, prefix in enumerate(chain, 1) if prefix in self.kept), default=0)
            known = sum(prefix in self.seen for prefix in chain)
            self.seen.update(chain)
            self.kept.update(chain[: known + 1])
            if ahead:
                self.kept.update(prefix for prefix in chain if coming[prefix] > 1)


def spared(chains: Sequence[list[Prefix]], batch: int, processes: int, ordered: bool) -> float:
    """The share of units that kept maps spare.

    Args:
        batch: candidates that are known at once.
    """
    pool = [Process() for _ in range(processes)]
    for first in range(0, len(chains), batch):
        some = list(chains[first : first + batch])
        if ordered:
            some.sort(key=str)
        size = -(-len(some) // processes)
        for number, process in enumerate(pool):
            own = some[number * size : (number + 1) * size] if ordered else some[number::processes]
            process.evaluate(own, ordered)
    return sum(process.spared for process in pool) / sum(process.units for process in pool)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="evaluations.jsonl")
    parser.add_argument(
        "--batch", type=int, default=8, help="candidates that are known at once: search.batch for each sampler"
    )
    given = parser.parse_args()
    for file in given.files:
        lines = (json.loads(line) for line in file.read_text().splitlines())
        chains = [prefixes(Architecture.from_dict(line["architecture"])) for line in lines]
        for processes in (1, 2):
            found = [spared(chains, given.batch, processes, ordered) for ordered in (False, True)]
            said = f"as proposed {found[0]:.3f}  ordered {found[1]:.3f}"
            print(f"{file}: {len(chains)} networks, {processes} process(es): {said}")  # noqa: T201


if __name__ == "__main__":
    main()

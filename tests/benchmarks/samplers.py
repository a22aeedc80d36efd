"""Which sampler finds more of the Pareto front: searches replayed on tables in which every network has been evaluated.

    python tests/benchmarks/samplers.py                                 # one made here, one of results/, and NAS-Bench-Graph's if it is installed
    python tests/benchmarks/samplers.py --macro nas-bench-macro_cifar10.json
    python tests/benchmarks/samplers.py --samplers gp --seeds 2         # minutes a search

Two objectives (quality up, cost down) under a budget on the cost, at its 50 % and its 10 % quantile. The score is the hypervolume of
the feasible networks that were evaluated over that of all feasible networks of the table, after 60 and after 120 different ones;
reference point: the 5 % quantile of the quality, and the budget. Mean and worst of the seeds, and seconds of the sampler itself. Between
seeds a score varies by about .1 after 60 networks and .03 after 120: means of 5 by .05 and .015, so compare with `--seeds 40`.

`documented` is Optuna's NSGA-II in a loop as its documentation has it: constraints, and every trial evaluated, whether over the
budget or seen before. Samplers that take exact functions are given the cost and the limit (`nas.searching.exact`).

NAS-Bench-Macro: https://github.com/xiusu/NAS-Bench-Macro (data/nas-bench-macro_cifar10.json). NAS-Bench-Graph: pip install nas-bench-graph.
"""

import argparse
import csv
import importlib
import itertools
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas.goals.objectives import parse_objectives
from nas.samplers import NAMES, make_sampler
from nas.samplers.proposer import Proposer, distributions_of, labels_of
from nas.searching.engine import Proposal, Tally, run_search
from search_spaces.named import load_space
from search_spaces.space import Gene, Genes

AFTER = (60, 120)
QUANTILES = (0.5, 0.1)
POPULATION = 20
OBJECTIVES = parse_objectives(("top1", "macs"))
DOCUMENTED = "documented"
QUICK = (DOCUMENTED, *(name for name in NAMES if name != "gp"))


@dataclass(frozen=True)
class Entry:
    """A network of a table; stands for its architecture."""

    digest: str
    quality: float
    cost: float
    genes: Genes


@dataclass(frozen=True)
class Table:
    """A space in which everything is known.

    Args:
        entries: by genes; different genes may have one network.
    """

    name: str
    genes: tuple[Gene, ...]
    entries: Mapping[Genes, Entry]

    @cached_property
    def members(self) -> list[Entry]:
        return list({entry.digest: entry for entry in self.entries.values() if math.isfinite(entry.cost)}.values())

    @property
    def size(self) -> int:
        return len(self.members)

    def decode(self, genes: Genes) -> Any:
        return self.entries[genes]

    def encode(self, arch: Any) -> Genes:
        return arch.genes

    def sample(self, rng: random.Random, excess: Callable[[Any], float] | None = None) -> Any:
        while True:
            entry = rng.choice(self.members)
            if excess is None or excess(entry) <= 0:
                return entry

    def quantile(self, share: float, of: str) -> float:
        """Linear between entries, as numpy has it."""
        values = sorted(getattr(entry, of) for entry in self.members)
        place = share * (len(values) - 1)
        low = values[math.floor(place)]
        return low + (values[math.ceil(place)] - low) * (place % 1)


def macro(path: Path) -> Table:
    """NAS-Bench-Macro: 8 layers of 3 operators, mean accuracy of 3 seeds on CIFAR-10, MACs."""
    rows = json.loads(path.read_text())
    genes = tuple(Gene(f"layer{i}", (0, 1, 2)) for i in range(8))
    entries = {}
    for key, row in rows.items():
        word = tuple(map(int, key))
        entries[word] = Entry(key, row["mean_acc"], row["flops"], word)
    return Table("NAS-Bench-Macro", genes, entries)


def graph() -> Table | None:
    """NAS-Bench-Graph on Cora: 9 shapes and 4 of 9 operators, validation accuracy, parameters. None if it is not installed."""
    try:
        package = importlib.import_module("nas_bench_graph")
    except ImportError:
        return None
    shapes, operators = package.architecture.link_list, package.architecture.gnn_list
    rows = package.light_read("cora")
    genes = Gene("shape", tuple(range(len(shapes)))), *(Gene(f"operator{i}", tuple(operators)) for i in range(4))
    entries = {}
    for word in itertools.product(*(range(len(gene.choices)) for gene in genes)):
        number = package.Arch(list(shapes[word[0]]), [operators[index] for index in word[1:]]).valid_hash()
        row = rows.get(number, {"valid_perf": 0.0, "para": math.inf})  # skips alone are no network
        entries[word] = Entry(str(number), float(row["valid_perf"]), float(row["para"]), word)
    return Table("NAS-Bench-Graph, Cora", genes, entries)


def made() -> Table:
    """Made here: 8 places with 3 sizes. A place's quality saturates with its size, and depends on the next place's."""
    rng = random.Random(0)
    gain = [[0.0, one := rng.uniform(0.3, 1), one + rng.uniform(-0.2, 0.4)] for _ in range(8)]
    pairs = [[[rng.gauss(0, 0.15) for _ in range(3)] for _ in range(3)] for _ in range(7)]
    costs = [[0, step := rng.randint(20, 60), step + rng.randint(20, 60)] for _ in range(8)]
    genes = tuple(Gene(f"place{i}", (0, 1, 2)) for i in range(8))
    entries = {}
    for word in itertools.product(range(3), repeat=8):
        quality = sum(gain[i][size] for i, size in enumerate(word)) + rng.gauss(0, 0.1)
        quality += sum(pairs[i][word[i]][word[i + 1]] for i in range(7))
        cost = 50 + sum(costs[i][size] for i, size in enumerate(word))
        entries[word] = Entry("".join(map(str, word)), 1 - math.exp(-quality / 3), cost, word)
    return Table("made here", genes, entries)


def inherited() -> Table:
    """results/supernet_table: 3,840 networks with the weights of a supernet on Fashion-MNIST, top-1 of search-validation, MACs."""
    folder = Path(__file__).resolve().parent.parent.parent / "results" / "supernet_table"
    with (folder / "supernet_table.csv").open(newline="") as file:
        rows = {row["digest"]: row for row in csv.DictReader(file)}
    space = load_space(str(folder / "space.toml"))
    entries = {}
    for word in itertools.product(*(range(len(gene.choices)) for gene in space.genes)):
        digest = space.decode(word).digest
        entries[word] = Entry(digest, float(rows[digest]["top1"]), float(rows[digest]["macs"]), word)
    return Table("supernet on Fashion-MNIST", space.genes, entries)


def hypervolume(entries: Sequence[Entry], quality: float, cost: float) -> float:
    """Area that the entries dominate, up to the reference point."""
    area, best = 0.0, quality
    for entry in sorted(entries, key=lambda entry: (entry.cost, -entry.quality)):
        if entry.quality > best and entry.cost < cost:
            area += (cost - entry.cost) * (entry.quality - best)
            best = entry.quality
    return area


def exact(table: Table, budget: float) -> dict[str, Any]:
    """What informed samplers are told: the cost, the limit, and what parameters stand for (`nas.searching.exact`)."""
    labels: Any = labels_of(table)  # of which it reads the genes alone

    def entry(params: Mapping[str, Any]) -> Entry:
        return table.entries[tuple(values.index(params[gene]) for gene, values in labels.items())]

    return {
        "known": {1: lambda params: entry(params).cost},
        "constraints": {"macs": lambda params: violation(entry(params), budget)},
        "identity": lambda params: entry(params).digest,
        "search_space": distributions_of(table),
    }


def violation(entry: Entry, budget: float) -> float:
    """How far a network is over the budget, as a share of it."""
    return min(entry.cost / budget - 1, 1e6)


def searched(table: Table, sampler: str, seed: int, budget: float, batch: int) -> tuple[list[Entry], Tally]:
    """What a sampler evaluates in the project's loop."""
    found: list[Entry] = []

    def score(proposals: Sequence[Proposal]) -> Iterator[tuple[float, float]]:
        for proposal in proposals:
            entry: Any = proposal.arch
            found.append(entry)
            yield entry.quality, entry.cost

    made = make_sampler(sampler, seed=seed, population=POPULATION, exact=exact(table, budget))
    [tally] = run_search(
        table,
        [Proposer(table, sampler, made, OBJECTIVES, ("macs",))],
        evaluations=max(AFTER),
        batch=batch,
        seed=seed,
        violations=lambda entry: {"macs": violation(cast(Any, entry), budget)},
        score=score,
    )
    return found, tally


def documented(table: Table, seed: int, budget: float) -> tuple[list[Entry], Tally]:
    """Optuna's NSGA-II by itself."""
    proposer = Proposer(
        table,
        DOCUMENTED,
        make_sampler("optuna.samplers.NSGAIISampler", seed=seed, population=0, options={"population_size": POPULATION}),
        OBJECTIVES,
        ("macs",),
    )
    found: list[Entry] = []
    tally = Tally(DOCUMENTED, max(AFTER))
    for _ in range(max(AFTER)):
        trial, genes = proposer.ask()
        entry = table.decode(genes)
        tally.asked += 1
        tally.repeated += entry in found
        tally.infeasible += entry.cost > budget
        found.append(entry)
        finite = min(entry.cost, 1e12)
        proposer.tell(trial, (entry.quality, finite), {"macs": finite / budget - 1})
    return found, tally


def rows(tables: Sequence[Table], samplers: Sequence[str], seeds: int, batch: int = 1) -> Iterator[str]:
    """The report, line by line."""
    for table in tables:
        for share in QUANTILES:
            budget, reference = table.quantile(share, "cost"), table.quantile(0.05, "quality")
            inside = [entry for entry in table.members if entry.cost <= budget]
            whole = hypervolume(inside, reference, budget)
            yield f"  {table.name}: {len(inside):,} of {table.size:,} networks within the budget"
            yield f"    {'':12} after {AFTER[0]}: mean, worst   after {AFTER[1]}: mean, worst   proposed  over budget  repeated  drawn   seconds"
            for sampler in samplers:
                scores: list[list[float]] = []
                tallies, clock = [], time.perf_counter()
                for seed in range(seeds):
                    if sampler == DOCUMENTED:
                        found, tally = documented(table, seed, budget)
                    else:
                        found, tally = searched(table, sampler, seed, budget, batch)
                    tallies.append(tally)
                    scores.append(
                        [
                            hypervolume([e for e in found[:count] if e.cost <= budget], reference, budget) / whole
                            for count in AFTER
                        ]
                    )
                seconds = (time.perf_counter() - clock) / seeds
                columns = "   ".join(
                    f"     {statistics.mean(column):.3f}  {min(column):.3f}   " for column in zip(*scores, strict=True)
                )
                asked, infeasible, repeated, drawn = (
                    statistics.mean(getattr(tally, name) for tally in tallies)
                    for name in ("asked", "infeasible", "repeated", "drawn")
                )
                yield f"    {sampler:12} {columns}  {asked:8.0f}  {infeasible:11.0f}  {repeated:8.0f}  {drawn:5.0f}  {seconds:8.2f}"


def tables(path: Path | None = None) -> list[Table]:
    """The tables that are there."""
    return [*([macro(path)] if path else []), made(), inherited(), *([found] if (found := graph()) else [])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--macro", type=Path, help="nas-bench-macro_cifar10.json")
    parser.add_argument("--samplers", nargs="*", default=QUICK)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    found = tables(options.macro)
    if not any("Graph" in table.name for table in found):
        print("NAS-Bench-Graph is left out: pip install nas-bench-graph brings its table")  # noqa: T201
    for line in rows(found, options.samplers, options.seeds, options.batch):
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""Tables in which every network has been evaluated: from benchmarks, from CSV files and made here."""

import csv
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from nas.samplers.proposer import labels_of
from search_spaces.named import load_space
from tests.benchmarks.samplers import made as made_here


@dataclass(frozen=True)
class Table:
    """A space in which everything is known.

    Args:
        choices: by gene.
        place: (choices of each gene) the network's number, -1 where there is none. Different genes may have one.
        scored: quality (networks,). shown: the same as other measurements have it, (measurements, networks).
        cost: (networks,)
    """

    name: str
    choices: Mapping[str, Sequence[Any]]
    place: np.ndarray
    scored: np.ndarray
    shown: np.ndarray
    cost: np.ndarray

    @cached_property
    def space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {
            name: optuna.distributions.CategoricalDistribution(list(values)) for name, values in self.choices.items()
        }

    @cached_property
    def integers(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """The genes as the numbers of their choices."""
        return {name: optuna.distributions.IntDistribution(0, len(values) - 1) for name, values in self.choices.items()}

    def number(self, params: Mapping[str, Any]) -> int:
        """The network of parameters by name."""
        return int(
            self.place[tuple(values.index(params.get(name, values[0])) for name, values in self.choices.items())]
        )

    def number_of_integers(self, params: Mapping[str, Any]) -> int:
        return int(self.place[tuple(params[name] for name in self.choices)])

    def known(self, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        """A function of the cost, as samplers take it: of what is no network it is infinite."""

        def costs(numbers: np.ndarray) -> np.ndarray:
            return np.where(numbers < 0, np.inf, function(self.cost[numbers]))

        def one(params: Mapping[str, Any]) -> float:
            return float(costs(np.array(self.number(params))))

        def many(table: Mapping[str, np.ndarray]) -> np.ndarray:
            none = np.zeros(
                len(next(iter(table.values()))), np.intp
            )  # of a parameter with one value, which samplers leave out
            return costs(self.place[tuple(table.get(name, none) for name in self.choices)])

        setattr(one, "many", many)  # noqa: B010
        return one


def macro(path: Path) -> Table:
    data = json.loads(path.read_text())
    place = np.full((3,) * 8, -1)
    for number, key in enumerate(data):
        place[tuple(map(int, key))] = number
    seeds = np.array([row["test_acc"] for row in data.values()]).T
    mean, cost = (np.array([row[name] for row in data.values()], float) for name in ("mean_acc", "flops"))
    operators = ("identity", "e3k3", "e6k5")
    return Table("NAS-Bench-Macro", {f"layer{i}": operators for i in range(8)}, place, mean, seeds, cost)


def graph(dataset: str = "cora") -> Table | None:
    """None if it is not installed."""
    try:
        package = importlib.import_module("nas_bench_graph")
    except ImportError:
        return None
    shapes, operators = package.architecture.link_list, package.architecture.gnn_list
    data = package.light_read(dataset)
    numbers = {key: number for number, key in enumerate(data)}
    place = np.full((len(shapes), *[len(operators)] * 4), -1)
    for word in np.ndindex(place.shape):
        made = package.Arch(list(shapes[word[0]]), [operators[index] for index in word[1:]])
        place[word] = numbers.get(made.valid_hash(), -1)
    choices = {"shape": [str(i) for i in range(len(shapes))], **{f"operator{i}": list(operators) for i in range(4)}}
    valid, test, cost = (
        np.array([row[name] for row in data.values()], float) for name in ("valid_perf", "perf", "para")
    )
    return Table(f"NAS-Bench-Graph, {dataset}", choices, place, test, valid[None], cost)


def made() -> Table:
    members = made_here().members
    place = np.full((3,) * 8, -1)
    for number, entry in enumerate(members):
        place[entry.genes] = number
    quality, cost = (np.array([getattr(entry, name) for entry in members], float) for name in ("quality", "cost"))
    return Table("made here", {f"place{i}": (0, 1, 2) for i in range(8)}, place, quality, quality[None], cost)


def read(path: Path) -> Table:
    """A CSV file.

    Raises:
        SystemExit: it has not the columns, or one set of genes twice with different values.
    """
    with path.open(newline="") as file:
        header, *lines = list(csv.reader(file))
    if len(header) < 3 or not lines or any(len(line) != len(header) for line in lines):
        raise SystemExit(f"{path}: a header and lines of one column per gene, the quality and the cost are needed")
    choices: dict[str, list[Any]] = {}
    for name, column in zip(header[:-2], list(zip(*lines, strict=True))[:-2], strict=True):
        try:
            choices[name] = sorted({float(text) for text in column})
        except ValueError:
            choices[name] = sorted(set(column))
    place = np.full([len(values) for values in choices.values()], -1)
    quality, cost = (np.array([float(line[at]) for line in lines]) for at in (-2, -1))
    for number, line in enumerate(lines):
        word = tuple(
            values.index(text if isinstance(values[0], str) else float(text))
            for values, text in zip(choices.values(), line, strict=False)
        )
        before = place[word]
        if before >= 0 and (quality[before], cost[before]) != (quality[number], cost[number]):
            raise SystemExit(f"{path}: line {number + 2} has the genes of line {before + 2} and other values")
        place[word] = number
    return Table(path.stem, choices, place, quality, quality[None], cost)


def of_space(path: Path, space_file: Path, quality: str = "top1", cost: str = "macs") -> Table:
    """A CSV file of evaluated networks of a space, by their digests. Not all need be there.

    Raises:
        SystemExit: it has not the columns, a network twice, or one that is not of the space.
    """
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    missing = [name for name in ("digest", quality, cost) if not lines or name not in lines[0]]
    if missing:
        raise SystemExit(f"{path}: lines with digest, {quality} and {cost} are needed, and there is no {missing[0]}")
    rows = {line["digest"]: number for number, line in enumerate(lines)}
    if len(rows) < len(lines):
        raise SystemExit(f"{path}: a digest is there twice")
    space = load_space(str(space_file))
    place = np.full([len(gene.choices) for gene in space.genes], -1)
    digests = set()
    for word in np.ndindex(place.shape):
        digest = space.decode(word).digest
        digests.add(digest)
        place[word] = rows.get(digest, -1)
    if outside := rows.keys() - digests:
        raise SystemExit(f"{path}: network {min(outside)} is not of the space {space_file}")
    values, costs = (np.array([float(line[name]) for line in lines]) for name in (quality, cost))
    name = path.stem if len(rows) == len(digests) else f"{path.stem}, {len(rows):,} of {len(digests):,}"
    return Table(name, labels_of(space), place, values, values[None], costs)

"""Additive costs of many architectures of a space: units are counted once, then looked up by the genes.

    costs = SpaceCosts(space, ["params", "macs"])
    costs.costs(genes)["macs"]          # (n, genes) -> (n,)
    costs.one(space.encode(arch))       # {"params": ..., "macs": ...}

The cost of a unit depends on its parts, its width and the size of its map. The tables of `search_spaces.costs.node_tables` are filled
when they are read, so that only the needed units of a large space are counted. `count_all` fills all of them.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np

from search_spaces.costs import Additive, cost_named
from search_spaces.costs.node_tables import Node, StageCosts, Table
from search_spaces.costs.one_network import Reader, StageWalk
from search_spaces.errors import InputError
from search_spaces.genes import GeneMatrix
from search_spaces.space import Genes, SearchSpace
from search_spaces.units import Unit, canonical_unit

CHUNK = 4096
"""Architectures that are looked up at a time: their genes and indices stay in the processor's cache."""


class SpaceCosts:
    """Additive costs of the members of a space.

    Args:
        space: complete (`search_spaces.named.load_space`).
        names: of costs, each of which says how it adds up.

    Raises:
        InputError: an unknown cost, or one that does not add up over units.
    """

    def __init__(self, space: SearchSpace, names: Iterable[str]) -> None:
        self.space, self.names = space, tuple(names)
        if not self.names:
            raise ValueError("SpaceCosts needs the name of at least one cost")
        self._additive = [_additive(name) for name in self.names]
        self.base = np.array([additive.base for additive in self._additive])
        self.genes = GeneMatrix(space)
        nodes, self.stages = [Node(space.in_channels, space.resolution, space.resolution)], []
        for genes in self.genes.stages:
            self.stages.append(StageCosts(genes, nodes, self._count, len(self.names)))
            nodes = self.stages[-1].nodes
        self.last = nodes
        self.head = Table(len(self.genes.head.members), self._head, self._count, len(self.names))
        self._walks = [StageWalk(stage) for stage in self.stages]
        self._head_reader = Reader(self.genes.head, 0)

    def _count(self, unit: Unit) -> tuple[float, ...]:
        found = (additive.of_unit(unit) for additive in self._additive)
        return tuple(math.nan if cost is None else float(cost) for cost in found)

    def _head(self, node: int, member: int) -> Unit:
        dim, height, width = self.last[node]
        return canonical_unit("head", (self.genes.head.members[member],), (dim, self.space.num_classes), height, width)

    def costs(self, genes: np.ndarray) -> dict[str, np.ndarray]:
        """Costs of many architectures; whole numbers up to 2**53 are exact.

        Args:
            genes: whole numbers (architectures, genes), as `SearchSpace.encode` gives them.

        Returns:
            By name float64 (architectures,), NaN where the cost of a unit is not known.

        Raises:
            ValueError: another shape or type, or a choice that a gene does not have.
            NotImplementedError: a part has an operator whose cost is not known.
        """
        self.genes.check(genes)
        found = np.empty((len(genes), len(self.names)))
        for start in range(0, len(genes), CHUNK):
            found[start : start + CHUNK] = self._costs(genes[start : start + CHUNK])
        found = np.maximum(found, 0.0)  # a base may be below 0
        return dict(zip(self.names, found.T.copy(), strict=True))

    def _costs(self, genes: np.ndarray) -> np.ndarray:
        every, first = np.arange(len(genes)), np.zeros(len(genes), np.intp)
        total, node = np.tile(self.base, (len(genes), 1)), first
        for stage in self.stages:
            choices = stage.genes
            entries = stage.entries(node, choices.width.read(genes), choices.embedding.read(genes, every, first))
            node = stage.follow(entries)
            bias = choices.bias.read(genes, every, first)
            total += stage.embedding.at(entries) + stage.bias.at(node * stage.bias.size + bias)
            depth = choices.depth.values[choices.depth.read(genes)]
            rows = np.repeat(every, depth)
            blocks = np.arange(len(rows)) - np.repeat(np.cumsum(depth) - depth, depth)
            for column, sums in enumerate(self._blocks(stage, genes, rows, blocks, node[rows], bias[rows]).T):
                total[:, column] += np.bincount(rows, weights=sums, minlength=len(genes))
        self._grow_head()
        return total + self.head.at(node * self.head.size + self.genes.head.read(genes, every, first))

    def _blocks(
        self, stage: StageCosts, genes: np.ndarray, rows: np.ndarray, blocks: np.ndarray, node: np.ndarray, bias: np.ndarray
    ) -> np.ndarray:  # fmt: skip
        position, norm, mixer, ffn, scale = (slot.read(genes, rows, blocks) for slot in stage.genes.slots.values())
        found = stage.mixer.at(stage.mixer_entries(node, norm, scale, bias, mixer))
        found += stage.ffn.at(stage.ffn_entries(node, norm, scale, ffn))
        found += stage.position.at(node * stage.position.size + position)
        return found

    def _grow_head(self) -> None:
        if len(self.head.values) < len(self.last) * self.head.size:
            self.head.grow(len(self.last))

    def one(self, genes: Genes) -> dict[str, float]:
        """Costs of one architecture. Those that are not known are left out.

        Args:
            genes: as `SearchSpace.encode` gives them. They are trusted, because checking them would take as long as looking them up: for
                a choice that a gene does not have there is an IndexError, a KeyError or the cost of another architecture.

        Raises:
            ValueError: the wrong number of genes.
            NotImplementedError: a part has an operator whose cost is not known.
        """
        if len(genes) != len(self.genes.sizes):
            raise ValueError(f"{len(genes)} indices for {len(self.genes.sizes)} genes")
        found: list[tuple[float, ...]] = []
        node = 0
        for walk in self._walks:
            node = walk.add(genes, node, found)
        self._grow_head()
        found.append(self.head.one(node * self.head.size + self._head_reader(genes)))
        sums = map(sum, zip(*found, strict=True))
        costs = zip(self.names, self.base.tolist(), sums, strict=True)
        return {name: max(base + total, 0.0) for name, base, total in costs if total == total}

    def count_all(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Counts every unit of the space.

        Args:
            progress: is told how many tables are counted, and of how many.
        """
        tables: list[tuple[Table, np.ndarray]] = []
        for stage in self.stages:
            entries = np.arange(len(stage.before) * stage.embedding.size)
            stage.follow(entries)
            tables.append((stage.embedding, entries))
            whole = [stage.bias]
            if stage.genes.blocks:  # else no member has any of its branches
                tables.append((stage.mixer, np.unique(self.every_mixer(stage))))
                whole += [stage.position, stage.ffn]
            tables += [(table, np.arange(len(stage.nodes) * table.size)) for table in whole]
        self._grow_head()
        tables.append((self.head, np.arange(len(self.head.values))))
        steps = [(table, part) for table, entries in tables for part in np.array_split(entries, max(1, len(entries) // 256))]  # fmt: skip
        for number, (table, entries) in enumerate(steps):
            table.at(entries)
            if progress is not None:
                progress(number + 1, len(steps))

    def every_mixer(self, stage: StageCosts) -> np.ndarray:
        """Entry of the mixers' table by (node, norm, scale, member of the bias, mixer). Mixers that are given no bias have one entry."""
        sizes = (len(stage.nodes), stage.norms, stage.scales, len(stage.bias_of), stage.mixers)
        return stage.mixer_entries(*np.ogrid[tuple(slice(size) for size in sizes)])


def _additive(name: str) -> Additive:
    found = cost_named(name).additive
    if found is None:
        raise InputError(
            f"cost {name} does not add up over the steps of a network",
            "costs with a rule for each unit, such as params and macs",
            "params or macs",
        )
    return found


__all__ = ["CHUNK", "SpaceCosts"]

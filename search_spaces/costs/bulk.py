"""Additive costs of many architectures of a space: units are counted once, then looked up by the genes.

    costs = SpaceCosts(space, ["params", "macs"])
    costs.costs(genes)["macs"]          # (n, genes) -> (n,)
    costs.one(space.encode(arch))       # {"params": ..., "macs": ...}

What a unit costs depends on its parts, its width and the size of its map. A node is one width and map size of a stage, and each node has
tables of what may stand in it. A table is filled where it is read, so that a large space costs what is asked of it; `count_all` fills
all of them.
"""

import math
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from search_spaces.architecture import Part
from search_spaces.costs import Additive, cost_named
from search_spaces.errors import InputError
from search_spaces.genes import GeneMatrix, SlotGenes, StageGenes
from search_spaces.space import Genes, SearchSpace
from search_spaces.units import NOTHING, Unit, canonical_unit, is_unit, output_size, takes_bias

CHUNK = 4096
"""Architectures that are looked up at a time: their genes and indices stay in the processor's cache."""

Numbers = Any
"""A whole number, or an array of them."""

_UNKNOWN = -1.0


class Node(NamedTuple):
    """The maps of the blocks of a stage: channels, and height and width in pixels."""

    dim: int
    height: int
    width: int


class Table:
    """What the units of one kind cost at the nodes of a stage, counted when first read.

    Args:
        size: entries of one node.
        unit: the unit of an entry of a node; None where there is none, which costs nothing.
        count: what a unit adds to each cost, NaN where that is not known.
        names: number of costs.
    """

    def __init__(
        self, size: int, unit: Callable[[int, int], Unit | None], count: Callable[[Unit], tuple[float, ...]], names: int
    ) -> None:
        self.size, self.unit, self.count = size, unit, count
        self.values = np.empty((0, names))
        self.known: dict[int, tuple[float, ...]] = {}

    def grow(self, nodes: int) -> None:
        """Makes room for so many nodes."""
        more = nodes * self.size - len(self.values)
        self.values = np.concatenate((self.values, np.full((more, self.values.shape[1]), _UNKNOWN)))

    def at(self, entries: np.ndarray) -> np.ndarray:
        """Costs (entries, names) of entries, numbered over all nodes."""
        found = self.values[entries]
        missing = found[:, 0] == _UNKNOWN
        if missing.any():
            for entry in np.unique(entries[missing]).tolist():
                self.one(entry)
            found = self.values[entries]
        return found

    def one(self, entry: int) -> tuple[float, ...]:
        """Costs of one entry."""
        found = self.known.get(entry)
        if found is None:
            unit = self.unit(*divmod(entry, self.size))
            found = (0.0,) * self.values.shape[1] if unit is None else self.count(unit)
            self.known[entry] = found
            self.values[entry] = found
        return found


class StageCosts:
    """Tables of one stage.

    The entries of a node: of `bias`, its members; of `position`, its members; of `mixer`, (norm, scale, bias, mixer), the bias 0 where
    the mixer is given none and one more than its member elsewhere; of `ffn`, (norm, scale, FFN).

    Args:
        genes: the stage's choices.
        before: the nodes that a map can come from. It grows while it is used.
        count: as for `Table`.
        names: number of costs.
    """

    def __init__(
        self, genes: StageGenes, before: list[Node], count: Callable[[Unit], tuple[float, ...]], names: int
    ) -> None:
        self.genes, self.before = genes, before
        self.nodes: list[Node] = []
        slots = genes.slots
        self.norms, self.scales = len(slots["norm"].members), len(slots["scale"].members)
        self.mixers, self.ffns = len(slots["mixer"].members), len(slots["ffn"].members)
        self.biases = 1 + len(genes.bias.members)
        self.absent = np.array([not is_unit(part) for part in slots["mixer"].members])
        self.given = np.array([takes_bias(part) for part in slots["mixer"].members])
        self.bias_of = np.array([0 if p == NOTHING else n + 1 for n, p in enumerate(genes.bias.members)])
        self.embedding = Table(len(genes.width.values) * len(genes.embedding.members), self._embedding, count, names)
        self.to = np.empty(0, np.intp)
        self._after: dict[int, int] = {}
        self.bias = Table(len(genes.bias.members), self._bias, count, names)
        self.position = Table(len(slots["position"].members), self._position, count, names)
        self.mixer = Table(self.norms * self.scales * self.biases * self.mixers, self._mixer, count, names)
        self.ffn = Table(self.norms * self.scales * self.ffns, self._ffn, count, names)
        self.of_blocks = (self.bias, self.position, self.mixer, self.ffn)

    def _embedding(self, before: int, entry: int) -> Unit:
        width, member = divmod(entry, len(self.genes.embedding.members))
        dim, height, side = self.before[before]
        dims = (dim, int(self.genes.width.values[width]))
        return canonical_unit("embedding", (self.genes.embedding.members[member],), dims, height, side)

    def _bias(self, node: int, member: int) -> Unit | None:
        part = self.genes.bias.members[member]
        return None if part == NOTHING else self._unit("position_bias", node, (part,))

    def _position(self, node: int, member: int) -> Unit | None:
        part = self.genes.slots["position"].members[member]
        return None if part.name == NOTHING.name else self._unit("position", node, (part,))

    def _mixer(self, node: int, entry: int) -> Unit | None:
        entry, mixer = divmod(entry, self.mixers)
        if self.absent[mixer]:
            return None
        entry, bias = divmod(entry, self.biases)
        return self._branch("mixer", node, *divmod(entry, self.scales), mixer, self.genes.bias.members[bias - 1] if bias else None)  # fmt: skip

    def _ffn(self, node: int, entry: int) -> Unit:
        entry, ffn = divmod(entry, self.ffns)
        return self._branch("ffn", node, *divmod(entry, self.scales), ffn, None)

    def _branch(self, kind: str, node: int, norm: int, scale: int, member: int, bias: Part | None) -> Unit:
        slots = self.genes.slots
        parts = (slots["norm"].members[norm], slots[kind].members[member], slots["scale"].members[scale])
        return self._unit(kind, node, parts, bias)

    def _unit(self, kind: str, node: int, parts: tuple[Part, ...], bias: Part | None = None) -> Unit:
        dim, height, width = self.nodes[node]
        return canonical_unit(kind, parts, (dim,), height, width, bias)

    def entries(self, before: np.ndarray, width: np.ndarray, embedding: np.ndarray) -> np.ndarray:
        """Entries of the embedding's table."""
        return (before * len(self.genes.width.values) + width) * len(self.genes.embedding.members) + embedding

    def mixer_entries(self, node: Numbers, norm: Numbers, scale: Numbers, bias: Numbers, mixer: Numbers) -> Numbers:
        """Entries of the mixers' table.

        Args:
            bias: its member, of the stage.
        """
        given = self.given[mixer] * self.bias_of[bias]
        return (((node * self.norms + norm) * self.scales + scale) * self.biases + given) * self.mixers + mixer

    def ffn_entries(self, node: Numbers, norm: Numbers, scale: Numbers, ffn: Numbers) -> Numbers:
        """Entries of the FFNs' table."""
        return ((node * self.norms + norm) * self.scales + scale) * self.ffns + ffn

    def follow(self, entries: np.ndarray) -> np.ndarray:
        """Nodes to which these entries of the embedding's table lead; those that are new are added."""
        if len(self.to) < len(self.before) * self.embedding.size:
            self.embedding.grow(len(self.before))
            self.to = np.concatenate((self.to, np.full(len(self.embedding.values) - len(self.to), -1)))
        found = self.to[entries]
        missing = found < 0
        if missing.any():
            for entry in np.unique(entries[missing]).tolist():
                unit = self._embedding(*divmod(entry, self.embedding.size))
                self.to[entry] = self._number(Node(unit.dims[1], *output_size(unit)))
            found = self.to[entries]
        return found

    def node(self, entry: int) -> int:
        """The node to which one entry of the embedding's table leads."""
        found = self._after.get(entry)
        if found is None:
            found = self._after[entry] = int(self.follow(np.array([entry]))[0])
        return found

    def _number(self, node: Node) -> int:
        if node not in self.nodes:
            self.nodes.append(node)
            for table in self.of_blocks:
                table.grow(len(self.nodes))
        return self.nodes.index(node)


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
        self._walks = [_StageWalk(stage) for stage in self.stages]
        self._head_reader = _Reader(self.genes.head, 0)

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


# One architecture at a time: Python's tuples and dictionaries answer sooner than arrays of one element.


_Getters = list[Callable[[Genes], Any] | None]
"""By part, what takes the options that vary from the genes; None where none does."""


class _Reader:
    """How the member of a slot is read from the genes of one architecture, for one block.

    Attributes:
        column: of the part's gene; None where there is one part.
        getters, members: by part, what takes its options, and its members by what that gives.
    """

    def __init__(self, slot: SlotGenes, block: int) -> None:
        self.column = None if slot.part_column is None else int(slot.part_column[block])
        self.getters: _Getters = []
        self.members: list[dict[Any, int]] = []
        for part, columns in enumerate(slot.option_columns):
            varied = [(int(column[block]), option) for option, column in enumerate(columns) if column is not None]
            start = int(slot.starts[part])
            if not varied:
                self.getters.append(None)
                self.members.append({None: start})
                continue
            members = np.arange(start, start + math.prod(slot.sizes[part]))
            values = [slot.value(part, option, members).tolist() for _, option in varied]
            keys = values[0] if len(varied) == 1 else list(zip(*values, strict=True))
            self.getters.append(itemgetter(*(column for column, _ in varied)))
            self.members.append(dict(zip(keys, members.tolist(), strict=True)))

    def __call__(self, genes: Genes) -> int:
        part = 0 if self.column is None else genes[self.column]
        getter = self.getters[part]
        return self.members[part][getter(genes) if getter else None]


class _Branches:
    """What the branches of a block cost at one node beside one norm, scale and bias: by part and its options, once looked up."""

    def __init__(self, position: tuple[float, ...], mixers: int, ffns: int) -> None:
        self.position = position
        self.mixers: list[dict[Any, tuple[float, ...]]] = [{} for _ in range(mixers)]
        self.ffns: list[dict[Any, tuple[float, ...]]] = [{} for _ in range(ffns)]


class _StageWalk:
    """How the costs of one stage are read from the genes of one architecture."""

    def __init__(self, stage: StageCosts) -> None:
        self.stage, genes = stage, stage.genes
        self.width, self.depth, self.depths = genes.width.column, genes.depth.column, genes.depth.values.tolist()
        self.embedding, self.bias = _Reader(genes.embedding, 0), _Reader(genes.bias, 0)
        readers = {name: [_Reader(slot, block) for block in range(genes.blocks)] for name, slot in genes.slots.items()}
        self.others = list(zip(readers["position"], readers["norm"], readers["scale"], strict=True))
        self.blocks = [
            (mixer.column, mixer.getters, ffn.column, ffn.getters)
            for mixer, ffn in zip(readers["mixer"], readers["ffn"], strict=True)
        ]
        self.readers = list(zip(readers["mixer"], readers["ffn"], strict=True))
        others = [genes.slots[name] for name in ("position", "norm", "scale")]
        self.alike = all(slot.whole or len(slot.members) == 1 for slot in others)
        self.branches: dict[tuple[int, ...], _Branches] = {}

    def add(self, genes: Genes, before: int, found: list[tuple[float, ...]]) -> int:
        """Appends what the units of the stage cost; returns its node."""
        stage = self.stage
        width = 0 if self.width is None else genes[self.width]
        entry = before * stage.embedding.size + width * len(stage.genes.embedding.members) + self.embedding(genes)
        node = stage.node(entry)
        bias = self.bias(genes)
        found.append(stage.embedding.one(entry))
        found.append(stage.bias.one(node * stage.bias.size + bias))
        depth = self.depths[0 if self.depth is None else genes[self.depth]]
        if depth:
            self._blocks(genes, node, bias, depth, found.append)
        return node

    def _blocks(
        self, genes: Genes, node: int, bias: int, depth: int, append: Callable[[tuple[float, ...]], None]
    ) -> None:
        here = self._branches(genes, node, bias, 0)
        for block, (column, getters, ffn_column, ffn_getters) in enumerate(self.blocks[:depth]):
            if block and not self.alike:
                here = self._branches(genes, node, bias, block)
            append(here.position)
            part = 0 if column is None else genes[column]
            getter = getters[part]
            key = getter(genes) if getter else None
            costs = here.mixers[part].get(key)
            append(costs or self._count(here.mixers[part], key, "mixer", genes, node, bias, block))
            part = 0 if ffn_column is None else genes[ffn_column]
            getter = ffn_getters[part]
            key = getter(genes) if getter else None
            costs = here.ffns[part].get(key)
            append(costs or self._count(here.ffns[part], key, "ffn", genes, node, bias, block))

    def _branches(self, genes: Genes, node: int, bias: int, block: int) -> _Branches:
        position, norm, scale = (reader(genes) for reader in self.others[block])
        key = (node, bias, position, norm, scale)
        found = self.branches.get(key)
        if found is None:
            table, slots = self.stage.position, self.stage.genes.slots
            parts = (len(slots["mixer"].starts), len(slots["ffn"].starts))
            found = self.branches[key] = _Branches(table.one(node * table.size + position), *parts)
        return found

    def _count(
        self, known: dict[Any, tuple[float, ...]], key: Any, kind: str, genes: Genes, node: int, bias: int, block: int
    ) -> tuple[float, ...]:
        _, norm, scale = (reader(genes) for reader in self.others[block])
        mixer, ffn = self.readers[block]
        stage = self.stage
        if kind == "mixer":
            known[key] = stage.mixer.one(int(stage.mixer_entries(node, norm, scale, bias, mixer(genes))))
        else:
            known[key] = stage.ffn.one(int(stage.ffn_entries(node, norm, scale, ffn(genes))))
        return known[key]


__all__ = ["CHUNK", "Node", "SpaceCosts", "StageCosts", "Table"]

"""What the units of a stage cost, in tables that are filled where they are read.

A node is one width and map size of a stage, and each node has tables of what may stand in it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from search_spaces.architecture import Part
from search_spaces.genes import StageGenes
from search_spaces.units import NOTHING, Unit, canonical_unit, is_unit, output_size, takes_bias

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

"""Costs of one architecture at a time, from the tables of `node_tables`: Python's tuples and dictionaries answer sooner than arrays of one element."""

import math
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np

from search_spaces.costs.node_tables import StageCosts
from search_spaces.genes import SlotGenes
from search_spaces.space import Genes

_Getters = list[Callable[[Genes], Any] | None]
"""By part, what takes the options that vary from the genes; None where none does."""


class Reader:
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


class StageWalk:
    """How the costs of one stage are read from the genes of one architecture."""

    def __init__(self, stage: StageCosts) -> None:
        self.stage, genes = stage, stage.genes
        self.width, self.depth, self.depths = genes.width.column, genes.depth.column, genes.depth.values.tolist()
        self.embedding, self.bias = Reader(genes.embedding, 0), Reader(genes.bias, 0)
        readers = {name: [Reader(slot, block) for block in range(genes.blocks)] for name, slot in genes.slots.items()}
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

"""Genes that are decoded one after another and differ in few places, as those that a descent or a repair looks at."""

from typing import Any, NamedTuple

from search_spaces.architecture import Architecture, Part, Stage
from search_spaces.choices import Node
from search_spaces.space.genes import Encoded, Genes


class Neighbours:
    """Decodes genes of a space, most of which differ in one stage from genes that were decoded before: the others are remembered."""

    def __init__(self, space: Encoded) -> None:
        self._space = space
        count = len(space.stages)
        owners = [gene.stage for gene in space.genes]
        shared = [position for position, owner in enumerate(owners) if owner is None]
        self._shares = bool(shared)
        self._spans = []  # of each stage, and of the head: from the first gene that it may read to behind the last one
        for number in range(count + 1):
            own = [position for position, owner in enumerate(owners) if owner == number]
            read = own + shared if number < count else own
            self._spans.append((min(read), max(read) + 1) if read else (0, 0))
        self._known: list[dict[tuple[Genes, Node], Known]] = [{} for _ in self._spans]
        self._same: dict[Stage | Part, Stage | Part] = {}

    def pieces(self, genes: Genes) -> tuple[list[Any], list[int]]:
        """The stages and the head, one object where they are equal, and the positions of the genes that matter, ascending."""
        found, active = [], []
        node = (self._space.in_channels, self._space.resolution, self._space.resolution)
        for number, (first, last) in enumerate(self._spans):
            key = genes[first:last], node
            known = self._known[number].get(key)
            if known is None:
                known = self._known[number][key] = self._piece(number, genes, node)
            found.append(known.what)
            active += known.active
            node = known.node
        return found, sorted(set(active)) if self._shares else active

    def _piece(self, number: int, genes: Genes, node: Node) -> "Known":
        """The stage that gets this map, or the head behind it. Where no two choices are one function its size does not matter."""
        space, functions, used, after = self._space, self._space.functions, set[int](), node

        def pick(name: str) -> int:
            used.add(space.positions[name])
            return genes[space.positions[name]]

        if number == len(space.stages):
            piece = space.head_of(pick)
            if functions is not None:
                piece = functions.rules.part("head", piece, (node[0], space.num_classes), *node[1:])
                used = functions.active_in_head(genes, node)
        else:
            piece = space.stage_of(number, pick)
            if functions is not None:
                piece = functions.rules.stage(piece, *node)
                used, after = functions.active_in_stage(number, genes, node)
        return Known(self._same.setdefault(piece, piece), tuple(sorted(used)), after)

    def active(self, genes: Genes) -> list[int]:
        """As `SearchSpace.active`."""
        return self.pieces(genes)[1]

    def decode(self, genes: Genes) -> Architecture:
        """As `SearchSpace.decode`."""
        *stages, head = self.pieces(genes)[0]
        return self._space.whole(tuple(stages), head)


class Known(NamedTuple):
    """A stage or the head as some genes choose it: the positions of those that matter, ascending, and the map that it gives."""

    what: Any
    active: tuple[int, ...]
    node: Node

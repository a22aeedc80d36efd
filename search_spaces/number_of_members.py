"""How many functions a space has, each counted once. Standard library only.

What blocks or stages share is gone through choice by choice; given that, blocks are independent of one another and their numbers multiply.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from search_spaces.architecture import SLOTS, Part
from search_spaces.choices import Node, PartChoice, Slot
from search_spaces.functions import Indices, Offer, all_indices

if TYPE_CHECKING:  # it imports this module
    from search_spaces.space.genes import Encoded


class _Group(NamedTuple):
    """Blocks that share a choice of a slot.

    Args:
        slot: of the blocks.
        part: the part whose options are shared; empty where the whole slot is.
        options: those that are shared.
    """

    slot: str
    part: str = ""
    options: tuple[str, ...] = ()

    def key(self, choice: PartChoice, indices: Indices) -> "Key | None":
        """What blocks with this member share, None for an option that their stage does not offer; None for blocks that are not concerned."""
        if not self.part:
            return choice.name, indices
        if choice.name != self.part:
            return None
        at = dict(zip((key for key, _ in choice.options), indices, strict=True))
        return tuple(at.get(option) for option in self.options)

    def choices(self, keys: Iterable["Key"]) -> "Iterator[Key]":
        """Each choice of all that is shared, from what the blocks of several stages have of it."""
        if not self.part:
            return iter(dict.fromkeys(keys))
        columns = zip(*keys, strict=True)
        return itertools.product(*(dict.fromkeys(index for index in column if index is not None) for column in columns))

    def fits(self, key: "Key", choice: "Key") -> bool:
        """Whether blocks with this key are allowed beside a choice of all that is shared."""
        return all(own is None or own == chosen for own, chosen in zip(key, choice, strict=True))


Key = tuple[object, ...]
"""The name of a member's part and its indices where a whole slot is shared, else the index of each option that is."""


def _joined(groups: Iterable[_Group]) -> list[_Group]:
    """One group of each part of a slot, where stages offer different ones of the options that are shared."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for group in groups:
        found.setdefault((group.slot, group.part), {}).update(dict.fromkeys(group.options))
    return [_Group(slot, part, tuple(options)) for (slot, part), options in found.items()]


def _groups(offered: Slot, slot: str, ties: tuple[str, ...]) -> list[_Group]:
    """What blocks share in a slot by these ties."""
    if slot in ties:
        return [_Group(slot)]
    found = []
    for choice in offered:
        options = tuple(key for key, _ in choice.options if f"{slot}.{choice.name}.{key}" in ties)
        if options:
            found.append(_Group(slot, choice.name, options))
    return found


Allowed = frozenset[Part]
"""Canonical parts that may stand in a slot."""

Alternatives = dict[tuple[Allowed, ...], int]
"""Sets of parts, one for each of some slots, and how often sequences within all of them count, so that the sum counts each sequence
that is within one of several alternatives once.
"""


def _union(alternatives: list[tuple[Allowed, ...]]) -> Alternatives:
    """Inclusion and exclusion: which sets to count, and how often, so that what is in any of the alternatives counts once."""
    found: Alternatives = {}
    for sets in alternatives:
        grown = dict(found)
        for others, count in found.items():
            both = tuple(one & other for one, other in zip(sets, others, strict=True))
            grown[both] = grown.get(both, 0) - count
        grown[sets] = grown.get(sets, 0) + 1
        found = {key: count for key, count in grown.items() if count}
    return found


class _Count:
    """Counts the members of a space, stage by stage, and for each map that a stage may have."""

    def __init__(self, space: "Encoded") -> None:
        self.space, self.functions = space, space.functions
        self._plain: dict[tuple[int, str], Offer] = {}
        self._blocks: dict[tuple[int, Node, tuple[Allowed | None, ...]], int] = {}
        self.nodes: list[list[Node]] = []
        before: list[Node] = [(0, 0, 0)]
        if self.functions is not None:
            before = [(space.in_channels, space.resolution, space.resolution)]
        for s in range(len(space.stages)):
            before = list(dict.fromkeys(to for node in before for to in self._after(s, node)))
            self.nodes.append(before)

    def _after(self, stage: int, node: Node) -> Iterator[Node]:
        """As `Functions.after`; where nothing is one function all maps are alike."""
        if self.functions is not None:
            yield from self.functions.after(stage, node)
        else:
            space = self.space.stages[stage]
            yield from itertools.repeat(node, len(space.width) * _size(space.embedding))

    def _offer(self, stage: int, slot: str, node: Node) -> Offer:
        if self.functions is not None:
            return self.functions.of_block(stage, slot, node)
        if (stage, slot) not in self._plain:
            offered = self.space.stages[stage].blocks[SLOTS.index(slot)]
            self._plain[stage, slot] = Offer(offered, [part for choice in offered for part in choice.members()])
        return self._plain[stage, slot]

    def total(self) -> int:
        """The number of members."""
        return sum(times * self._ways(allowed) for times, allowed in self._shared())

    def _shared(self) -> Iterator[tuple[int, dict[tuple[int, str, Node], Allowed]]]:
        """For what the stages share: how often to count, and by stage, slot and map the parts that are left."""
        places = [(s, node) for s, stage in enumerate(self.space.stages) if stage.depth[-1] for node in self.nodes[s]]
        groups = dict.fromkeys(
            group
            for stage in self.space.stages
            for slot, offered in zip(SLOTS, stage.blocks, strict=True)
            for group in _groups(offered, slot, self.space.per_network if stage.depth[-1] else ())
        )
        groups = _joined(groups)
        for chosen in itertools.product(*(self._alternatives(group, places).items() for group in groups)):
            times, allowed = 1, dict[tuple[int, str, Node], Allowed]()
            for group, (sets, count) in zip(groups, chosen, strict=True):
                times *= count
                for (s, node), left in zip(places, sets, strict=True):
                    key = s, group.slot, node
                    allowed[key] = allowed[key] & left if key in allowed else left
            yield times, allowed

    def _alternatives(self, group: _Group, places: list[tuple[int, Node]]) -> Alternatives:
        """The sets of parts that the blocks of these stages and maps may have, for what they share."""
        offers = [self._offer(s, group.slot, node) for s, node in places]
        kept: list[dict[Key, set[Part]]] = []
        free: list[set[Part]] = []
        for offer in offers:
            here: dict[Key, set[Part]] = {}
            others = set[Part]()
            for choice in offer.slot:
                for indices in all_indices(choice):
                    key, part = group.key(choice, indices), offer.parts[choice.name, indices]
                    (others if key is None else here.setdefault(key, set())).add(part)
            kept.append(here)
            free.append(others)
        found = []
        for chosen in group.choices(key for here in kept for key in here):
            fitting = [[parts for key, parts in here.items() if group.fits(key, chosen)] for here in kept]
            found.append(tuple(frozenset(other.union(*parts)) for parts, other in zip(fitting, free, strict=True)))
        return _union(found)

    def _ways(self, allowed: dict[tuple[int, str, Node], Allowed]) -> int:
        """The number of members whose blocks have what is allowed."""
        space = self.space
        counts: dict[Node, int] = {(space.in_channels, space.resolution, space.resolution): 1}
        if self.functions is None:
            counts = {(0, 0, 0): 1}
        for s, stage in enumerate(space.stages):
            found: dict[Node, int] = {}
            for node, count in counts.items():
                for to in self._after(s, node):
                    found[to] = found.get(to, 0) + count
            biases = _size(stage.position_bias) or 1
            for node in found:
                if self.functions is not None and stage.position_bias:
                    biases = len(self.functions.bias(s, node).same)
                found[node] *= biases * self._of_blocks(s, node, tuple(allowed.get((s, slot, node)) for slot in SLOTS))
            counts = found
        heads = {node: _size(space.head) for node in counts}
        if self.functions is not None:
            heads = {node: len(self.functions.head(node).same) for node in counts}
        return sum(count * heads[node] for node, count in counts.items())

    def _of_blocks(self, s: int, node: Node, allowed: tuple[Allowed | None, ...]) -> int:
        """The number of sequences of blocks of a stage, of all its depths."""
        key = s, node, allowed
        if key not in self._blocks:
            stage = self.space.stages[s]
            sets = {
                slot: self._sets(s, slot, node, left) if stage.depth[-1] else {}
                for slot, left in zip(SLOTS, allowed, strict=True)
            }
            self._blocks[key] = sum(self._of_depth(sets, depth) if depth else 1 for depth in stage.depth)
        return self._blocks[key]

    def _sets(self, s: int, slot: str, node: Node, left: Allowed | None) -> dict[Allowed, int]:
        """The sets of parts that the blocks of a stage may have in a slot, and how often to count each."""
        stage, offer = self.space.stages[s], self._offer(s, slot, node)
        found = {frozenset(offer.same) if left is None else left: 1}
        ties = (
            ()
            if slot in self.space.per_network
            else tuple(t for t in stage.per_stage if t not in self.space.per_network)
        )
        for group in _groups(offer.slot, slot, ties):
            grown: dict[Allowed, int] = {}
            for (kept,), times in self._alternatives(group, [(s, node)]).items():
                for parts, count in found.items():
                    grown[parts & kept] = grown.get(parts & kept, 0) + count * times
            found = {parts: count for parts, count in grown.items() if count}
        return found

    def _of_depth(self, sets: dict[str, dict[Allowed, int]], depth: int) -> int:
        """The number of sequences of so many blocks."""

        def alone(slot: str) -> int:
            return sum(count * len(parts) ** depth for parts, count in sets[slot].items())

        norms: dict[int, int] = {}
        for parts, count in sets["norm"].items():
            norms[len(parts)] = norms.get(len(parts), 0) + count
        mixers, ffns = (self._with_norm(kind, sets[kind]) for kind in ("mixer", "ffn"))
        found = 0
        for (mixer, n), (ffn, m), (norm, k) in itertools.product(mixers.items(), ffns.items(), norms.items()):
            without = mixer[0] * ffn[0]
            found += n * m * k * (without + (sum(mixer) * sum(ffn) - without) * norm) ** depth
        return found * alone("position") * alone("scale")

    def _with_norm(self, kind: str, sets: dict[Allowed, int]) -> dict[tuple[int, int], int]:
        """Sizes of sets of mixers or FFNs: those that need no norm of the block, and those that need it; and how often to count."""
        found: dict[tuple[int, int], int] = {}
        for parts, count in sets.items():
            own = 0 if self.functions is None else sum(not self.functions.rules.needs_norm(kind, p.name) for p in parts)
            key = own, len(parts) - own
            found[key] = found.get(key, 0) + count
        return found


def _size(slot: Slot) -> int:
    return sum(math.prod(len(values) for _, values in choice.options) for choice in slot)


def number_of_members(space: "Encoded") -> int:
    """The exact number of different functions in a space."""
    return _Count(space).total()

"""Which choices of a space are one function, and how many functions there are. Standard library only.

Two gene vectors may be one function: an option may have no effect beside the others, two of its values may mean the same at some
width, and a norm is idle where both branches of a block bring their own. `Functions` finds which genes matter and gives each function
one gene vector; `number_of_members` counts each function once.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.choices import NO_BIAS, Node, PartChoice, Place, Rules, Slot, StageSpace
from search_spaces.errors import InputError

if TYPE_CHECKING:  # it imports this module
    from search_spaces.space import SearchSpace

Genes = tuple[int, ...]
Indices = tuple[int, ...]
"""Of a part's options, the number of the value of each."""

NO_NORM = Part("none")


class Offer:
    """The members of a slot on maps of one size.

    Args:
        slot: what is offered.
        canonical: of each member, the part that stands for all that are the same function.

    Attributes:
        parts: by name of the part and indices of its options, the canonical part. The last option varies fastest.
        same: by canonical part, what it is offered as.
    """

    def __init__(self, slot: Slot, canonical: "list[Part]") -> None:
        self.slot = slot
        keys = [
            (choice.name, indices)
            for choice in slot
            for indices in itertools.product(*(range(len(values)) for _, values in choice.options))
        ]
        self.parts: dict[tuple[str, Indices], Part] = dict(zip(keys, canonical, strict=True))
        self.same: dict[Part, list[tuple[str, Indices]]] = {}
        for key, part in self.parts.items():
            self.same.setdefault(part, []).append(key)
        self._matter: dict[tuple[str, Indices], tuple[bool, ...]] = {}

    def matter(self, name: str, indices: Indices) -> tuple[bool, ...]:
        """Of each option, whether some other value of it, beside the others, is another function."""
        found = self._matter.get((name, indices))
        if found is None:
            options = next(choice.options for choice in self.slot if choice.name == name)
            found = self._matter[name, indices] = tuple(
                len({self.parts[name, (*indices[:k], i, *indices[k + 1 :])] for i in range(len(values))}) > 1
                for k, (_, values) in enumerate(options)
            )
        return found


class Functions:
    """What is one function in a space.

    Args:
        space: complete (`search_spaces.named.check`).
        rules: of its parts.
    """

    def __init__(self, space: "SearchSpace", rules: Rules) -> None:
        self.space, self.rules = space, rules
        self._offers: dict[tuple[int, str, tuple[int, ...], int, int], Offer] = {}

    @cached_property
    def merge(self) -> bool:
        """Whether any different choices are one function."""
        return any(len(offer.same) < len(offer.parts) or any(_is_moved(offer)) for offer in self._every_offer()) or any(
            self._norm_may_be_idle(stage) for stage in self.space.stages
        )

    def _norm_may_be_idle(self, stage: StageSpace) -> bool:
        names = {slot: [choice.name for choice in stage.blocks[SLOTS.index(slot)]] for slot in ("norm", "mixer", "ffn")}
        idle = all(any(not self.rules.needs_norm(kind, n) for n in names[kind]) for kind in ("mixer", "ffn"))
        return bool(stage.depth[-1]) and idle and names["norm"] != [NO_NORM.name]

    def _every_offer(self) -> Iterator[Offer]:
        before = [(self.space.in_channels, self.space.resolution, self.space.resolution)]
        for s, stage in enumerate(self.space.stages):
            for node, width in itertools.product(before, stage.width):
                yield self.embedding(s, node, width)
            before = list(dict.fromkeys(to for node in before for to in self.after(s, node)))
            for node in before:
                yield self.bias(s, node)
                yield from (self.of_block(s, slot, node) for slot in (SLOTS if stage.depth[-1] else ()))
        yield from map(self.head, before)

    def after(self, stage: int, node: Node) -> Iterator[Node]:
        """The maps of a stage, from one before it: for each width, and for each canonical embedding of that width."""
        for width in self.space.stages[stage].width:
            for part in self.embedding(stage, node, width).same:
                yield width, *self.rules.size_after(part, (node[0], width), *node[1:])

    def _offer(self, stage: int, kind: str, dims: tuple[int, ...], height: int, width: int) -> Offer:
        key = stage, kind, dims, height, width
        found = self._offers.get(key)
        if found is None:
            slot = self.space.place(stage, kind, 0 if kind in SLOTS else -1).slot
            parts = [part for choice in slot for part in choice.members()]
            if kind != "position_bias":
                parts = [self.rules.part(kind, part, dims, height, width) for part in parts]
            else:
                parts = [p if p.name == NO_BIAS else self.rules.part(kind, p, dims, height, width) for p in parts]
            found = self._offers[key] = Offer(slot, parts)
        return found

    def embedding(self, stage: int, node: Node, width: int) -> Offer:
        """What a stage offers behind a map."""
        return self._offer(stage, "embedding", (node[0], width), *node[1:])

    def bias(self, stage: int, node: Node) -> Offer:
        """What a stage offers for its maps; nothing where it offers no position bias."""
        return self._offer(stage, "position_bias", (), *node[1:])

    def of_block(self, stage: int, slot: str, node: Node) -> Offer:
        """What a slot of the blocks of a stage offers on its maps."""
        return self._offer(stage, slot, node[:1], *node[1:])

    def head(self, node: Node) -> Offer:
        """What is offered behind the last map."""
        return self._offer(len(self.space.stages), "head", (node[0], self.space.num_classes), *node[1:])

    def needs_norm(self, mixer: str, ffn: str) -> bool:
        """Whether a block of these parts has a norm."""
        return self.rules.needs_norm("mixer", mixer) or self.rules.needs_norm("ffn", ffn)

    # Genes that matter

    def active(self, genes: Genes) -> tuple[int, ...]:
        """Positions of the genes that matter, ascending."""
        used: set[int] = set()
        node = (self.space.in_channels, self.space.resolution, self.space.resolution)
        for number in range(len(self.space.stages)):
            found, node = self.active_in_stage(number, genes, node)
            used |= found
        return tuple(sorted(used | self.active_in_head(genes, node)))

    def active_in_stage(self, number: int, genes: Genes, node: Node) -> tuple[set[int], Node]:
        """Positions of the genes that matter for a stage that gets this map, and the map that it gives."""
        space, stage, used = self.space, self.space.stages[number], set[int]()
        width = self._size(f"s{number}.width", stage.width, genes, used)
        depth = self._size(f"s{number}.depth", stage.depth, genes, used)
        place, offer = space.place(number, "embedding"), self.embedding(number, node, width)
        chosen = self._read(place, genes)
        self._note(place, offer, *chosen, used)
        node = (width, *self.rules.size_after(offer.parts[chosen], (node[0], width), *node[1:]))
        if stage.position_bias:
            place = space.place(number, "position_bias")
            self._note(place, self.bias(number, node), *self._read(place, genes), used)
        for b in range(depth):
            chosen_of = {slot: self._read(space.place(number, slot, b), genes) for slot in SLOTS}
            for slot, chosen in chosen_of.items():
                if slot != "norm" or self.needs_norm(chosen_of["mixer"][0], chosen_of["ffn"][0]):
                    self._note(space.place(number, slot, b), self.of_block(number, slot, node), *chosen, used)
        return used, node

    def active_in_head(self, genes: Genes, node: Node) -> set[int]:
        """Positions of the genes that matter for the head behind this map."""
        place, used = self.space.place(len(self.space.stages), "head"), set[int]()
        self._note(place, self.head(node), *self._read(place, genes), used)
        return used

    def _size(self, name: str, values: tuple[int, ...], genes: Genes, used: set[int]) -> int:
        """A width or depth; its gene is added to those in use."""
        if len(values) == 1:
            return values[0]
        used.add(position := self.space.positions[name])
        return values[genes[position]]

    def _read(self, place: Place, genes: Genes) -> tuple[str, Indices]:
        """The part that is chosen at a place, and the indices of its options."""
        at = self.space.positions
        name = place.parts[genes[at[place.name]] if len(place.parts) > 1 else 0]
        options = place.choice(name).options
        return name, tuple(genes[at[place.options[name][k]]] if len(v) > 1 else 0 for k, v in options)

    def _note(self, place: Place, offer: Offer, name: str, indices: Indices, used: set[int]) -> None:
        """Adds the genes of a place that matter to those in use."""
        at = self.space.positions
        if len(place.parts) > 1:
            used.add(at[place.name])
        for (key, _), matters in zip(place.choice(name).options, offer.matter(name, indices), strict=True):
            if matters:
                used.add(at[place.options[name][key]])

    # Genes of an architecture

    def encode(self, arch: Architecture) -> Genes:
        """The gene vector that stands for all that give the same function, 0 where a gene does not matter.

        Args:
            arch: of the size and the number of stages of the space's members.

        Raises:
            InputError: not a member.
        """
        found = _Found(self.space)
        node = (arch.in_channels, arch.resolution, arch.resolution)
        for s, (stage, offered) in enumerate(zip(arch.stages, self.space.stages, strict=True)):
            found.size(f"s{s}.width", stage.width, offered.width)
            found.size(f"s{s}.depth", len(stage.blocks), offered.depth)
            offer = self.embedding(s, node, stage.width)
            dims = (node[0], stage.width)
            part = self._find(found, self.space.place(s, "embedding"), "embedding", stage.embedding, offer, dims, node)
            node = (stage.width, *self.rules.size_after(part, dims, *node[1:]))
            bias = stage.position_bias or Part(NO_BIAS)
            if offered.position_bias:
                place = self.space.place(s, "position_bias")
                self._find(found, place, "position_bias", bias, self.bias(s, node), (), node)
            else:
                self.space.check_choice(f"s{s}.position_bias", bias.name, (NO_BIAS,))
            for b, block in enumerate(stage.blocks):
                for slot in ("position", "mixer", "ffn", "scale", "norm"):  # whether the norm is idle depends on others
                    if slot != "norm" or self.needs_norm(block.mixer.name, block.ffn.name):
                        place, offer = self.space.place(s, slot, b), self.of_block(s, slot, node)
                        self._find(found, place, slot, getattr(block, slot), offer, node[:1], node)
        dims, place = (node[0], arch.num_classes), self.space.place(len(self.space.stages), "head")
        self._find(found, place, "head", arch.head, self.head(node), dims, node)
        return found.genes()

    def _find(
        self, found: "_Found", place: Place, kind: str, part: Part, offer: Offer, dims: tuple[int, ...], node: Node
    ) -> Part:
        """Notes how the space offers what is the same function as a part, and returns its canonical form."""
        self.space.check_part(place, part)
        if kind == "position_bias" and part.name == NO_BIAS:
            canonical = part
        else:
            try:
                canonical = self.rules.part(kind, part, dims, *node[1:])
            except InputError:  # a value that the part does not allow, and so none of the space's
                canonical = part
        if canonical not in offer.same:
            given = part.values()
            for key, values in place.choice(part.name).options:
                self.space.check_choice(place.options[part.name][key], given[key], values)
        found.add(place, offer.same[canonical])
        return canonical


def _is_moved(offer: Offer) -> Iterator[bool]:
    """Of each member, whether another part stands for it."""
    for choice in offer.slot:
        for part, indices in zip(choice.members(), _all_indices(choice), strict=True):
            yield offer.parts[choice.name, indices] != part


def _all_indices(choice: PartChoice) -> Iterator[Indices]:
    return itertools.product(*(range(len(values)) for _, values in choice.options))


class _Found:
    """The genes of an architecture, as far as they are known: for each place all that it may be, until what is tied is decided."""

    def __init__(self, space: "SearchSpace") -> None:
        self.space, self.at = space, space.positions
        self.fixed: dict[int, int] = {}
        self.ways: list[list[dict[int, int]]] = []

    def size(self, name: str, value: int, values: tuple[int, ...]) -> None:
        self.space.check_choice(name, value, values)
        if len(values) > 1:
            self.fixed[self.at[name]] = values.index(value)

    def add(self, place: Place, ways: list[tuple[str, Indices]]) -> None:
        """One place, and each way in which the space offers what stands there."""
        found = []
        for name, indices in ways:
            genes = {self.at[place.name]: place.parts.index(name)} if len(place.parts) > 1 else {}
            for (key, values), index in zip(place.choice(name).options, indices, strict=True):
                if len(values) > 1:
                    genes[self.at[place.options[name][key]]] = index
            found.append(genes)
        self.ways.append(found)

    def genes(self) -> Genes:
        """
        Raises:
            InputError: what is tied differs between blocks.
        """
        tied = self._decided()
        genes = self.fixed | tied
        for ways in self.ways:
            genes |= next(way for way in ways if all(tied.get(gene, index) == index for gene, index in way.items()))
        return tuple(genes.get(position, 0) for position in range(len(self.space.genes)))

    def _decided(self) -> dict[int, int]:
        """The genes that several places share: the first of all ways in which the places agree."""
        users: dict[int, int] = {}
        for ways in self.ways:
            for gene in dict.fromkeys(gene for way in ways for gene in way):
                users[gene] = users.get(gene, 0) + 1
        agreed: list[dict[int, int]] = [{}]
        for ways in self.ways:
            shared = [{gene: index for gene, index in way.items() if users[gene] > 1} for way in ways]
            if not any(shared):
                continue
            grown = [one | way for one in agreed for way in shared if all(one.get(g, i) == i for g, i in way.items())]
            if not grown:
                gene = next(g for way in shared for g, i in way.items() if any(one.get(g, i) != i for one in agreed))
                raise self.space.broken_tie(self.space.genes[gene].name)
            agreed = list({tuple(sorted(one.items())): one for one in reversed(grown)}.values())[::-1]
        return agreed[0]


# Counting


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

    def __init__(self, space: "SearchSpace") -> None:
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
                for indices in _all_indices(choice):
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


def number_of_members(space: "SearchSpace") -> int:
    """The exact number of different functions in a space."""
    return _Count(space).total()


def resized_stages(space: "SearchSpace", resolution: int, rules: Rules) -> tuple[StageSpace, ...]:
    """The stages for images of another side: position tables that were made for a map of their stage are made for its new one."""
    stages, before = [], {(space.resolution, resolution)}
    dim = space.in_channels
    for stage in space.stages:
        dims = (dim, stage.width[0])
        parts = [part for choice in stage.embedding for part in choice.members()]
        before = {
            tuple(rules.size_after(part, dims, side, side)[0] for side in sides) for part in parts for sides in before
        }
        sides = sorted(before)
        bias = tuple(_resized("position_bias", choice, sides, rules) for choice in stage.position_bias)
        blocks = tuple(
            tuple(_resized(kind, choice, sides, rules) for choice in slot) if kind == "position" else slot
            for kind, slot in zip(SLOTS, stage.blocks, strict=True)
        )
        stages.append(replace(stage, blocks=blocks, position_bias=bias))
        dim = stage.width[0]
    return tuple(stages)


def _resized(kind: str, choice: PartChoice, sides: list[tuple[int, ...]], rules: Rules) -> PartChoice:
    """What is offered of a part for other maps: sides before and after, of each map that the stage may have."""
    if choice.name == NO_BIAS:
        return choice
    values: dict[str, dict] = {key: {} for key, _ in choice.options}
    for part in choice.members():
        changed = [new for old in sides if (new := rules.resized(kind, part, *old)) != part]
        for new in changed or [part]:
            for key, value in new.options:
                values[key].setdefault(repr(value), value)
    return PartChoice(choice.name, tuple((key, tuple(values[key].values())) for key, _ in choice.options))


__all__ = ["Functions", "Offer", "number_of_members", "resized_stages"]

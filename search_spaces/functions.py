"""Which choices of a space are one function, and how many functions there are. Standard library only.

Two gene vectors may be one function: an option may have no effect beside the others, two of its values may mean the same at some
width, and a norm is idle where both branches of a block bring their own. `Functions` finds which genes matter and gives each function
one gene vector; `search_spaces.number_of_members` counts each function once.
"""

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.choices import NO_BIAS, Node, PartChoice, Place, Rules, Slot, StageSpace
from search_spaces.errors import InputError

if TYPE_CHECKING:  # it imports this module
    from search_spaces.space.genes import Encoded

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

    def __init__(self, space: "Encoded", rules: Rules) -> None:
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
        for part, indices in zip(choice.members(), all_indices(choice), strict=True):
            yield offer.parts[choice.name, indices] != part


def all_indices(choice: PartChoice) -> Iterator[Indices]:
    """The indices of the options of each member of a choice, in the order of its members."""
    return itertools.product(*(range(len(values)) for _, values in choice.options))


class _Found:
    """The genes of an architecture, as far as they are known: for each place all that it may be, until what is tied is decided."""

    def __init__(self, space: "Encoded") -> None:
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


__all__ = ["Functions", "Indices", "Offer", "all_indices"]

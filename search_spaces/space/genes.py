"""Members of a space as genes: one index per choice, and back."""

from collections.abc import Callable, Iterator
from functools import cached_property, lru_cache
from typing import Any

from search_spaces.additions import added
from search_spaces.architecture import SLOTS, Architecture, Block, Part, Stage, Value, _thaw
from search_spaces.choices import NO_BIAS, Chosen, Gene, PartChoice, Place
from search_spaces.errors import InputError
from search_spaces.functions import Functions
from search_spaces.number_of_members import number_of_members
from search_spaces.space.description import Description

Genes = tuple[int, ...]
"""One index per gene of the space."""


# One object for equal parts and blocks, so that a memo keyed by them finds them by identity.


_PARTS: dict[Part, Part] = {}
_WRITTEN: dict[tuple[str, str], Part] = {}


def _same_part(name: str, options: tuple[tuple[str, Value], ...]) -> Part:
    key = name, repr(options)  # in which 1, 1.0 and True differ, as in a part; several times faster than making one
    found = _WRITTEN.get(key)
    if found is None:
        part = Part(name, options)
        found = _WRITTEN[key] = _PARTS.setdefault(part, part)
    return found


@lru_cache(maxsize=100_000)
def _same_block(position: Part, norm: Part, mixer: Part, ffn: Part, scale: Part) -> Block:
    return Block(position=position, norm=norm, mixer=mixer, ffn=ffn, scale=scale)


Pick = Callable[[str], int]
"""Gives the chosen index for the name of a choice; not called if there is only one value."""


def _choose(pick: Pick, name: str, values: tuple[Any, ...]) -> Any:
    return values[pick(name) if len(values) > 1 else 0]


def _walk_part(pick: Pick, place: Place) -> Part:
    """The part that `pick` chooses for a place."""
    choice = _choose(pick, place.name, place.slot)
    names = place.options[choice.name]
    return _same_part(choice.name, tuple((key, _choose(pick, names[key], values)) for key, values in choice.options))


class Encoded(Description):
    """A space whose members are genes."""

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """Every choice with more than one value, in a fixed order."""
        found: dict[str, Gene] = {}

        def add(name: str, values: tuple[Value, ...], chosen: Chosen, stage: int | None) -> None:
            if len(values) > 1:
                found.setdefault(name, Gene(name, values, chosen, stage))

        def add_slot(stage: int, slot: str, block: int = -1) -> None:
            place = self.place(stage, slot, block)
            add(place.name, place.parts, "part", None if self.in_network(slot) else stage)
            for choice in place.slot:
                for key, values in choice.options:
                    owner = None if self.in_network(f"{slot}.{choice.name}.{key}") else stage
                    names_parts = self.rules is not None and self.rules.names_parts(slot, choice.name, key)
                    add(place.options[choice.name][key], values, "part" if names_parts else "option", owner)

        for s, stage in enumerate(self.stages):
            add(f"s{s}.width", stage.width, "width", s)
            add(f"s{s}.depth", stage.depth, "depth", s)
            add_slot(s, "embedding")
            add_slot(s, "position_bias")
            for b in range(stage.depth[-1]):
                for slot in SLOTS:
                    add_slot(s, slot, b)
        add_slot(len(self.stages), "head")
        return tuple(found.values())

    @cached_property
    def positions(self) -> dict[str, int]:
        """The position of every gene, by its name."""
        return {gene.name: index for index, gene in enumerate(self.genes)}

    def decode(self, genes: Genes) -> Architecture:
        """The architecture of one index per gene. Genes without effect are ignored.

        Raises:
            ValueError: the wrong number of genes, or an index out of range.
        """
        if len(genes) != len(self.genes):
            raise ValueError(f"{len(genes)} indices for {len(self.genes)} genes")
        for gene, index in zip(self.genes, genes, strict=True):
            if not 0 <= index < len(gene.choices):
                raise ValueError(f"{gene.name} has {len(gene.choices)} choices, not an index {index}")
        arch = self._walk(lambda name: genes[self.positions[name]])
        return arch if self.functions is None else self.functions.rules.architecture(arch)

    def _walk(self, pick: Pick) -> Architecture:
        """Builds an architecture by asking `pick` for an index at every choice that matters."""
        stages = tuple(self.stage_of(number, pick) for number in range(len(self.stages)))
        return self.whole(stages, self.head_of(pick))

    def whole(self, stages: tuple[Stage, ...], head: Part) -> Architecture:
        """The member of these stages and this head."""
        return Architecture(
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            resolution=self.resolution,
            stages=stages,
            head=head,
        )

    def stage_of(self, number: int, pick: Pick) -> Stage:
        """The stage that `pick` chooses."""
        here, stage = f"s{number}", self.stages[number]
        width = _choose(pick, f"{here}.width", stage.width)
        depth = _choose(pick, f"{here}.depth", stage.depth)
        embedding = _walk_part(pick, self.place(number, "embedding"))
        bias = _walk_part(pick, self.place(number, "position_bias")) if stage.position_bias else None
        bias = None if bias is None or bias.name == NO_BIAS else bias
        blocks = tuple(
            _same_block(*(_walk_part(pick, self.place(number, slot, b)) for slot in SLOTS)) for b in range(depth)
        )
        return Stage(width=width, embedding=embedding, blocks=blocks, position_bias=bias)

    def head_of(self, pick: Pick) -> Part:
        """The head that `pick` chooses."""
        return _walk_part(pick, self.place(len(self.stages), "head"))

    @cached_property
    def functions(self) -> Functions | None:
        """Tells which choices are the same function; None if different choices are always different functions."""
        found = None if self.rules is None else Functions(self, self.rules)
        return found if found is not None and found.merge else None

    def active(self, genes: Genes) -> tuple[int, ...]:
        """Ascending positions of the genes that have an effect: changing one of them alone gives another function."""
        if self.functions is not None:
            return self.functions.active(genes)
        used = set()

        def pick(name: str) -> int:
            used.add(self.positions[name])
            return genes[self.positions[name]]

        self._walk(pick)
        return tuple(sorted(used))

    def encode(self, arch: Architecture) -> Genes:
        """One index per gene, 0 for genes without effect. `decode(encode(a)) == a` for canonical architectures; for others it
        gives the canonical architecture of the same function.

        Raises:
            InputError: `arch` is not a member; the message names the first choice that does not fit.
        """
        for key in ("in_channels", "num_classes", "resolution"):
            self.check_choice(key, getattr(arch, key), (getattr(self, key),))
        self.check_choice("the number of stages", len(arch.stages), (len(self.stages),))
        if self.functions is not None:
            return self.functions.encode(arch)
        genes, seen = [0] * len(self.genes), set[str]()

        def find(name: str, value: Any, values: tuple[Value, ...]) -> None:
            self.check_choice(name, value, values)
            if len(values) > 1:
                index, position = values.index(value), self.positions[name]
                if name in seen and genes[position] != index:
                    raise self.broken_tie(name)
                seen.add(name)
                genes[position] = index

        for place, part in self.chosen(arch, find):
            self.check_part(place, part)
            find(place.name, part.name, place.parts)
            given = part.values()
            for key, values in place.choice(part.name).options:
                find(place.options[part.name][key], given[key], values)
        return tuple(genes)

    def chosen(
        self, arch: Architecture, size: Callable[[str, int, tuple[int, ...]], None]
    ) -> Iterator[tuple[Place, Part]]:
        """Every place of an architecture with this number of stages, and its part, in the order of the forward pass.

        Args:
            size: called with the name, value and choices of each width and depth, before the places that follow.
        """
        for s, (stage, space) in enumerate(zip(arch.stages, self.stages, strict=True)):
            size(f"s{s}.width", stage.width, space.width)
            size(f"s{s}.depth", len(stage.blocks), space.depth)
            yield self.place(s, "embedding"), stage.embedding
            bias = self.place(s, "position_bias")
            yield bias if bias.slot else Place(bias.name, (PartChoice(NO_BIAS),), (NO_BIAS,), {NO_BIAS: {}}), stage.position_bias or Part(NO_BIAS)  # fmt: skip
            for b, block in enumerate(stage.blocks):
                for slot in SLOTS:
                    yield self.place(s, slot, b), getattr(block, slot)
        yield self.place(len(self.stages), "head"), arch.head

    def check_choice(self, name: str, value: Any, values: tuple[Value, ...]) -> None:
        """
        Raises:
            InputError: the space does not offer this value of this type.
        """
        if value not in values or type(value) is not type(values[values.index(value)]):
            shown = ", ".join(str(_thaw(v)) for v in values)
            raise InputError(
                f"{name} is {value!r}, which space {self.name} does not have",
                shown,
                f"another space, or {name} = {values[0]}",
            )

    def check_part(self, place: Place, part: Part) -> None:
        """
        Raises:
            InputError: the space does not offer this part there, or not with these options.
        """
        self.check_choice(place.name, part.name, place.parts)
        known, given = place.options[part.name], part.values()
        for key, value in added(part.name).items():
            if key not in known:  # the space has it at its default alone
                self.check_choice(f"{place.name}.{part.name}.{key}", given.pop(key), (value,))
        if set(given) != set(known):
            raise InputError(
                f"{place.name} is {part.name} with the options {sorted(given)}",
                f"the options {list(known)}", "complete the architecture first: search_spaces.complete",
            )  # fmt: skip

    def broken_tie(self, name: str) -> InputError:
        """The error for a gene that would need two values at once."""
        scope = "network" if self.genes[self.positions[name]].stage is None else "stage"
        return InputError(
            f"{name} differs between blocks, but space {self.name} chooses it per {scope}",
            f"one value a {scope}",
            "another space",
        )

    def contains(self, arch: Architecture) -> bool:
        """Whether `arch`, complete, is a member."""
        try:
            self.encode(arch)
        except InputError:
            return False
        return True

    @cached_property
    def size(self) -> int:
        """The exact number of different functions, which are the members."""
        return number_of_members(self)

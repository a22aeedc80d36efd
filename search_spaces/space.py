"""A search space: a finite set of architectures, given as choices per stage and per block.

A space is a readable TOML file:

    name = "tiny"
    about = "Two mixers in two stages."
    in_channels = 1                 # these three follow the data when a run starts
    num_classes = 10
    resolution = 16
    head = { part = "linear_head" }

    [block]                         # what every stage offers, unless it says otherwise
    position = [{ part = "none" }]
    norm = [{ part = "layer_norm" }]
    mixer = [{ part = "depthwise_conv", kernel_size = [3, 5] }, { part = "global_attention", head_dim = 8 }]
    ffn = [{ part = "mlp", ratio = [2, 4] }]
    scale = [{ part = "none" }]

    # position_bias = [{ part = "none" }, ...], a key of a stage, offers what its attention blocks share; left out it is none.

    [[stages]]
    width = [16, 32]
    depth = [1, 2]
    embedding = [{ part = "conv_stem", stride = 2 }]
    per_stage = ["ffn"]             # chosen once for all blocks of the stage

A list is always a list of choices; a value that is itself a list is written inside one (`scales = [[3], [1, 3]]`). Training takes the
last value of a list as the largest, so numbers ascend, false stands before true, and shorter lists stand before longer ones. Words
stand in any order, and so do options of which the part says so (`PartModule.unordered`), such as `sr_ratio`.
`per_stage` names a slot ("mixer") or one option of one part ("mixer.d_mixer.attention_ratio"). `per_network`, a key beside `head`,
names the same to choose it once for all stages that offer it.

Standard library only. Every choice with more than one value is a gene; an architecture is encoded as one index per gene, 0 where
the gene does not matter (a block beyond the depth, an option of a part that was not chosen, an option without effect). A checked
space knows the rules of its parts, and all its members are canonical: one function is one member (`search_spaces.canonical`).
"""

import hashlib
import itertools
import json
import math
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

from search_spaces.additions import added
from search_spaces.architecture import SLOTS, Architecture, Block, Part, Stage, Value, _freeze, _thaw
from search_spaces.choices import (
    NO_BIAS,
    Buildable,
    Chosen,
    Gene,
    Node,
    PartChoice,
    Place,
    Rules,
    Slot,
    StageSpace,
    members,
)
from search_spaces.errors import InputError, OutsideBudget, unknown
from search_spaces.functions import Functions, number_of_members, resized_stages

Cost = Callable[[Architecture], float]
"""What a member costs."""

Excess = Callable[[Architecture], float]
"""How far a member is above a budget, whatever that bounds; it is within when this is 0 or less."""

Genes = tuple[int, ...]
"""One index per gene of the space."""


REJECTIONS = 50
"""Draws before a sample is repaired into its budget instead."""

RESTARTS = 1
"""Further descents where the first one finds nothing within a budget."""


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
"""The index that is chosen of the values of a choice, by its name; not called where there is one value."""


def _choose(pick: Pick, name: str, values: tuple[Any, ...]) -> Any:
    return values[pick(name) if len(values) > 1 else 0]


def _walk_part(pick: Pick, place: Place) -> Part:
    """The part that `pick` chooses for a place."""
    choice = _choose(pick, place.name, place.slot)
    names = place.options[choice.name]
    return _same_part(choice.name, tuple((key, _choose(pick, names[key], values)) for key, values in choice.options))


def _choice(data: Any, where: str) -> PartChoice:
    if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
        raise InputError(f"{where} has {data!r}", 'tables with the key "part"', f'{where} = [{{ part = "..." }}]')
    options = []
    for key, value in sorted(data.items()):
        if key == "part":
            continue
        values = tuple(_freeze(v, f"{where}.{key}") for v in (value if isinstance(value, list) else [value]))
        if not values or len(set(values)) != len(values):
            once = ", ".join(json.dumps(_thaw(v)) for v in dict.fromkeys(values))
            raise InputError(
                f"{where}.{key} is {value!r}",
                "at least one value, each once",
                f"{key} = [{once}]" if once else f"leave {key} out, which takes its default",
            )
        options.append((key, values))
    return PartChoice(data["part"], tuple(options))


def _slot(data: Any, where: str) -> Slot:
    choices = tuple(_choice(item, where) for item in (data if isinstance(data, list) else [data]))
    names = [choice.name for choice in choices]
    if not choices or len(set(names)) != len(names):
        raise InputError(
            f"{where} offers {names}", "at least one part, each once", "give one part several values for its options"
        )
    return choices


def _numbers(data: Any, where: str, least: int, most: int) -> tuple[int, ...]:
    values = tuple(data) if isinstance(data, list) else (data,)
    whole = [v for v in values if type(v) is int and least <= v <= most]
    if not values or len(whole) < len(values) or whole != sorted(set(whole)):
        usable = sorted(set(whole)) or ([16, 32] if least else [1, 2])
        raise InputError(
            f"{where} is {data!r}",
            f"ascending whole numbers from {least} to {most:,}",
            f"{where.split('.')[-1]} = {usable}",
        )
    return values


def _number(data: Any, where: str) -> int:
    if type(data) is not int or not 1 <= data <= 10**9:
        raise InputError(f"{where} is {data!r}", f"one whole number from 1 to {10**9:,}", f"{where.split('.')[-1]} = 3")
    return data


def _keys(data: Any, where: str, known: tuple[str, ...], required: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise InputError(f"{where} is {data!r}", "a table", f"[{where}]")
    for key in data:
        if key not in known:
            raise unknown(f"key in {where}:", key, known, "{} = ...")
    for key in required:
        if key not in data:
            raise InputError(f"{where} lacks {key}", f"the keys {', '.join(known)}", f"{key} = ...")
    return data


def _offered(blocks: tuple[Slot, ...]) -> dict[str, tuple[Any, ...]]:
    """What may be tied over blocks, and what each of them may be: slots, and options of parts."""
    found: dict[str, tuple[Any, ...]] = dict(zip(SLOTS, blocks, strict=True))
    for slot, choices in zip(SLOTS, blocks, strict=True):
        found |= {f"{slot}.{c.name}.{key}": values for c in choices for key, values in c.options}
    return found


def _ties(data: Any, where: str, allowed: Mapping[str, Any]) -> tuple[str, ...]:
    key = where.rpartition(" ")[2].rpartition(".")[2]
    if not isinstance(data, list) or not all(isinstance(tie, str) for tie in data):
        raise InputError(f"{where} is {data!r}", "a list of names", f'{key} = ["ffn"]')
    for tie in data:
        if tie not in allowed:
            raise unknown(f"entry of {where}:", tie, allowed, f'{key} = ["{{}}"]')
    return tuple(sorted(data))


def _per_network(data: Any, where: str, stages: list[StageSpace]) -> tuple[str, ...]:
    """The choices that are made once for all stages, which therefore have to offer the same."""
    offered = [_offered(stage.blocks) if stage.depth[-1] else {} for stage in stages]
    ties = _ties(data, where, {tie: None for found in offered for tie in found})
    for tie in ties:
        different = list(dict.fromkeys(found[tie] for found in offered if tie in found))
        if len(different) > 1:
            raise InputError(
                f"{where} has {tie!r}, of which stages offer different choices",
                "the same choices, in the same order, in every stage that has it",
                f'per_stage = ["{tie}"] in each stage, or the same list in all of them',
            )
    return ties


def check_ties(space: "SearchSpace") -> None:
    """
    Raises:
        InputError: stages share a choice of which they offer different values, defaults included.
    """
    _per_network(list(space.per_network), f"space {space.name}: per_network", list(space.stages))


@dataclass(frozen=True)
class SearchSpace:
    """A set of architectures.

    Args:
        name, about: what to call it, and what it is for.
        in_channels, num_classes, resolution: of every member; see `bind`.
        stages, head: the choices.
        per_network: the choices that all stages share which have them.
        rules: of the parts; without them different choices are different members.
    """

    name: str
    about: str
    in_channels: int
    num_classes: int
    resolution: int
    stages: tuple[StageSpace, ...]
    head: Slot
    per_network: tuple[str, ...] = ()
    rules: Rules | None = field(default=None, compare=False, repr=False)

    # Reading and writing

    @classmethod
    def from_toml(cls, text: str, where: str = "the space") -> Self:
        """
        Args:
            where: the file's name, for messages.

        Raises:
            InputError: not TOML, or not a space; the message names the key. Part and option names are checked by
                `search_spaces.named.load_space`, which knows them.
        """
        try:
            data = tomllib.loads(text)
        except ValueError as error:  # no TOML, or a number of thousands of digits
            raise InputError(f"{where} is not TOML: {error}", "a TOML file", f"mend {where}") from None
        return cls.from_dict(data, where)

    @classmethod
    def from_dict(cls, data: Any, where: str = "the space") -> Self:
        """The inverse of `to_dict`; also takes what TOML gives. Raises InputError as `from_toml` does."""
        top = ("name", "about", "in_channels", "num_classes", "resolution", "head", "block", "stages", "per_network")
        data = _keys(data, where, top, ("name", "stages", "head"))
        defaults = _keys(data.get("block", {}), f"{where}: block", SLOTS, ())
        if not isinstance(data["stages"], list) or not data["stages"]:
            raise InputError(f"{where} has no stages", "one table [[stages]] for each stage", "[[stages]]")
        stages = []
        for number, raw in enumerate(data["stages"]):
            here = f"{where}: stage {number}"
            required = ("width", "depth", "embedding", *(slot for slot in SLOTS if slot not in defaults))
            table = _keys(raw, here, ("width", "depth", "embedding", "per_stage", "position_bias", *SLOTS), required)
            blocks = tuple(_slot(table.get(slot, defaults.get(slot)), f"{here}.{slot}") for slot in SLOTS)
            ties = _ties(table.get("per_stage", []), f"{here}.per_stage", _offered(blocks))
            stages.append(
                StageSpace(
                    width=_numbers(table["width"], f"{here}.width", 1, 10**6),
                    depth=_numbers(table["depth"], f"{here}.depth", 0, 10**4),
                    embedding=_slot(table["embedding"], f"{here}.embedding"),
                    blocks=blocks,
                    per_stage=ties,
                    position_bias=_slot(table["position_bias"], f"{here}.position_bias")
                    if "position_bias" in table
                    else (),
                )
            )
        return cls(
            name=str(data["name"]),
            about=str(data.get("about", "")),
            in_channels=_number(data.get("in_channels", 3), f"{where}.in_channels"),
            num_classes=_number(data.get("num_classes", 1000), f"{where}.num_classes"),
            resolution=_number(data.get("resolution", 224), f"{where}.resolution"),
            stages=tuple(stages),
            head=_slot(data["head"], f"{where}.head"),
            per_network=_per_network(data.get("per_network", []), f"{where}: per_network", stages),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists, with every stage written out."""
        return {
            "name": self.name,
            "about": self.about,
            "in_channels": self.in_channels,
            "num_classes": self.num_classes,
            "resolution": self.resolution,
            "head": [choice.to_dict() for choice in self.head],
            "stages": [stage.to_dict() for stage in self.stages],
        } | ({"per_network": list(self.per_network)} if self.per_network else {})

    @cached_property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the choices (name and description left out)."""
        choices = {key: value for key, value in self.to_dict().items() if key not in ("name", "about")}
        return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]

    def bind(self, in_channels: int, num_classes: int, resolution: int) -> "SearchSpace":
        """The same choices for another data set. Position tables that are made for the maps of their stage are made for its new maps."""
        bound = replace(self, in_channels=in_channels, num_classes=num_classes, resolution=resolution)
        if self.rules is None:
            return bound
        return replace(bound, stages=resized_stages(self, resolution, self.rules))

    # Genes

    def gene_name(self, stage: int, block: int, choice: str) -> str:
        """The name of the gene that chooses a slot of a block ("mixer") or an option of its part ("mixer.d_mixer.kernel_size")."""
        if self.in_network(choice):
            return choice
        whole = choice.partition(".")[0]
        tied = not {whole, choice}.isdisjoint(self.stages[stage].per_stage)
        return f"s{stage}.{choice}" if tied else f"s{stage}.b{block}.{choice}"

    def in_network(self, choice: str) -> bool:
        """Whether the stages share a choice, written as for `gene_name`."""
        return not {choice.partition(".")[0], choice}.isdisjoint(self.per_network)

    def _walk(self, pick: Pick) -> Architecture:
        """Builds an architecture by asking `pick` for an index at every choice that matters."""
        stages = tuple(self._walk_stage(number, pick) for number in range(len(self.stages)))
        return self._whole(stages, self._walk_head(pick))

    def _whole(self, stages: tuple[Stage, ...], head: Part) -> Architecture:
        return Architecture(
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            resolution=self.resolution,
            stages=stages,
            head=head,
        )

    def _walk_stage(self, number: int, pick: Pick) -> Stage:
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

    def _walk_head(self, pick: Pick) -> Part:
        return _walk_part(pick, self.place(len(self.stages), "head"))

    def place(self, stage: int, slot: str, block: int = -1) -> Place:
        """Where a part is chosen: a slot of a block, or the embedding or position bias of a stage, or behind the stages the head."""
        found = self._places.get((stage, slot, block))
        if found is None:
            found = self._places[stage, slot, block] = self._place(stage, slot, block)
        return found

    @cached_property
    def _places(self) -> dict[tuple[int, str, int], Place]:
        return {}

    def _place(self, stage: int, slot: str, block: int) -> Place:
        if slot == "head":
            offered, prefix = self.head, slot
        elif block < 0:
            offered, prefix = getattr(self.stages[stage], slot), f"s{stage}.{slot}"
        else:
            offered, prefix = self.stages[stage].blocks[SLOTS.index(slot)], self.gene_name(stage, block, slot)

        def name(part: str, key: str) -> str:
            own = f"{slot}.{part}.{key}"
            return f"{prefix}.{part}.{key}" if block < 0 else self.gene_name(stage, block, own)

        options = {c.name: {key: name(c.name, key) for key, _ in c.options} for c in offered}
        return Place(prefix, offered, tuple(choice.name for choice in offered), options)

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
        """The architecture of one index per gene; genes that do not matter are ignored.

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

    @cached_property
    def functions(self) -> Functions | None:
        """Which choices are one function; None where different choices always are different ones."""
        found = None if self.rules is None else Functions(self, self.rules)
        return found if found is not None and found.merge else None

    def active(self, genes: Genes) -> tuple[int, ...]:
        """Positions of the genes that matter, ascending: another choice of one of them, all else as it is, is another function."""
        if self.functions is not None:
            return self.functions.active(genes)
        used = set()

        def pick(name: str) -> int:
            used.add(self.positions[name])
            return genes[self.positions[name]]

        self._walk(pick)
        return tuple(sorted(used))

    def encode(self, arch: Architecture) -> Genes:
        """One index per gene, 0 for genes that do not matter. `decode(encode(a)) == a` for canonical architectures; of others it gives the
        canonical one, which is the same function.

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
        """Every place of an architecture of as many stages, and its part, in the order of the forward pass.

        Args:
            size: is told the name, value and choices of each width and depth, before the places behind it.
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
            InputError: the space does not offer this part there, or not with these options, whatever their values are.
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
        """The error of a gene that would need two values at once."""
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

    def buildable(self) -> Iterator[Buildable]:
        """Every part that can be built, with each width and each combination of its options."""
        before: tuple[int, ...] = (self.in_channels,)
        for s, stage in enumerate(self.stages):
            for choice in stage.embedding:
                for part in choice.members():
                    for dims in itertools.product(before, stage.width):
                        yield Buildable(f"stages.{s}.embedding", 1, "embedding", part, dims)
            for choice in stage.position_bias:
                for part in choice.members() if choice.name != NO_BIAS else ():
                    yield Buildable(f"stages.{s}.position_bias", 1, "position_bias", part, ())
            for slot, choices in zip(SLOTS, stage.blocks, strict=True):
                for choice in choices:
                    for part in choice.members():
                        for width in stage.width:
                            yield Buildable(f"stages.{s}.blocks", stage.depth[-1], slot, part, (width,))
            before = stage.width
        for choice in self.head:
            for part in choice.members():
                for width in before:
                    yield Buildable("head", 1, "head", part, (width, self.num_classes))

    # Moving about

    def sample(self, rng: random.Random, excess: Excess | None = None) -> Architecture:
        """A member drawn gene by gene, uniformly; within the budget if one is given.

        Up to `REJECTIONS` draws are tried; then the last one is repaired.

        Raises:
            OutsideBudget: no member was found within the budget.
        """
        genes: Genes = ()
        for _ in range(REJECTIONS):
            genes = tuple(rng.randrange(len(gene.choices)) for gene in self.genes)
            arch = self.decode(genes)
            if excess is None or excess(arch) <= 0:
                return arch
        assert excess is not None
        return self.repair(self.decode(genes), rng, excess)

    def mutate(
        self, arch: Architecture, rng: random.Random, rate: float = 0.1, excess: Excess | None = None
    ) -> Architecture:
        """A member that differs from `arch` in at least one choice, each gene that matters redrawn with probability `rate`.

        Within a budget the result is repaired and may equal `arch`.

        Raises:
            InputError: `arch` is not a member.
            OutsideBudget: no member was found within the budget.
        """
        genes = list(self.encode(arch))
        positions = self.active(tuple(genes))
        if positions:
            forced = rng.choice(positions)
            count = len(self.genes[forced].choices)
            others = [(genes[forced] + step) % count for step in range(1, count)]
            if self.functions is not None:
                others = [other for other in others if self._changes(tuple(genes), forced, other)]
            for position in positions:
                if position == forced:
                    genes[position] = others[rng.randrange(len(others))]
                elif rng.random() < rate:
                    genes[position] = rng.randrange(len(self.genes[position].choices))
        return self._within(tuple(genes), rng, excess)

    def _changes(self, genes: Genes, position: int, index: int) -> bool:
        """Whether another choice of one gene is another function."""
        return self.decode((*genes[:position], index, *genes[position + 1 :])) != self.decode(genes)

    def crossover(
        self, one: Architecture, other: Architecture, rng: random.Random, excess: Excess | None = None
    ) -> Architecture:
        """A member that has each gene from one parent or the other.

        Raises:
            InputError: a parent is not a member.
            OutsideBudget: no member was found within the budget.
        """
        pairs = zip(self.encode(one), self.encode(other), strict=True)
        return self._within(tuple(rng.choice(pair) for pair in pairs), rng, excess)

    def _within(self, genes: Genes, rng: random.Random, excess: Excess | None) -> Architecture:
        arch = self.decode(genes)
        return arch if excess is None else self.repair(arch, rng, excess)

    def repair(self, arch: Architecture, rng: random.Random, excess: Excess) -> Architecture:
        """`arch` if it is within the budget, else a member near it that is.

        One gene at a time, in random order, steps to its choice with the next smaller excess until the budget holds; bounded by the
        total number of choices, after which the nearest member is taken.

        Raises:
            InputError: `arch` is not a member.
            OutsideBudget: no member was found within the budget.
        """
        now = excess(arch)
        if now <= 0:
            return arch
        genes = list(self.encode(arch))
        for _ in range(sum(len(gene.choices) for gene in self.genes)):
            positions = list(self.active(tuple(genes)))
            rng.shuffle(positions)
            for position in positions:
                best = None
                for index in range(len(self.genes[position].choices)):
                    found = excess(self.decode((*genes[:position], index, *genes[position + 1 :])))
                    if found < now and (best is None or found > best[0]):
                        best = (found, index)
                if best is not None:
                    now, genes[position] = best
                    break
            else:
                break
            if now <= 0:
                return self.decode(tuple(genes))
        nearest = self._nearest(excess, -math.inf)
        if excess(nearest) > 0:
            raise OutsideBudget(nearest)
        return nearest

    def nearest(self, excess: Excess) -> Architecture:
        """The member of least excess that coordinate descent finds, from the first choice everywhere and, where that ends above the
        budget, from `RESTARTS` others; the first one within the budget, where there is one.
        """
        return self._nearest(excess, 0)

    def _nearest(self, excess: Excess, stop: float) -> Architecture:
        found = self._descend(excess, 1, stop)
        least, rng = excess(found), random.Random(0)  # the same starts each time
        for _ in range(RESTARTS if self.genes else 0):
            if least > 0:
                start = tuple(rng.randrange(len(gene.choices)) for gene in self.genes)
                other = self._descend(excess, 1, stop, start)
                if excess(other) < least:
                    found, least = other, excess(other)
        return found

    def smallest(self, cost: Cost) -> Architecture:
        """The member of least cost, by coordinate descent from the first choice everywhere."""
        return self._descend(cost, 1)

    def largest(self, cost: Cost) -> Architecture:
        """The member of most cost, by coordinate ascent from the last choice everywhere."""
        return self._descend(cost, -1)

    def _descend(self, cost: Cost, sign: int, stop: float = -math.inf, start: Genes | None = None) -> Architecture:
        """Coordinate descent, from the first choice everywhere (ascent: the last) or from `start`, until the value is no larger than
        `stop`. A change that makes other genes matter (another part, a further block) is judged with the best
        values of those, chosen one after another; alone it would be judged with options that nobody has looked at.
        """

        near = _Neighbours(self)
        known: dict[tuple[int, ...], float] = {}

        def value(genes: Genes) -> float:
            pieces, _ = near.pieces(genes)
            key = tuple(map(id, pieces))  # equal stages are one object, which lives as long as `near`
            if key not in known:
                known[key] = sign * cost(near.decode(genes))
            return known[key]

        def settled(genes: Genes, before: frozenset[int]) -> tuple[float, Genes]:
            """`genes` with a good choice for each gene that matters and did not before, and its value."""
            now, done = value(genes), set(before)
            while fresh := [position for position in near.active(genes) if position not in done]:
                position = fresh[0]
                done.add(position)
                trials = [
                    (*genes[:position], i, *genes[position + 1 :]) for i in range(len(self.genes[position].choices))
                ]
                now, genes = min(((value(trial), trial) for trial in trials), key=lambda found: found[0])
            return now, genes

        genes = start or tuple(0 if sign == 1 else len(gene.choices) - 1 for gene in self.genes)
        now, improved = value(genes), True
        while improved and now > stop:  # ends: the cost falls strictly, and there are finitely many members
            improved = False
            for position, gene in enumerate(self.genes):
                before = frozenset(near.active(genes))
                if position not in before:  # every choice of it gives the same network
                    continue
                for index in range(len(gene.choices)):
                    found = settled((*genes[:position], index, *genes[position + 1 :]), before)
                    if found[0] < now:
                        (now, genes), improved = found, True
                    if now <= stop:
                        return near.decode(genes)
        return near.decode(genes)


class _Neighbours:
    """Decodes genes of a space, most of which differ in one stage from genes that were decoded before: the others are remembered."""

    def __init__(self, space: SearchSpace) -> None:
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
        self._known: list[dict[tuple[Genes, Node], _Piece]] = [{} for _ in self._spans]
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

    def _piece(self, number: int, genes: Genes, node: Node) -> "_Piece":
        """The stage that gets this map, or the head behind it. Where no two choices are one function its size does not matter."""
        space, functions, used, after = self._space, self._space.functions, set[int](), node

        def pick(name: str) -> int:
            used.add(space.positions[name])
            return genes[space.positions[name]]

        if number == len(space.stages):
            piece = space._walk_head(pick)
            if functions is not None:
                piece = functions.rules.part("head", piece, (node[0], space.num_classes), *node[1:])
                used = functions.active_in_head(genes, node)
        else:
            piece = space._walk_stage(number, pick)
            if functions is not None:
                piece = functions.rules.stage(piece, *node)
                used, after = functions.active_in_stage(number, genes, node)
        return _Piece(self._same.setdefault(piece, piece), tuple(sorted(used)), after)

    def active(self, genes: Genes) -> list[int]:
        """As `SearchSpace.active`."""
        return self.pieces(genes)[1]

    def decode(self, genes: Genes) -> Architecture:
        """As `SearchSpace.decode`."""
        *stages, head = self.pieces(genes)[0]
        return self._space._whole(tuple(stages), head)


class _Piece(NamedTuple):
    """A stage or the head as some genes choose it: the positions of those that matter, ascending, and the map that it gives."""

    what: Any
    active: tuple[int, ...]
    node: Node


__all__ = [
    "NO_BIAS",
    "REJECTIONS",
    "RESTARTS",
    "Cost",
    "Excess",
    "Gene",
    "Genes",
    "PartChoice",
    "Place",
    "Rules",
    "SearchSpace",
    "Slot",
    "StageSpace",
    "check_ties",
    "members",
]  # fmt: skip

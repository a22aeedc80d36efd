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

A list is always a list of choices; a value that is itself a list is written inside one (`scales = [[3], [1, 3]]`).
`per_stage` names a slot ("mixer") or one option of one part ("mixer.d_mixer.attention_ratio").

Standard library only. Every choice with more than one value is a gene; an architecture is encoded as one index per gene, 0 where
the gene does not matter (a block beyond the depth, an option of a part that was not chosen).
"""

import hashlib
import itertools
import json
import math
import random
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Self

from search_spaces.additions import added
from search_spaces.architecture import SLOTS, Architecture, Block, Part, Stage, Value, _freeze, _thaw
from search_spaces.errors import InputError, OutsideBudget, unknown

Cost = Callable[[Architecture], float]
"""What a member costs."""

Excess = Callable[[Architecture], float]
"""How far a member is above a budget, whatever that bounds; it is within when this is 0 or less."""

NO_BIAS = "none"
"""The choice of a `position_bias` that an architecture writes by leaving it out."""

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


@dataclass(frozen=True, slots=True)
class PartChoice:
    """A part, with the values that each of its options may take."""

    name: str
    options: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def members(self) -> Iterator[Part]:
        """Every part that this choice allows."""
        keys = [key for key, _ in self.options]
        for values in itertools.product(*(values for _, values in self.options)):
            yield Part(self.name, tuple(zip(keys, values, strict=True)))

    def to_dict(self) -> dict[str, Any]:
        return {"part": self.name} | {key: [_thaw(value) for value in values] for key, values in self.options}


Slot = tuple[PartChoice, ...]
"""The parts that may stand in one place."""


def members(slot: Slot) -> list[Part]:
    """Every part that a slot allows, with each combination of its options; the last option varies fastest."""
    return [part for choice in slot for part in choice.members()]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpace:
    """The choices of one stage; `blocks` has one slot for each name in `SLOTS`."""

    width: tuple[int, ...]
    depth: tuple[int, ...]
    embedding: Slot
    blocks: tuple[Slot, ...]
    per_stage: tuple[str, ...] = ()
    position_bias: Slot = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "width": list(self.width),
            "depth": list(self.depth),
            "embedding": [choice.to_dict() for choice in self.embedding],
            **{slot: [c.to_dict() for c in choices] for slot, choices in zip(SLOTS, self.blocks, strict=True)},
            "per_stage": list(self.per_stage),
        } | ({"position_bias": [choice.to_dict() for choice in self.position_bias]} if self.position_bias else {})


@dataclass(frozen=True, slots=True)
class Gene:
    """One choice: a readable name such as "s1.b0.mixer.d_mixer.kernel_size", and its values."""

    name: str
    choices: tuple[Value, ...]


_PLACES = frozenset((*SLOTS, "embedding", "position_bias", "head"))


def is_kind(gene: Gene) -> bool:
    """Whether a gene chooses between parts rather than between sizes or options of one."""
    return gene.name.rsplit(".", 1)[-1] in _PLACES


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


@dataclass(frozen=True)
class SearchSpace:
    """A set of architectures.

    Args:
        name, about: what to call it, and what it is for.
        in_channels, num_classes, resolution: of every member; see `bind`.
        stages, head: the choices.
    """

    name: str
    about: str
    in_channels: int
    num_classes: int
    resolution: int
    stages: tuple[StageSpace, ...]
    head: Slot

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
        top = ("name", "about", "in_channels", "num_classes", "resolution", "head", "block", "stages")
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
            ties = table.get("per_stage", [])
            if not isinstance(ties, list) or not all(isinstance(tie, str) for tie in ties):
                raise InputError(f"{here}.per_stage is {ties!r}", "a list of names", 'per_stage = ["ffn"]')
            ties = tuple(sorted(ties))
            allowed = list(SLOTS)
            for slot, choices in zip(SLOTS, blocks, strict=True):
                allowed += [f"{slot}.{c.name}.{key}" for c in choices for key, _ in c.options]
            for tie in ties:
                if tie not in allowed:
                    raise unknown(f"entry of {here}.per_stage:", tie, allowed, 'per_stage = ["{}"]')
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
        }

    @cached_property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the choices (name and description left out)."""
        choices = {key: value for key, value in self.to_dict().items() if key not in ("name", "about")}
        return hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]

    def bind(self, in_channels: int, num_classes: int, resolution: int) -> "SearchSpace":
        """The same choices for another data set."""
        return replace(self, in_channels=in_channels, num_classes=num_classes, resolution=resolution)

    # Genes

    def _walk(self, pick: Callable[[str, tuple[Value, ...]], int]) -> Architecture:
        """Builds an architecture by asking `pick` for an index at every choice that matters."""

        def choose(name: str, values: tuple[Value, ...]) -> Any:
            return values[pick(name, values) if len(values) > 1 else 0]

        def part(name: str, slot: Slot, tied: str | None, ties: tuple[str, ...], stage: str) -> Part:
            chosen = choose(name, tuple(choice.name for choice in slot))
            choice = next(c for c in slot if c.name == chosen)
            options = []
            for key, values in choice.options:
                is_tied = tied is not None and f"{tied}.{chosen}.{key}" in ties
                options.append(
                    (key, choose(f"{stage}.{tied}.{chosen}.{key}" if is_tied else f"{name}.{chosen}.{key}", values))
                )
            return _same_part(choice.name, tuple(options))

        stages = []
        for s, stage in enumerate(self.stages):
            here = f"s{s}"
            width, depth = choose(f"{here}.width", stage.width), choose(f"{here}.depth", stage.depth)
            embedding = part(f"{here}.embedding", stage.embedding, None, (), here)
            bias = part(f"{here}.position_bias", stage.position_bias, None, (), here) if stage.position_bias else None
            bias = None if bias is None or bias.name == NO_BIAS else bias
            blocks = []
            for b in range(depth):
                chosen = []
                for slot, choices in zip(SLOTS, stage.blocks, strict=True):
                    name = f"{here}.{slot}" if slot in stage.per_stage else f"{here}.b{b}.{slot}"
                    chosen.append(part(name, choices, slot, stage.per_stage, here))
                blocks.append(_same_block(*chosen))
            stages.append(Stage(width=width, embedding=embedding, blocks=tuple(blocks), position_bias=bias))
        return Architecture(
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            resolution=self.resolution,
            stages=tuple(stages),
            head=part("head", self.head, None, (), ""),
        )

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """Every choice with more than one value, in a fixed order."""
        found: dict[str, Gene] = {}

        def add(name: str, values: tuple[Value, ...]) -> None:
            if len(values) > 1:
                found.setdefault(name, Gene(name, values))

        def add_slot(name: str, slot: Slot, prefix: Callable[[PartChoice, str], str]) -> None:
            add(name, tuple(choice.name for choice in slot))
            for choice in slot:
                for key, values in choice.options:
                    add(prefix(choice, key), values)

        for s, stage in enumerate(self.stages):
            here = f"s{s}"
            add(f"{here}.width", stage.width)
            add(f"{here}.depth", stage.depth)
            for slot, choices in (("embedding", stage.embedding), ("position_bias", stage.position_bias)):
                add_slot(f"{here}.{slot}", choices, lambda c, key, name=f"{here}.{slot}": f"{name}.{c.name}.{key}")
            for b in range(stage.depth[-1]):
                for slot, choices in zip(SLOTS, stage.blocks, strict=True):
                    name = f"{here}.{slot}" if slot in stage.per_stage else f"{here}.b{b}.{slot}"

                    def prefix(
                        c: PartChoice,
                        key: str,
                        name: str = name,
                        slot: str = slot,
                        here: str = here,
                        ties: tuple = stage.per_stage,
                    ) -> str:
                        tied = f"{slot}.{c.name}.{key}"
                        return f"{here}.{tied}" if tied in ties else f"{name}.{c.name}.{key}"

                    add_slot(name, choices, prefix)
        add_slot("head", self.head, lambda c, key: f"head.{c.name}.{key}")
        return tuple(found.values())

    @cached_property
    def _indices(self) -> dict[str, int]:
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
        return self._walk(lambda name, values: genes[self._indices[name]])

    def active(self, genes: Genes) -> tuple[int, ...]:
        """Positions of the genes that matter, ascending."""
        used = set()

        def pick(name: str, values: tuple[Value, ...]) -> int:
            used.add(self._indices[name])
            return genes[self._indices[name]]

        self._walk(pick)
        return tuple(sorted(used))

    def encode(self, arch: Architecture) -> Genes:
        """One index per gene, 0 for genes that do not matter. `decode(encode(a)) == a`.

        Raises:
            InputError: `arch` is not a member; the message names the first choice that does not fit.
        """
        genes = [0] * len(self.genes)
        stages = arch.stages

        def find(name: str, value: Any, values: tuple[Value, ...]) -> None:
            if value not in values or type(value) is not type(values[values.index(value)]):
                shown = ", ".join(str(_thaw(v)) for v in values)
                raise InputError(
                    f"{name} is {value!r}, which space {self.name} does not have",
                    shown,
                    f"another space, or {name} = {values[0]}",
                )
            if len(values) > 1:
                index = values.index(value)
                position = self._indices[name]
                if name in seen and genes[position] != index:
                    raise InputError(
                        f"{name} differs between blocks, but space {self.name} chooses it per stage",
                        "one value a stage",
                        "another space",
                    )
                seen.add(name)
                genes[position] = index

        def find_part(name: str, part: Part, slot: Slot, tied: str | None, ties: tuple[str, ...], here: str) -> None:
            find(name, part.name, tuple(choice.name for choice in slot))
            choice = next(c for c in slot if c.name == part.name)
            given, offered = part.values(), dict(choice.options)
            for key, value in added(part.name).items():
                if key not in offered:  # the space has it at its default alone
                    find(f"{name}.{part.name}.{key}", given.pop(key), (value,))
            if set(given) != set(offered):
                raise InputError(
                    f"{name} is {part.name} with the options {sorted(given)}",
                    f"the options {[key for key, _ in choice.options]}", "complete the architecture first: search_spaces.complete",
                )  # fmt: skip
            for key, values in choice.options:
                is_tied = tied is not None and f"{tied}.{part.name}.{key}" in ties
                find(f"{here}.{tied}.{part.name}.{key}" if is_tied else f"{name}.{part.name}.{key}", given[key], values)

        seen: set[str] = set()
        for key in ("in_channels", "num_classes", "resolution"):
            find(key, getattr(arch, key), (getattr(self, key),))
        find("the number of stages", len(stages), (len(self.stages),))
        for s, (stage, space) in enumerate(zip(stages, self.stages, strict=True)):
            here = f"s{s}"
            find(f"{here}.width", stage.width, space.width)
            find(f"{here}.depth", len(stage.blocks), space.depth)
            find_part(f"{here}.embedding", stage.embedding, space.embedding, None, (), here)
            name, bias = f"{here}.position_bias", stage.position_bias or Part(NO_BIAS)
            find_part(name, bias, space.position_bias or (PartChoice(NO_BIAS),), None, (), here)
            for b, block in enumerate(stage.blocks):
                for slot, choices in zip(SLOTS, space.blocks, strict=True):
                    name = f"{here}.{slot}" if slot in space.per_stage else f"{here}.b{b}.{slot}"
                    find_part(name, getattr(block, slot), choices, slot, space.per_stage, here)
        find_part("head", arch.head, self.head, None, (), "")
        return tuple(genes)

    def contains(self, arch: Architecture) -> bool:
        """Whether `arch`, complete, is a member."""
        try:
            self.encode(arch)
        except InputError:
            return False
        return True

    @cached_property
    def size(self) -> int:
        """The exact number of different architectures."""

        def slot_size(slot: Slot) -> int:
            return sum(math.prod(len(values) for _, values in choice.options) for choice in slot)

        def sequences(slot: Slot, name: str, ties: tuple[str, ...], depth: int) -> int:
            if name in ties:
                return slot_size(slot) if depth else 1
            counts = {frozenset[str](): 1}  # parts used so far that have tied options to choose -> number of sequences
            tied = {}
            for choice in slot:
                tied[choice.name] = math.prod(
                    len(v) for key, v in choice.options if f"{name}.{choice.name}.{key}" in ties
                )
            for _ in range(depth):
                grown: dict[frozenset[str], int] = {}
                for used, number in counts.items():
                    for choice in slot:
                        free = math.prod(
                            len(v) for key, v in choice.options if f"{name}.{choice.name}.{key}" not in ties
                        )
                        key = used | {choice.name} if tied[choice.name] > 1 else used
                        grown[key] = grown.get(key, 0) + number * free
                counts = grown
            return sum(number * math.prod(tied[part] for part in used) for used, number in counts.items())

        total = slot_size(self.head)
        for stage in self.stages:
            depths = sum(
                math.prod(
                    sequences(choices, slot, stage.per_stage, depth)
                    for slot, choices in zip(SLOTS, stage.blocks, strict=True)
                )
                for depth in stage.depth
            )
            biases = slot_size(stage.position_bias) if stage.position_bias else 1
            total *= len(stage.width) * slot_size(stage.embedding) * biases * depths
        return total

    def part_specs(self) -> Iterator[tuple[str, int, str, Part, tuple[int, ...]]]:
        """Everything that can be built: (piece or "stages.S.blocks", number of such pieces, kind, part, dims), dims as `registry.make` takes them."""
        before: tuple[int, ...] = (self.in_channels,)
        for s, stage in enumerate(self.stages):
            for choice in stage.embedding:
                for part in choice.members():
                    for dims in itertools.product(before, stage.width):
                        yield f"stages.{s}.embedding", 1, "embedding", part, dims
            for choice in stage.position_bias:
                for part in choice.members() if choice.name != NO_BIAS else ():
                    yield f"stages.{s}.position_bias", 1, "position_bias", part, ()
            for slot, choices in zip(SLOTS, stage.blocks, strict=True):
                for choice in choices:
                    for part in choice.members():
                        for width in stage.width:
                            yield f"stages.{s}.blocks", stage.depth[-1], slot, part, (width,)
            before = stage.width
        for choice in self.head:
            for part in choice.members():
                for width in before:
                    yield "head", 1, "head", part, (width, self.num_classes)

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
            for position in positions:
                choices = len(self.genes[position].choices)
                if position == forced:
                    genes[position] = (genes[position] + rng.randrange(1, choices)) % choices
                elif rng.random() < rate:
                    genes[position] = rng.randrange(choices)
        return self._within(tuple(genes), rng, excess)

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

        def value(genes: Genes) -> float:
            return sign * cost(self.decode(genes))

        def settled(genes: Genes, before: frozenset[int]) -> tuple[float, Genes]:
            """`genes` with a good choice for each gene that matters and did not before, and its value."""
            now, done = value(genes), set(before)
            while fresh := [position for position in self.active(genes) if position not in done]:
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
                before = frozenset(self.active(genes)) | {position}
                for index in range(len(gene.choices)):
                    found = settled((*genes[:position], index, *genes[position + 1 :]), before)
                    if found[0] < now:
                        (now, genes), improved = found, True
                    if now <= stop:
                        return self.decode(genes)
        return self.decode(genes)

"""What a space offers: its choices, as they are read and written, and the places where they are made."""

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from search_spaces.architecture import SLOTS
from search_spaces.choices import NO_BIAS, Buildable, Place, Rules, Slot, StageSpace
from search_spaces.errors import InputError
from search_spaces.files.toml import parse_toml
from search_spaces.resizing import resized_stages
from search_spaces.space.grammar import parsed, per_network
from search_spaces.space.sizes import check_space


def check_ties(space: "Description") -> None:
    """
    Raises:
        InputError: stages share a choice but offer different values for it, including defaults.
    """
    per_network(list(space.per_network), f"space {space.name}: per_network", list(space.stages))


@dataclass(frozen=True)
class Description:
    """The choices of a space, as written in its file. `SearchSpace` adds everything else.

    Args:
        name, about: its name and its purpose.
        in_channels, num_classes, resolution: of every member; see `bind`.
        stages, head: the choices.
        per_network: choices that are made once for all stages that have them.
        rules: of the parts. Without them, different choices are different members.
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
            data = parse_toml(text)
        except ValueError as error:
            raise InputError(f"{where} is not TOML: {error}", "a TOML file", f"fix {where}") from None
        return cls.from_dict(data, where)

    @classmethod
    def from_dict(cls, data: Any, where: str = "the space") -> Self:
        """The inverse of `to_dict`; also takes what TOML gives. Raises InputError as `from_toml` does."""
        found = cls(**parsed(data, where))
        check_space(found, where)
        return found

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

    def bind(self, in_channels: int, num_classes: int, resolution: int) -> Self:
        """The same choices for another data set. Position tables that are made for the maps of their stage are made for its new maps."""
        bound = replace(self, in_channels=in_channels, num_classes=num_classes, resolution=resolution)
        if self.rules is None:
            return bound
        return replace(bound, stages=resized_stages(self, resolution, self.rules))

    # Where choices are made

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

    def place(self, stage: int, slot: str, block: int = -1) -> Place:
        """Where a part is chosen: a slot of a block, the embedding or position bias of a stage, or, after the stages, the head."""
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

    def buildable(self) -> Iterator[Buildable]:
        """Every part that can be built, with each width and each combination of its options."""
        before: tuple[int, ...] = (self.in_channels,)
        for s, stage in enumerate(self.stages):
            for choice in stage.embedding:
                for part in choice.members():
                    for dims in itertools.product(before, stage.width):
                        yield Buildable(f"stages.{s}.embedding", 1, "embedding", part, dims, s)
            for choice in stage.position_bias:
                for part in choice.members() if choice.name != NO_BIAS else ():
                    yield Buildable(f"stages.{s}.position_bias", 1, "position_bias", part, (), s + 1)
            for slot, choices in zip(SLOTS, stage.blocks, strict=True):
                for choice in choices:
                    for part in choice.members():
                        for width in stage.width:
                            yield Buildable(f"stages.{s}.blocks", stage.depth[-1], slot, part, (width,), s + 1)
            before = stage.width
        for choice in self.head:
            for part in choice.members():
                for width in before:
                    yield Buildable("head", 1, "head", part, (width, self.num_classes), len(self.stages))

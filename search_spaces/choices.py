"""What a space offers: the parts of a slot, the choices of a stage, and where they are made. Standard library only."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from search_spaces.architecture import SLOTS, Architecture, Part, Stage, Value, _thaw

NO_BIAS = "none"
"""The choice of no `position_bias`, which an architecture does not write."""

Node = tuple[int, int, int]
"""Channels, height and width of a map."""


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
class Place:
    """Where a part is chosen.

    Args:
        name: of the gene that chooses the part, such as "s1.b0.mixer".
        slot: what is offered.
        parts: the names of the parts that are offered.
        options: by part and option, the name of the gene that chooses its value.
    """

    name: str
    slot: Slot
    parts: tuple[str, ...]
    options: Mapping[str, Mapping[str, str]]

    def choice(self, part: str) -> PartChoice:
        """The choice of a part, by its name."""
        return self.slot[self.parts.index(part)]


Chosen = Literal["width", "depth", "part", "option"]
"""What a gene chooses: the width or depth of a stage, a part, or the value of a part's option."""


@dataclass(frozen=True, slots=True)
class Gene:
    """One choice.

    Args:
        name: for readers, such as "s1.b0.mixer.d_mixer.kernel_size". No code depends on it.
        choices: its values.
        chosen: what it chooses.
        stage: number of the stage that has this choice; the number of stages for the head; None if stages share it.
    """

    name: str
    choices: tuple[Value, ...]
    chosen: Chosen = "option"
    stage: int | None = None

    @property
    def chooses_part(self) -> bool:
        """Whether it chooses between parts rather than between sizes or options of one."""
        return self.chosen == "part"


class Buildable(NamedTuple):
    """A part that members of a space have in one place.

    Args:
        place, copies: the name of a piece, or "stages.S.blocks" and the number of those blocks.
        kind, part, dims: as for `registry.make`.
        maps: which maps it gets: 0 for the images, S + 1 for those after the embedding of stage S.
    """

    place: str
    copies: int
    kind: str
    part: Part
    dims: tuple[int, ...]
    maps: int


class Rules(Protocol):
    """The rules that parts declare, for a space that does not import them. `search_spaces.canonical.RULES` has the registered ones."""

    def architecture(self, arch: Architecture) -> Architecture:
        """The canonical architecture of the same function."""
        ...

    def stage(self, stage: Stage, dim: int, height: int, width: int) -> Stage:
        """The canonical form of a stage that gets a map of `dim` channels and this size."""
        ...

    def part(self, kind: str, part: Part, dims: tuple[int, ...], height: int, width: int) -> Part:
        """The canonical form of a part on maps of this size."""
        ...

    def size_after(self, embedding: Part, dims: tuple[int, ...], height: int, width: int) -> tuple[int, int]:
        """Height and width of the output map of an embedding."""
        ...

    def needs_norm(self, kind: str, name: str) -> bool:
        """Whether the branch of a token mixer or FFN has the norm of its block."""
        ...

    def names_parts(self, kind: str, name: str, option: str) -> bool:
        """Whether the values of an option are names of parts."""
        ...

    def resized(self, kind: str, part: Part, side: int, new_side: int) -> Part:
        """The same part in the same stage at another resolution."""
        ...


__all__ = [
    "NO_BIAS",
    "Buildable",
    "Chosen",
    "Gene",
    "Node",
    "PartChoice",
    "Place",
    "Rules",
    "Slot",
    "StageSpace",
    "members",
]

"""An architecture: an immutable, hashable value that describes a whole network.

    Architecture(in_channels, num_classes, resolution, stages, head)
      Stage(width, embedding, blocks)              one stem or downsampling layer, then blocks of one width; a stage may
                                                   also have a position_bias that its attention blocks share
        Block(position, norm, mixer, ffn, scale)   x = position(x); x = x + scale(mixer(norm(x))); x = x + scale(ffn(norm(x)))
          Part(name, options)                      a registered part and its options

It has no weights and needs the standard library only. Equal architectures have equal JSON texts, and therefore equal digests on
every machine and every Python.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, TypeAlias

from search_spaces.additions import added, is_left_out
from search_spaces.errors import InputError, quoted
from search_spaces.files.plain import RUN, parse

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
"""The value of an option: a scalar, or a tuple of values (a JSON list)."""

SLOTS = ("position", "norm", "mixer", "ffn", "scale")
"""The parts of a block, in the order in which they run. Each name is also the kind of part that fits there."""


MOST_LISTS = 8
"""Lists inside each other in the value of an option; `scales` has 2."""


def _freeze(value: Any, where: str, depth: int = 0) -> Value:
    if isinstance(value, list | tuple) and depth < MOST_LISTS:
        return tuple(_freeze(item, where, depth + 1) for item in value)
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InputError(
        f"{where} is {quoted(value)}",
        "true, false, a number, a string, or a list of such",
        f"{where.rpartition('.')[2]} = 1",
    )


def _thaw(value: Value) -> Any:
    return [_thaw(item) for item in value] if isinstance(value, tuple) else value


def _fields(data: Any, kind: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(data, Mapping) or not set(required) <= set(data) <= {*required, *optional}:
        given = quoted(sorted(map(str, data)) if isinstance(data, Mapping) else data)
        raise InputError(
            f"a {kind} is described by {given}",
            f"exactly the keys {', '.join(required)}" + "".join(f" (and perhaps {key})" for key in optional),
            "write it with Architecture.to_json, or extract it again with `nas extract`",
        )
    return data


def _items(data: Any, key: str) -> list[Any]:
    if not isinstance(data, list):
        raise InputError(
            f"{key} is {quoted(data)}",
            "a list",
            "write it with Architecture.to_json, or extract it again with `nas extract`",
        )
    return data


@dataclass(frozen=True, slots=True)
class Part:
    """A registered part by name, with its options as sorted (key, value) pairs.

    Options that were added to the part later are left out at their default (`search_spaces.additions`).
    Parts are equal when their JSON texts are: 1, 1.0 and true, which Python calls equal, are different values.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = field(default=(), compare=False)
    _text: str = field(init=False, repr=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        frozen = ((key, _freeze(value, f"{self.name}.{key}")) for key, value in self.options)
        options = tuple(sorted((key, value) for key, value in frozen if not is_left_out(self.name, key, value)))
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "_text", json.dumps(options))
        object.__setattr__(self, "_hash", hash((self.name, self._text)))

    def __hash__(self) -> int:
        return self._hash  # stored, because costs are looked up by it many times

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, (
            self.name,
            self.options,
        )  # without the stored hash: the hash of a string differs between processes

    @classmethod
    def of(cls, name: str, **options: Any) -> Self:
        """`Part.of("mlp", ratio=4)`."""
        return cls(name, tuple(options.items()))

    def values(self) -> dict[str, Value]:
        """The options by name, including those that the description leaves out at their default."""
        return {**added(self.name), **dict(self.options)}

    def to_dict(self) -> dict[str, Any]:
        return {"part": self.name} | {key: _thaw(value) for key, value in self.options}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """
        Raises:
            InputError: `data` is not a mapping with the key "part".
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("part"), str):
            raise InputError(
                f"a part is described by {quoted(data)}", 'a table with the key "part"', '{ part = "mlp" }'
            )
        return cls(data["part"], tuple((key, value) for key, value in data.items() if key != "part"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A residual block: position encoding, then token mixer and channel mixer, each behind `norm` and before `scale`."""

    position: Part
    norm: Part
    mixer: Part
    ffn: Part
    scale: Part
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self.parts()))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return _block, self.parts()

    def parts(self) -> tuple[Part, ...]:
        """The five parts in the order of `SLOTS`."""
        return self.position, self.norm, self.mixer, self.ffn, self.scale


def _block(position: Part, norm: Part, mixer: Part, ffn: Part, scale: Part) -> Block:
    return Block(position=position, norm=norm, mixer=mixer, ffn=ffn, scale=scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stem or downsampling layer to `width` channels, then blocks that keep shape.

    A `position_bias` is computed once and handed to every block of the stage whose mixer takes one.
    """

    width: int
    embedding: Part
    blocks: tuple[Block, ...]
    position_bias: Part | None = None

    def mapped(self, change: "Change") -> "Stage":
        """The stage with each of its parts changed."""
        return Stage(
            width=self.width,
            embedding=change("embedding", self.embedding),
            blocks=tuple(
                Block(**{kind: change(kind, part) for kind, part in zip(SLOTS, block.parts(), strict=True)})
                for block in self.blocks
            ),
            position_bias=self.position_bias and change("position_bias", self.position_bias),
        )


Change: TypeAlias = Callable[[str, Part], Part]
"""The part to put in the place of another: a function of the kind and the part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A whole network, without weights.

    Args:
        in_channels: channels of the image.
        num_classes: outputs of the head.
        resolution: side of the square image, in pixels, at which cost is counted and training runs.
        stages: first to last.
        head: the classifier.
    """

    in_channels: int
    num_classes: int
    resolution: int
    stages: tuple[Stage, ...]
    head: Part
    _digest: str = field(init=False, repr=False, compare=False, default="")

    def mapped(self, change: Change) -> "Architecture":
        """The architecture with each of its parts changed. All code that rewrites parts uses it, so that none is forgotten."""
        return Architecture(
            in_channels=self.in_channels,
            num_classes=self.num_classes,
            resolution=self.resolution,
            stages=tuple(stage.mapped(change) for stage in self.stages),
            head=change("head", self.head),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, ready for JSON."""
        return {
            "in_channels": self.in_channels,
            "num_classes": self.num_classes,
            "resolution": self.resolution,
            "stages": [
                {
                    "width": stage.width,
                    "embedding": stage.embedding.to_dict(),
                    "blocks": [{slot: getattr(block, slot).to_dict() for slot in SLOTS} for block in stage.blocks],
                }
                | ({} if stage.position_bias is None else {"position_bias": stage.position_bias.to_dict()})
                for stage in self.stages
            ],
            "head": self.head.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The inverse of `to_dict`.

        Raises:
            InputError: a key is missing or unknown, a value is of the wrong type, or a size is larger than any that could be used.
        """
        from search_spaces.files.sizes import check_counts, check_sizes  # which describes architectures

        top = _fields(data, "network", ("in_channels", "num_classes", "resolution", "stages", "head"))
        for key in ("in_channels", "num_classes", "resolution"):
            if type(top[key]) is not int or top[key] < 1:
                raise InputError(f"{key} is {quoted(top[key])}", "a whole number from 1 up", f"{key}=1")
        described = [
            _fields(stage, "stage", ("width", "embedding", "blocks"), ("position_bias",))
            for stage in _items(top["stages"], "stages")
        ]
        check_counts(len(described), sum(len(_items(fields["blocks"], "blocks")) for fields in described))
        stages = []
        for fields in described:
            blocks = tuple(
                Block(**{slot: Part.from_dict(_fields(block, "block", SLOTS)[slot]) for slot in SLOTS})
                for block in fields["blocks"]
            )
            if type(fields["width"]) is not int or fields["width"] < 1:
                raise InputError(f"width is {quoted(fields['width'])}", "a whole number from 1 up", "width=32")
            bias = Part.from_dict(fields["position_bias"]) if "position_bias" in fields else None
            embedding = Part.from_dict(fields["embedding"])
            stages.append(Stage(width=fields["width"], embedding=embedding, blocks=blocks, position_bias=bias))
        found = cls(
            in_channels=top["in_channels"],
            num_classes=top["num_classes"],
            resolution=top["resolution"],
            stages=tuple(stages),
            head=Part.from_dict(top["head"]),
        )
        check_sizes(found)
        return found

    def to_json(self, indent: int | None = None) -> str:
        """JSON text; without `indent` it is the canonical text that `digest` hashes."""
        if indent is not None:
            return json.dumps(self.to_dict(), indent=indent)
        stages = ",".join(map(_text_of_stage, self.stages))
        sizes = _canonical({key: getattr(self, key) for key in ("in_channels", "num_classes", "resolution")})
        return f'{{"head":{_text_of(self.head)},{sizes[1:-1]},"stages":[{stages}]}}'

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`.

        Raises:
            InputError: not JSON, or not an architecture.
        """
        try:
            data = parse(text, RUN)
        except ValueError as error:
            raise InputError(
                f"the architecture is not JSON ({error})",
                "the text of an arch.json",
                "extract it again with `nas extract`",
            ) from None
        return cls.from_dict(data)

    @property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON text."""
        if not self._digest:  # stored, because a search asks for it a dozen times per network
            object.__setattr__(self, "_digest", hashlib.sha256(self.to_json().encode()).hexdigest()[:12])
        return self._digest

    @property
    def depth(self) -> int:
        """Number of blocks in all stages."""
        return sum(len(stage.blocks) for stage in self.stages)


# The canonical text is joined from cached texts of blocks and parts, because many networks share them.


def _canonical(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=100_000)
def _text_of(part: Part) -> str:
    return _canonical(part.to_dict())


@lru_cache(maxsize=100_000)
def _text_of_block(block: Block) -> str:
    slots = (f'"{slot}":{_text_of(getattr(block, slot))}' for slot in sorted(SLOTS))
    return f"{{{','.join(slots)}}}"


def _text_of_stage(stage: Stage) -> str:
    blocks = ",".join(map(_text_of_block, stage.blocks))
    bias = "" if stage.position_bias is None else f'"position_bias":{_text_of(stage.position_bias)},'
    return f'{{"blocks":[{blocks}],"embedding":{_text_of(stage.embedding)},{bias}"width":{_canonical(stage.width)}}}'

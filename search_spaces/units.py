"""Units: the smallest steps of a forward pass that are built, run and measured separately.

A network is a chain of units: embeddings, position biases, position encodings, the two residual branches of each block, and the head.
A branch is one unit with its norm, its scale and its addition, because the form for inference folds these into each other, but folds
nothing across the border of a branch. Parameters, MACs and time of a network are sums over its units.

Two branches with the same parts on maps of the same size are the same unit, wherever they stand.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.canonical import canonical_part
from search_spaces.costs.pieces import part_cost
from search_spaces.errors import InputError
from search_spaces.files.sizes import MOST_CLASSES, check_part
from search_spaces.inference import fold_block
from search_spaces.network import ResidualBlock
from search_spaces.registry import PartModule, TokenMixer, lookup, make
from search_spaces.reparameterisation import merge_parts

NOTHING = Part("none")
"""The position encoding, norm or scale that leaves its input as it is."""


_UNUSED = Part("mlp")

PARTS_OF = {
    "embedding": ("embedding",),
    "position_bias": ("position_bias",),
    "position": ("position",),
    "mixer": ("norm", "mixer", "scale"),
    "ffn": ("norm", "ffn", "scale"),
    "head": ("head",),
}
"""The kinds of units, and the kinds of the parts that each is built from."""

MOST_DIMS = 4
"""Of a unit from a file."""


class Unit(NamedTuple):
    """What a unit is built from, and the size of its input map.

    Args:
        kind: "embedding", "position_bias", "position", "mixer", "ffn" or "head". "mixer" and "ffn" are a block's branches.
        parts: the part; of a branch the norm, the mixer or FFN, and the scale.
        dims: input channels; of an embedding and a head also output channels or classes.
        height, width: of the input map in pixels.
        bias: the position bias that the mixer of a branch gets; None if there is none or the mixer takes none.
    """

    kind: str
    parts: tuple[Part, ...]
    dims: tuple[int, ...]
    height: int
    width: int
    bias: Part | None = None

    @property
    def part(self) -> Part:
        """The mixer or FFN of a branch, and the only part of others."""
        return self.parts[1] if self.kind in ("mixer", "ffn") else self.parts[0]

    def __str__(self) -> str:
        """For reading: `mixer layer_norm depthwise_conv(kernel_size=3) 32 @ 8x8`."""
        words = [_worded(part) for part in self.parts if part.name != NOTHING.name]
        bias = f" with {_worded(self.bias)}" if self.bias else ""
        return f"{self.kind} {' '.join(words)}{bias} {'->'.join(map(str, self.dims))} @ {self.height}x{self.width}"

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, ready for JSON."""
        found: dict[str, Any] = {"kind": self.kind, "parts": [part.to_dict() for part in self.parts]}
        found |= {"dims": list(self.dims), "height": self.height, "width": self.width}
        return found if self.bias is None else found | {"bias": self.bias.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> "Unit":
        """The inverse of `to_dict`.

        Raises:
            InputError: a key is missing or unknown, or a value is of the wrong type or beyond use.
        """
        keys = {"kind", "parts", "dims", "height", "width"}
        if not isinstance(data, Mapping) or not keys <= data.keys() <= keys | {"bias"}:
            raise _no_unit(data)
        sizes = (data["height"], data["width"], *(data["dims"] if isinstance(data["dims"], list) else (0,)))
        if (
            not isinstance(data["kind"], str)
            or data["kind"] not in PARTS_OF
            or not isinstance(data["parts"], list)
            or len(data["parts"]) != len(PARTS_OF[data["kind"]])
            or not all(type(size) is int and 0 < size <= MOST_CLASSES for size in sizes)
            or len(sizes) > 2 + MOST_DIMS
        ):
            raise _no_unit(data)
        parts = tuple(map(Part.from_dict, data["parts"]))
        bias = Part.from_dict(data["bias"]) if "bias" in data else None
        for part in (*parts, *([bias] if bias else ())):
            check_part(part.name, part.options, "the unit")
        return cls(data["kind"], parts, tuple(data["dims"]), data["height"], data["width"], bias)


def canonical_unit(
    kind: str, parts: tuple[Part, ...], dims: tuple[int, ...], height: int, width: int, bias: Part | None = None
) -> Unit:
    """One unit for all that compute the same function. Arguments as for `Unit`."""
    slots = PARTS_OF[kind]
    own = dims if kind != "position_bias" else ()
    found = [canonical_part(slot, part, own, height, width) for slot, part in zip(slots, parts, strict=True)]
    if kind in ("mixer", "ffn") and lookup(kind, parts[1].name).brings_norm:
        found[0] = NOTHING
    if bias is not None:
        bias = canonical_part("position_bias", bias, (), height, width)
    return Unit(kind, tuple(found), dims, height, width, bias)


def _no_unit(data: Any) -> InputError:
    text = repr(data)
    return InputError(
        f"a unit is described by {text if len(text) <= 200 else text[:200] + '...'}",
        "the keys kind, parts, dims, height, width and perhaps bias, as Unit.to_dict gives them",
        json.dumps(Unit("ffn", (Part("layer_norm"), Part("mlp"), NOTHING), (32,), 8, 8).to_dict()),
    )


def _worded(part: Part) -> str:
    options = ", ".join(f"{key}={value}" for key, value in part.options)
    return f"{part.name}({options})" if options else part.name


def is_unit(mixer: Part) -> bool:
    """Whether a block with this token mixer has a branch for it. With `none` it has none."""
    return not cast("type[TokenMixer]", lookup("mixer", mixer.name)).is_absent


def takes_bias(mixer: Part) -> bool:
    """Whether a token mixer is given the position bias of its stage."""
    return cast("type[TokenMixer]", lookup("mixer", mixer.name)).takes_position_bias


def block_units(block: Block, dim: int, height: int, width: int, bias: Part | None) -> Iterator[tuple[str, Unit]]:
    """The units of a block of `dim` channels in order, each with its name inside the block.

    Args:
        bias: the position bias of its stage.
    """
    if block.position.name != NOTHING.name:
        yield "position", canonical_unit("position", (block.position,), (dim,), height, width)
    if is_unit(block.mixer):
        given = bias if takes_bias(block.mixer) else None
        yield "mixer", canonical_unit("mixer", (block.norm, block.mixer, block.scale), (dim,), height, width, given)
    yield "ffn", canonical_unit("ffn", (block.norm, block.ffn, block.scale), (dim,), height, width)


def stage_units(stage: Stage, in_dim: int, height: int, width: int) -> Iterator[tuple[str, Unit]]:
    """The units of a stage for an input of `in_dim` channels in order, each with its name inside the stage."""
    embedding = canonical_unit("embedding", (stage.embedding,), (in_dim, stage.width), height, width)
    yield "embedding", embedding
    height, width = output_size(embedding)
    if stage.position_bias is not None:
        yield "position_bias", canonical_unit("position_bias", (stage.position_bias,), (stage.width,), height, width)
    for number, block in enumerate(stage.blocks):
        for name, unit in block_units(block, stage.width, height, width, stage.position_bias):
            yield f"blocks.{number}.{name}", unit


def units(arch: Architecture) -> Iterator[tuple[str, Unit]]:
    """The units of a complete architecture in the order of the forward pass, each with its name ("stages.0.blocks.1.mixer")."""
    dim, height, width = arch.in_channels, arch.resolution, arch.resolution
    for number, stage in enumerate(arch.stages):
        unit = None
        for name, unit in stage_units(stage, dim, height, width):
            yield f"stages.{number}.{name}", unit
            if name == "embedding":
                height, width = output_size(unit)
        dim = stage.width
    yield "head", canonical_unit("head", (arch.head,), (dim, arch.num_classes), height, width)


def output_size(unit: Unit) -> tuple[int, int]:
    """Height and width of the output map of a unit. For an embedding it is found once and cached."""
    if unit.kind != "embedding":
        return unit.height, unit.width
    found = part_cost("embedding", unit.parts[0], unit.dims, unit.height, unit.width)
    return found.height, found.width


class UnitModule(nn.Module):
    """A unit that runs alone: `forward(x)` with x of shape (b, c, h, w), or `forward(x, position_bias)` for a mixer that takes one.

    Args:
        module: the part, or a block of which only one branch runs.
    """

    def __init__(self, unit: Unit, module: nn.Module) -> None:
        super().__init__()
        self.unit, self.module = unit, module

    def forward(self, x: Tensor, position_bias: Tensor | None = None) -> Tensor:
        if self.unit.kind == "mixer":
            return cast(ResidualBlock, self.module).mix_tokens(x, position_bias)
        if self.unit.kind == "ffn":
            return cast(ResidualBlock, self.module).mix_channels(x)
        return self.module(x)


def make_unit(unit: Unit) -> UnitModule:
    """The module of a unit with fresh weights, on the current default device.

    Raises:
        InputError: an unknown part or option, or sizes that do not fit.
    """
    if unit.kind == "mixer":
        norm, mixer, scale = unit.parts
        block = ResidualBlock(Block(position=NOTHING, norm=norm, mixer=mixer, ffn=_UNUSED, scale=scale), *unit.dims)
        del block.norm2, block.ffn, block.scale2
        return UnitModule(unit, block)
    if unit.kind == "ffn":
        norm, ffn, scale = unit.parts
        block = ResidualBlock(Block(position=NOTHING, norm=norm, mixer=NOTHING, ffn=ffn, scale=scale), *unit.dims)
        return UnitModule(unit, block)
    dims = () if unit.kind == "position_bias" else unit.dims
    return UnitModule(unit, make(unit.kind, unit.parts[0], *dims))


@torch.no_grad()
def unit_for_inference(unit: UnitModule) -> UnitModule:
    """A copy in the form that `search_spaces.inference.inference_form` gives to this step of a network."""
    fast = copy.deepcopy(unit).eval().requires_grad_(False)
    merge_parts(fast)
    if isinstance(fast.module, ResidualBlock):
        fold_block(fast.module)
    elif unit.unit.kind != "position_bias":  # which a network leaves as it is
        fast.module = cast(PartModule, fast.module).for_inference()
    return cast(UnitModule, fast.requires_grad_(False).to(memory_format=torch.channels_last))


def unit_inputs(unit: Unit, batch: int = 1) -> tuple[Tensor, ...]:
    """Normally distributed inputs of a unit, channels-last, on the current default device, from torch's global generator."""
    x = torch.randn(batch, unit.dims[0], unit.height, unit.width).contiguous(memory_format=torch.channels_last)
    if unit.bias is None:
        return (x,)
    with torch.no_grad():
        return x, make("position_bias", unit.bias)(x)

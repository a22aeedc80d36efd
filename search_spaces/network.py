"""The only forward pass of the project.

`build(arch)` makes a stand-alone network with weights of its own. A supernet runs the same `Network`: it passes its own `run`, which
runs each piece (embedding, position bias, block or head) on slices of shared weights. The cost counter passes its own `run`, too.
"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from search_spaces.architecture import SLOTS, Architecture, Block, Part
from search_spaces.registry import ChannelMixer, Norm, Position, Scale, TokenMixer, complete, lookup, make

Run: TypeAlias = "Callable[..., Tensor]"
"""Runs a named piece on its inputs: `run("stages.0.blocks.1", module, x)`."""

CHILDREN = {
    "position": ("position",),
    "norm": ("norm1", "norm2"),
    "mixer": ("mixer",),
    "ffn": ("ffn",),
    "scale": ("scale1", "scale2"),
}
"""The modules that each part of a block makes, if the block has a token mixer and both branches need a norm."""

WITHOUT_MIXER = CHILDREN | {"norm": ("norm2",), "mixer": (), "scale": ("scale2",)}


def has_mixer(block: Block) -> bool:
    """Whether a block has a branch for its token mixer. With the mixer `none` it has none."""
    return not cast("type[TokenMixer]", lookup("mixer", block.mixer.name)).is_absent


def own_norms(block: Block) -> tuple[str, ...]:
    """The norms that a block leaves out, because the mixer or FFN of the branch normalises its own input."""
    brings = {
        "norm1": lookup("mixer", block.mixer.name).brings_norm,
        "norm2": lookup("ffn", block.ffn.name).brings_norm,
    }
    return tuple(child for child, own in brings.items() if own)


def children(block: Block) -> dict[str, tuple[str, ...]]:
    """The modules that each part of this block makes."""
    made, left_out = CHILDREN if has_mixer(block) else WITHOUT_MIXER, own_norms(block)
    return made | {"norm": tuple(n for n in made["norm"] if n not in left_out)} if left_out else made


class PartSpec(NamedTuple):
    """A part of a piece.

    Args:
        kind, part, dims: as for `registry.make`.
        children: names of the modules of the piece that the part makes; [""] if it is the whole piece. A norm makes two in a block.
    """

    kind: str
    part: Part
    dims: tuple[int, ...]
    children: tuple[str, ...]


class PieceSpec(NamedTuple):
    """What a piece is built from.

    Args:
        kind: "embedding", "position_bias", "block" or "head".
        what: the block, or the part of any other piece.
        dim: input channels.
        out_dim: output channels, or classes of a head.
    """

    kind: str
    what: Part | Block
    dim: int
    out_dim: int

    def parts(self) -> Iterator[PartSpec]:
        """The parts that make a module of the piece, in the order of `SLOTS`."""
        if isinstance(self.what, Part):
            dims = () if self.kind == "position_bias" else (self.dim, self.out_dim)
            yield PartSpec(self.kind, self.what, dims, ("",))
            return
        made = children(self.what)
        for slot, part in zip(SLOTS, self.what.parts(), strict=True):
            if made[slot]:
                yield PartSpec(slot, part, (self.dim,), made[slot])


class DropPath(nn.Module):
    """Stochastic depth: drops the branch of whole images while training (arXiv:1603.09382). Draws from torch's global generator."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not self.training or self.rate == 0:
            return x
        keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class ResidualBlock(nn.Module):
    """x = position(x); x = x + scale1(mixer(norm1(x))); x = x + scale2(ffn(norm2(x))). The middle step may be absent.

    The norm of a branch is the identity if its mixer or FFN normalises its own input (`brings_norm`).
    """

    position: Position
    norm1: Norm | nn.Identity
    norm2: Norm | nn.Identity
    mixer: TokenMixer | None
    ffn: ChannelMixer
    scale1: Scale
    scale2: Scale

    def __init__(self, block: Block, dim: int) -> None:
        super().__init__()
        self.add_module("mixer", None)
        for slot in SLOTS:
            for child in children(block)[slot]:
                self.add_module(child, make(slot, getattr(block, slot), dim))
        for child in own_norms(block):
            self.add_module(child, nn.Identity())
        self.drop_path = DropPath(0.0)

    def forward(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "heads h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        x = self.position(x)
        if self.mixer is not None:
            x = self.mix_tokens(x, position_bias)
        return self.mix_channels(x)

    def mix_tokens(
        self, x: Float[Tensor, "b c h w"], position_bias: Float[Tensor, "heads h w h2 w2"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """The first residual branch, added to its input."""
        mixer = cast(TokenMixer, self.mixer)
        inputs = (self.norm1(x), x) if mixer.needs_residual else (self.norm1(x),)
        if mixer.takes_position_bias and position_bias is not None:
            y = mixer(*inputs, position_bias=position_bias)
        else:
            y = mixer(*inputs)
        return x + self.drop_path(self.scale1(y))

    def mix_channels(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The second residual branch, added to its input."""
        return x + self.drop_path(self.scale2(self.ffn(self.norm2(x))))


def decayed(module: nn.Module) -> set[str]:
    """The names of the parameters of a network or supernet that get weight decay: weights with two or more axes, except biases (some of
    them have two axes) and what their part excludes (`PartModule.undecayed`).
    """
    left_out = {
        f"{place}.{name}".lstrip(".")
        for place, child in module.named_modules()
        if (patterns := getattr(child, "undecayed", ()))
        for name, _ in child.named_parameters()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    return {
        name
        for name, parameter in module.named_parameters()
        if parameter.dim() > 1 and "bias" not in name.rpartition(".")[2] and name not in left_out
    }


def pieces(arch: Architecture) -> Iterator[tuple[str, PieceSpec]]:
    """Name and specification of every piece, in the order of the forward pass."""
    dim = arch.in_channels
    for s, stage in enumerate(arch.stages):
        yield f"stages.{s}.embedding", PieceSpec("embedding", stage.embedding, dim, stage.width)
        dim = stage.width
        if stage.position_bias is not None:
            yield f"stages.{s}.position_bias", PieceSpec("position_bias", stage.position_bias, dim, dim)
        for b, block in enumerate(stage.blocks):
            yield f"stages.{s}.blocks.{b}", PieceSpec("block", block, dim, dim)
    yield "head", PieceSpec("head", arch.head, dim, arch.num_classes)


def make_piece(spec: PieceSpec) -> nn.Module:
    """The module of a specification, with fresh weights on the current default device."""
    if isinstance(spec.what, Block):
        return ResidualBlock(spec.what, spec.dim)
    (part,) = spec.parts()
    return make(part.kind, part.part, *part.dims)


def call(name: str, module: nn.Module, *inputs: Tensor) -> Tensor:
    """Runs a piece on its own weights."""
    return module(*inputs)


class StagePieces(nn.Module):
    """The pieces of one stage; `Network` runs them."""

    embedding: nn.Module
    position_bias: nn.Module | None
    blocks: nn.ModuleList

    def __init__(self) -> None:
        super().__init__()
        self.add_module("position_bias", None)
        self.blocks = nn.ModuleList()


class Network(nn.Module):
    """A network of an architecture. Maps (b, in_channels, h, w) to (b, num_classes).

    Args:
        arch: what to build, complete or not.
        make: how a piece is made; a supernet passes cached skeletons on the meta device.
    """

    head: nn.Module

    def __init__(self, arch: Architecture, make: Callable[[PieceSpec], nn.Module] = make_piece) -> None:
        super().__init__()
        self.arch = arch
        self.stages = nn.ModuleList(StagePieces() for _ in arch.stages)
        for name, spec in pieces(arch):
            parent, _, child = name.rpartition(".")
            self.get_submodule(parent).add_module(child, make(spec))

    def forward(self, x: Float[Tensor, "b c h w"], run: Run = call) -> Float[Tensor, "b classes"]:
        for s in range(len(self.stages)):
            x = self.forward_stage(s, x, run)
        return run("head", self.head, x)

    def forward_stage(self, s: int, x: Float[Tensor, "b c h w"], run: Run = call) -> Float[Tensor, "b c2 h2 w2"]:
        """The output of stage `s` for the map of the stage before it, or for the image."""
        # By index, because `children()` would skip a skeleton that stands in two places.
        stage = cast("list[StagePieces]", self.stages)[s]
        x = run(f"stages.{s}.embedding", stage.embedding, x)
        bias = () if stage.position_bias is None else (run(f"stages.{s}.position_bias", stage.position_bias, x),)
        for b, block in enumerate(stage.blocks):
            x = run(f"stages.{s}.blocks.{b}", block, x, *bias)
        return x

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth from 0 at the first block linearly to `rate` at the last (TransXNet's schedule)."""
        blocks = [module for module in self.modules() if isinstance(module, ResidualBlock)]
        for index, block in enumerate(blocks):
            block.drop_path.rate = rate * index / max(1, len(blocks) - 1)


def build(arch: Architecture, seed: int = 0) -> Network:
    """A stand-alone network with fresh weights.

    Args:
        seed: of the weights; torch's global generator is left as it was.

    Raises:
        InputError: the architecture names an unknown part or option, or sizes that do not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(complete(arch))

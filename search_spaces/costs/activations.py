"""The cost `activations`: bytes of the feature maps that are held at once, at most, in one forward pass of one image in float32.

What is counted: every result of a torch function, as the parts' code calls it, that owns its memory, from its call until nothing in
the forward pass refers to it. Views share the memory of what they show; in-place results have none of their own. The image is held
throughout, the input of a stage and its position bias through the stage: the forward pass refers to them. Not counted: weights and
buffers, and what a function needs inside, such as the scores of fused attention (written-out scores are a result) or workspaces.

All this happens on the meta device, where tensors have sizes, strides and lifetimes but no values. What a part needs is remembered by
its input's sizes and strides, for strides decide whether a reshape copies; a branch of a block is the real one of `ResidualBlock` over
parts that replay what is remembered; a block is the maximum over its position encoding and its branches, and a network over its pieces.
"""

import copy
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from search_spaces.architecture import Architecture, Block, Part
from search_spaces.costs import register_cost
from search_spaces.costs.operators import meta
from search_spaces.costs.remembered import recall
from search_spaces.network import DropPath, Network, PieceSpec, ResidualBlock, children, pieces
from search_spaces.registry import SkipInit, TokenMixer, lookup, make

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides of a tensor."""


class Need(NamedTuple):
    """What a part or piece needs beyond its inputs, and what it gives.

    Args:
        peak: most bytes at once, without its inputs.
        source: the input whose memory the result is in, by position; -1 when it is in memory of its own.
        nbytes: of the memory that the result is in.
        layout, offset: of the result in that memory.
    """

    peak: int
    source: int
    nbytes: int
    layout: Layout
    offset: int


# Results whose meta implementation is hundreds of times slower than an empty tensor, or has another layout than the CPU's.


def _alike(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.empty_like(input)


def _contiguous(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.empty_like(input, memory_format=torch.contiguous_format)


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return meta(*query.shape[:-1], value.shape[-1])


def _in_order(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    order = suggest_memory_format(input) if input.dim() == 4 else torch.contiguous_format
    return torch.empty_like(input, memory_format=order)


def _conv2d(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    result = F.conv2d(input, *args, **kwargs)  # contiguous on the meta device, whatever the input is
    return torch.empty_like(result, memory_format=suggest_memory_format(input)) if input.dim() == 4 else result


def _pointwise(func: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def answer(one: Any, other: Any, *args: Any, **kwargs: Any) -> Tensor:
        if isinstance(one, Tensor) and one.is_floating_point():
            if not isinstance(other, Tensor):
                return torch.empty_like(one)
            if (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype):
                return torch.empty_like(one)
        return func(one, other, *args, **kwargs)

    return answer


_SHORT: dict[Any, Callable[..., Tensor]] = {
    **{f: _pointwise(f) for f in (torch.add, Tensor.add, Tensor.__add__, torch.mul, Tensor.mul, Tensor.__mul__)},
    F.gelu: _alike,
    F.conv2d: _conv2d,
    F.batch_norm: _in_order,
    F.group_norm: _in_order,
    F.layer_norm: _contiguous,
    F.scaled_dot_product_attention: _attention,
}


class Memory(TorchFunctionMode):
    """Follows the memory of results while it is entered.

    Args:
        apart: tensors that are not counted, such as weights. They have to stay alive.
    """

    def __init__(self, apart: Sequence[Tensor] = ()) -> None:
        super().__init__()
        self.apart = {tensor.untyped_storage()._cdata for tensor in apart}
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self.paused = False

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if self.paused:
            return func(*args, **(kwargs or {}))
        short = _SHORT.get(func)
        result = func(*args, **(kwargs or {})) if short is None else short(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.hold(result)
        elif isinstance(result, tuple | list):
            for item in result:
                if isinstance(item, Tensor):
                    self.hold(item)
        return result

    def hold(self, tensor: Tensor) -> None:
        """Counts a tensor's memory, if it has not been counted, until nothing refers to it."""
        storage = tensor.untyped_storage()
        key = storage._cdata  # of dead memory too, this address is not given away while a weak reference is left
        if key not in self.held and key not in self.apart:
            self.held[key] = (StorageWeakRef(storage), storage.nbytes())
            self.peak = max(self.peak, self.now())

    def now(self) -> int:
        """Bytes that are referred to."""
        self.held = {key: found for key, found in self.held.items() if not found[0].expired()}
        return sum(nbytes for _, nbytes in self.held.values())


def _layout(tensor: Tensor) -> Layout:
    return tuple(tensor.shape), tensor.stride()


def _empty(layout: Layout) -> Tensor:
    return torch.empty_strided(*layout, device="meta")


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _need(
    run: Callable[..., Tensor], apart: Sequence[Tensor], inputs: Sequence[Tensor], extra: dict[str, Tensor]
) -> Need:
    """What `run` needs on these inputs."""
    given = [_key(tensor) for tensor in (*inputs, *extra.values())]
    with torch.no_grad(), Memory([*apart, *inputs, *extra.values()]) as memory:
        result = run(*inputs, **extra)
    source = given.index(_key(result)) if _key(result) in given else -1
    return Need(
        memory.peak, source, result.untyped_storage().nbytes(), _layout(result), cast(int, result.storage_offset())
    )


@lru_cache(maxsize=100_000)
def part_need(
    kind: str, part: Part, dims: tuple[int, ...], layouts: tuple[Layout, ...], bias: Layout | None = None
) -> Need:
    """What a part needs on inputs of these layouts, found the first time it is asked for; from then on it is remembered, also on disk
    (`search_spaces.costs.remembered`).

    Args:
        dims: as for `registry.make`.
        bias: of the stage's position bias, where the part is given one.
    """

    def count() -> tuple[int, ...]:
        with torch.device("meta"), SkipInit():
            module = make(kind, part, *dims).eval()
        extra = {} if bias is None else {"position_bias": _empty(bias)}
        found = _need(module, [*module.parameters(), *module.buffers()], [_empty(layout) for layout in layouts], extra)
        return found.peak, found.source, found.nbytes, found.offset, *found.layout[0], *found.layout[1]

    return _need_of(recall(kind, part, dims, "need", layouts, bias, lengths=_LENGTHS, count=count))


_LENGTHS = range(6, 24, 2)
"""Of a remembered need: four numbers, and a size and a stride for each of one to nine axes of its result."""


def _need_of(counts: tuple[int, ...]) -> Need:
    peak, source, nbytes, offset, *layout = counts
    half = len(layout) // 2
    return Need(peak, source, nbytes, (tuple(layout[:half]), tuple(layout[half:])), offset)


class _Replay:
    """A part of a block, as `part_need` remembers it."""

    def __init__(self, memory: Memory, kind: str, part: Part, dim: int) -> None:
        self.memory, self.kind, self.part, self.dim = memory, kind, part, dim
        if kind == "mixer":
            mixer = cast("type[TokenMixer]", lookup(kind, part.name))
            self.needs_residual, self.takes_position_bias = mixer.needs_residual, mixer.takes_position_bias

    def __call__(self, *inputs: Tensor, position_bias: Tensor | None = None) -> Tensor:
        bias = None if position_bias is None else _layout(position_bias)
        self.memory.paused = True  # a part that is not remembered yet is run inside
        need = part_need(self.kind, self.part, (self.dim,), tuple(map(_layout, inputs)), bias)
        self.memory.paused = False
        self.memory.peak = max(self.memory.peak, self.memory.now() + need.peak)
        if need.source >= 0:
            return (*inputs, cast(Tensor, position_bias))[need.source].as_strided(*need.layout, need.offset)
        memory = torch.empty(need.nbytes, dtype=torch.int8, device="meta").view(torch.float32)
        return memory.as_strided(*need.layout, need.offset)


@lru_cache(maxsize=100_000)
def piece_need(spec: PieceSpec, layout: Layout, bias: Layout | None = None) -> Need:
    """What a piece needs on a map of this layout.

    Args:
        bias: of the stage's position bias, for a block.
    """
    what, dim = spec.what, spec.dim
    if not isinstance(what, Block):
        (part,) = spec.parts()
        return part_need(part.kind, part.part, part.dims, (layout,))
    position = part_need("position", what.position, (dim,), (layout,))
    # What the position encoding gives is held while the first branch runs, and the sum behind that while the second one does.
    held, peak = (0 if position.source >= 0 else position.nbytes), position.peak
    branches = ("mixer", "ffn") if children(what)["mixer"] else ("ffn",)
    found = position
    for slot in branches:
        found = _branch_need(slot, what.norm, getattr(what, slot), what.scale, dim, found.layout, bias)
        held, peak = found.nbytes, max(peak, held + found.peak)
    return found._replace(peak=peak)


@lru_cache(maxsize=100_000)
def _branch_need(
    slot: str, norm: Part, part: Part, scale: Part, dim: int, layout: Layout, bias: Layout | None = None
) -> Need:
    """What a residual branch of a block needs on a map of this layout, and its sum, which is always in memory of its own.

    Args:
        slot: "mixer" for the first branch, "ffn" for the second.
        bias: as for `piece_need`.
    """
    x, table = _empty(layout), None if bias is None else _empty(bias)
    number = "1" if slot == "mixer" else "2"
    with torch.no_grad(), Memory([x] if table is None else [x, table]) as memory:
        block = object.__new__(ResidualBlock)
        block.__dict__ |= {"drop_path": _NO_DROP, slot: _Replay(memory, slot, part, dim)}
        has_own_norm = lookup(slot, part.name).brings_norm
        block.__dict__ |= {f"norm{number}": _NO_NORM if has_own_norm else _Replay(memory, "norm", norm, dim)}
        block.__dict__ |= {f"scale{number}": _Replay(memory, "scale", scale, dim)}
        result = block.mix_tokens(x, table) if slot == "mixer" else block.mix_channels(x)
    return Need(memory.peak, -1, result.untyped_storage().nbytes(), _layout(result), cast(int, result.storage_offset()))


_NO_DROP = DropPath(0.0).eval()
_NO_NORM = nn.Identity()


@register_cost("activations", unit="bytes", about="feature maps held at once, at most, for one image")
def activations(arch: Architecture) -> int:
    """Most bytes of feature maps that are held at once, for one image at the architecture's resolution.

    Raises:
        InputError: an unknown part or option, or sizes that do not fit.
    """
    side = arch.resolution
    layout: Layout = (1, arch.in_channels, side, side), (arch.in_channels * side * side, side * side, side, 1)
    image = x = stage = [4 * arch.in_channels * side * side]  # lists, because equal sizes are not the same memory
    bias: tuple[list[int], Layout] | None = None
    peak = image[0]
    for _, spec in pieces(arch):
        if spec.kind in ("embedding", "head"):
            stage, bias = x, None
        taken = bias[1] if bias and spec.kind == "block" else None
        need = piece_need(spec, layout, taken)
        held = {id(memory): memory[0] for memory in (image, stage, x, *([bias[0]] if bias else ()))}
        peak = max(peak, sum(held.values()) + need.peak)
        inputs = (x,) if bias is None else (x, bias[0])
        given = [need.nbytes] if need.source < 0 else inputs[need.source]
        if spec.kind == "position_bias":
            bias = given, need.layout
        else:
            x, layout = given, need.layout
    return peak


def whole(network: Network, resolution: int) -> int:
    """The same, recomputed on a network that exists, in one forward pass of the whole; slow, for checks."""
    module = copy.deepcopy(network).to("meta").eval()
    return held(module, meta(1, network.arch.in_channels, resolution, resolution))


def held(module: nn.Module, x: Tensor) -> int:
    """Most bytes of `x` and results that are held at once while any module runs on it; both are on the meta device."""
    with torch.no_grad(), Memory([*module.parameters(), *module.buffers()]) as memory:
        memory.hold(x)
        module(x)
    return memory.peak


def forget() -> None:
    """Forgets what is remembered; for tests that register parts."""
    for remembered in (part_need, piece_need, _branch_need):
        remembered.cache_clear()


__all__ = ["Layout", "Memory", "Need", "activations", "forget", "held", "part_need", "piece_need", "whole"]

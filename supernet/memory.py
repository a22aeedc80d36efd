"""How much memory the training of a supernet needs, computed from shapes alone: nothing of that size is allocated.

Weights, gradients and moments follow from the shapes of the bank. Activations are what the backward pass keeps. They are measured
per part on the meta device, with a hook on every tensor that autograd saves, and summed over the places of a network.

The losses of a step run one sampled sub-network at a time, each with its own backward pass, so activations are those of one
sub-network and not of all. The first one has the largest sizes, but its operators are drawn at random. `Activations.bound` is
therefore a bound over the draws of a whole run.

All sizes are bytes of float32. Under bf16 autocast activations take less, and the figure is an upper bound.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from search_spaces import registry
from search_spaces.architecture import SLOTS, Architecture, Part
from search_spaces.network import CHILDREN, children
from search_spaces.space import NO_BIAS, PartChoice, SearchSpace, Slot
from search_spaces.units import takes_bias
from supernet.bank import bank_groups

FLOAT = 4
"""Bytes of one element."""

DEVIATIONS = 5.0
"""How far above its mean the activations of a step are assumed to reach: fewer than one step in a million needs more."""

INTERMEDIATES = 3
"""Copies of the largest intermediate that an operator holds beside what is saved: the gradients of its output and of its input,
and one of them in another memory layout."""

GAPS = 0.4
"""What the heap's gaps add, as a share of the activations. Freed memory has the block sizes of earlier sub-networks, and the next one
has others. Over the first steps of a run the process was measured to grow by 15 to 30 % of the activations for that reason in small
spaces, and by more in TransXNet's at 224 pixels."""

ALLOCATOR = 64 * 2**20
"""What the allocator takes in advance (`nas.machine.tune_allocator` sets this), with the scratch memory of kernels."""


# The bank


@dataclass(frozen=True, slots=True)
class BankElements:
    """The number of elements in a supernet's bank.

    Args:
        parameters, buffers: in all.
        touched: parameters that one step can give a gradient; the operators that no path of the step has get none.
        largest: the largest single tensor. A slice of it has a gradient of its whole size for a moment.
    """

    parameters: int
    buffers: int
    touched: int
    largest: int


def bank_elements(space: SearchSpace, paths: int = 4) -> BankElements:
    """Counts the bank of a space without allocating it.

    Args:
        paths: sampled sub-networks in a step. Operators are dealt out evenly, so at most so many parts of a place have gradients.
    """
    parameters = buffers = largest = 0
    slots: dict[tuple[str, str], list[int]] = {}
    for group in bank_groups(space):
        times = sum(1 for _ in group.places())
        sizes = {key: math.prod(shape) for key, shape in group.shapes.items()}
        own = times * sum(size for key, size in sizes.items() if key not in group.buffers)
        parameters += own
        buffers += times * sum(size for key, size in sizes.items() if key in group.buffers)
        largest = max([largest, *sizes.values()])
        slots.setdefault((group.place, group.kind), []).append(own)
    touched = sum(sum(sorted(sizes, reverse=True)[:paths]) for sizes in slots.values())
    return BankElements(parameters, buffers, touched, largest)


# Activations


class _FusedAttention(TorchFunctionMode):
    """Lets attention on the meta device save what it saves on a real one.

    The meta device has no fused kernel, and the plain one keeps the whole matrix of scores. On the CPU the plain one runs when
    the mask is learned, and then it does keep the scores.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        query, key, value = args[:3]
        mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
        if query.shape[-1] != value.shape[-1] or (mask is not None and mask.requires_grad):
            return func(*args, **kwargs)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return fused(query, key, value, attn_mask=mask, scale=kwargs.get("scale"))[0]


@dataclass(frozen=True, slots=True)
class PartMemory:
    """What one part keeps for the backward pass.

    Args:
        fixed: bytes whatever the batch, such as merged or copied weights.
        image: bytes per image.
        largest: bytes per image of the largest tensor among them and the output.
        height, width: of the output map; 0 behind the head.
    """

    fixed: int
    image: int
    largest: int
    height: int
    width: int


def _saved(module: nn.Module, inputs: list[Tensor], bias: Tensor | None) -> tuple[int, int, Tensor]:
    """Bytes of all and of the largest storage that autograd saves, the module's own tensors left out; and the output."""
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    # The storages are kept until the end, so that none is counted in the place of one that has gone.
    found: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = storage
        return tensor

    extra = {} if bias is None else {"position_bias": bias}
    with _FusedAttention(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(*inputs, **extra)
    sizes = [storage.nbytes() for storage in found.values()]
    return sum(sizes), max([output.untyped_storage().nbytes(), *sizes]), output


@lru_cache(maxsize=20_000)
def part_memory(
    kind: str, part: Part, dims: tuple[int, ...], height: int, width: int, bias: Part | None = None
) -> PartMemory:
    """Measures one part in training mode on the meta device, with two and with four images.

    Args:
        dims: as for `registry.make`; the first, if any, is the number of input channels.
        bias: the position bias of the stage, for a mixer that takes one.
    """
    with torch.device("meta"), registry.SkipInit():
        module = registry.make(kind, part, *dims).train()
        biases = registry.make("position_bias", bias).train() if bias is not None else None

    def measure(images: int) -> tuple[int, int, Tensor]:
        def image_map() -> Tensor:
            empty = torch.empty(images, dims[0] if dims else 1, height, width, device="meta")
            return empty.contiguous(memory_format=torch.channels_last).requires_grad_()

        inputs = [image_map() for _ in range(2 if getattr(module, "needs_residual", False) else 1)]
        return _saved(module, inputs, biases(inputs[0]) if biases is not None else None)

    two, largest, output = measure(2)
    four, _, _ = measure(4)
    image = (four - two) // 2
    shape = tuple(output.shape[2:]) if output.dim() == 4 else (0, 0)
    return PartMemory(two - 2 * image, image, largest // 2, *shape)


def _corners(choice: PartChoice) -> Iterator[Part]:
    """The part with the last value of every option, and with the first value of one option at a time.

    Values ascend, and mostly the last one needs the most memory. Some options save memory as they grow, such as the stride of
    reduced keys.
    """
    last = {key: values[-1] for key, values in choice.options}
    yield Part(choice.name, tuple(last.items()))
    for key, values in choice.options:
        if len(values) > 1:
            yield Part(choice.name, tuple({**last, key: values[0]}.items()))


@dataclass(frozen=True, slots=True)
class Activations:
    """What the largest sampled sub-network keeps for the backward pass, as a random sum over independent choices of parts.

    Args:
        mean, variance: of the sum for one image.
        most: the sum with the worst part in every place.
        fixed: bytes whatever the batch.
        largest: bytes per image of the largest intermediate.
    """

    mean: float
    variance: float
    most: int
    fixed: int
    largest: int

    def bound(self, batch_size: int) -> int:
        """Bytes that no step of a run is likely to exceed.

        The worst part in every place at once is a true bound, but with many places and parts no run ever draws it.
        """
        likely = self.mean + DEVIATIONS * math.sqrt(self.variance)
        return self.fixed + math.ceil(batch_size * min(self.most, likely))

    def temporaries(self, batch_size: int) -> int:
        """Bytes that operators hold beside what is saved."""
        return INTERMEDIATES * batch_size * self.largest


class _Sum:
    """Adds up independent choices."""

    def __init__(self) -> None:
        self.mean = self.variance = 0.0
        self.most = self.fixed = self.largest = 0

    def add(self, choices: list[PartMemory], times: int, draws: int = 1) -> None:
        """`draws` independent choices of one of these parts, each of which stands in `times` places."""
        sizes = [times * found.image for found in choices]
        mean = sum(sizes) / len(sizes)
        self.mean += draws * mean
        self.variance += draws * sum((size - mean) ** 2 for size in sizes) / len(sizes)
        self.most += draws * max(sizes)
        self.fixed += draws * times * max(found.fixed for found in choices)
        self.largest = max([self.largest, *(found.largest for found in choices)])


def _worst(found: Iterable[PartMemory]) -> PartMemory:
    return max(found, key=lambda memory: memory.image)


@lru_cache(maxsize=64)
def activations(space: SearchSpace) -> Activations:
    """The activations of the widest and deepest sub-networks of a space that is bound to its data."""
    total = _Sum()
    height = width = space.resolution
    before = space.in_channels

    def alternatives(kind: str, slot: Slot, *dims: int, biases: Iterable[Part | None] = (None,)) -> list[PartMemory]:
        found = []
        for choice in slot:
            takes = kind == "mixer" and takes_bias(Part(choice.name))
            found.append(
                _worst(
                    part_memory(kind, part, dims, height, width, bias)
                    for part in _corners(choice)
                    for bias in (biases if takes else (None,))
                )
            )
        return found

    for stage in space.stages:
        dim = stage.width[-1]
        embeddings = alternatives("embedding", stage.embedding, before, dim)
        total.add(embeddings, 1)
        height, width = max((found.height, found.width) for found in embeddings)
        biases = [None, *(part for c in stage.position_bias if c.name != NO_BIAS for part in _corners(c))]
        depth = stage.depth[-1]
        for kind, slot in zip(SLOTS, stage.blocks, strict=True):
            found = alternatives(kind, slot, dim, biases=biases)
            tied = kind in stage.per_stage
            times = len(CHILDREN[kind])
            if depth:
                total.add(found, times * depth if tied else times, 1 if tied else depth)
        before = dim
    total.add(alternatives("head", space.head, before, space.num_classes), 1)
    # The images themselves: the batch as it comes from the data, and on the device.
    images = 2 * FLOAT * space.in_channels * space.resolution**2
    return Activations(total.mean + images, total.variance, total.most + images, total.fixed, total.largest)


def sampled_activations(archs: Iterable[Architecture]) -> Activations:
    """The activations of the first sub-network of a step, from some that were drawn: those of the first steps of a run, under a budget.

    Sizes are not independent there, because together they fit, and so their sum is looked at and not each of them.

    Args:
        archs: at least one.
    """
    sums = [_sum_of(arch) for arch in archs]
    sizes = [found.most for found in sums]
    mean = sum(sizes) / len(sizes)
    variance = sum((size - mean) ** 2 for size in sizes) / max(1, len(sizes) - 1)
    most = math.ceil(mean + DEVIATIONS * math.sqrt(variance))
    return Activations(
        mean, variance, max(most, *sizes), max(found.fixed for found in sums), max(found.largest for found in sums)
    )


def _sum_of(arch: Architecture) -> _Sum:
    """What the parts of one architecture keep."""
    total = _Sum()
    height = width = arch.resolution
    before = arch.in_channels
    for stage in arch.stages:
        embedding = part_memory("embedding", stage.embedding, (before, stage.width), height, width)
        total.add([embedding], 1)
        height, width, before = embedding.height, embedding.width, stage.width
        for block in stage.blocks:
            for slot, part in zip(SLOTS, block.parts(), strict=True):
                takes = slot == "mixer" and takes_bias(part)
                bias = stage.position_bias if takes else None
                if times := len(children(block)[slot]):
                    total.add([part_memory(slot, part, (before,), height, width, bias)], times)
    total.add([part_memory("head", arch.head, (before, arch.num_classes), height, width)], 1)
    images = 2 * FLOAT * arch.in_channels * arch.resolution**2
    total.most += images
    return total


# Together


def in_words(size: float) -> str:
    """A number of bytes, such as "3.1 GiB"."""
    for unit, scale in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if size >= scale:
            return f"{size / scale:,.1f} {unit}"
    return f"{size / 2**10:.0f} KiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """What training a supernet needs beyond the process that runs it, in bytes.

    Args:
        batch_size: images in a step.
        weights: the shared weights and the running statistics, of which the optimisation keeps a copy.
        gradients: of the weights that one step reaches.
        moments: AdamW's two.
        averaged: the averaged weights; 0 without.
        activations: what the backward pass of the largest sampled sub-network needs.
        temporaries: what operators hold for a moment in forward, backward and update, the gaps of the heap, and the
            allocator's reserve.
        checkpoint: a checkpoint is made in memory before it is written. Freed activations do not make room for it, because it
            has to lie in one piece.
    """

    batch_size: int
    weights: int
    gradients: int
    moments: int
    averaged: int
    activations: int
    temporaries: int
    checkpoint: int

    @property
    def total(self) -> int:
        """The sum of all."""
        kept = self.weights + self.gradients + self.moments + self.averaged
        return kept + self.activations + self.temporaries + self.checkpoint

    def describe(self) -> str:
        """The total and its parts, as a phrase."""
        names = [("weights", self.weights), ("gradients", self.gradients), ("moments", self.moments)]
        names += [("averaged weights", self.averaged)] if self.averaged else []
        names += [
            (f"activations of {self.batch_size} images", self.activations),
            ("temporary copies", self.temporaries),
        ]
        names += [("the checkpoint that is written", self.checkpoint)] if self.checkpoint else []
        return f"{in_words(self.total)} ({', '.join(f'{name} {in_words(size)}' for name, size in names)})"


def training_need(
    space: SearchSpace, batch_size: int, *, ema: bool, paths: int, on_cpu: bool = True, kept: Activations | None = None
) -> MemoryNeed:
    """What training the supernet of a space needs on its device.

    Args:
        space: checked and bound to the data.
        ema: whether averaged weights are kept.
        paths: sampled sub-networks in a step.
        on_cpu: whether checkpoints are made in the same memory.
        kept: the activations, where they are not those of the widest and deepest sub-networks.
    """
    bank, kept = bank_elements(space, paths), kept or activations(space)
    weights, buffers, gradients = (FLOAT * n for n in (bank.parameters, bank.buffers, bank.touched))
    averaged = weights if ema else 0
    saved = kept.bound(batch_size)
    operators = max(kept.temporaries(batch_size), FLOAT * bank.largest) + math.ceil(GAPS * saved)
    # AdamW makes one copy of the gradients' size, when the activations are gone.
    operators = max(operators, gradients - saved)
    return MemoryNeed(
        batch_size=batch_size,
        weights=weights + 2 * buffers,
        gradients=gradients,
        moments=2 * weights,
        averaged=averaged,
        activations=saved,
        temporaries=operators + ALLOCATOR,
        checkpoint=3 * weights + averaged + 2 * buffers if on_cpu else 0,
    )

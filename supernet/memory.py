"""How much memory the training of a supernet needs, computed from shapes alone: nothing of that size is allocated.

Weights, gradients and moments follow from the shapes of the bank, activations from `supernet.activation_memory`.

All sizes are bytes of float32. Under bf16 autocast activations take less, and the figure is an upper bound.
"""

import math
from dataclasses import dataclass

from search_spaces.space import SearchSpace
from supernet.activation_memory import FLOAT, Activations, activations
from supernet.bank import bank_groups

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
        paths: sampled sub-networks in a step. Operators are shared evenly, so at most so many parts of a place have gradients.
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
        images: that are kept decoded in the same memory.
    """

    batch_size: int
    weights: int
    gradients: int
    moments: int
    averaged: int
    activations: int
    temporaries: int
    checkpoint: int
    images: int = 0

    @property
    def total(self) -> int:
        """The sum of all."""
        kept = self.weights + self.gradients + self.moments + self.averaged
        return kept + self.activations + self.temporaries + self.checkpoint + self.images

    def describe(self) -> str:
        """The total and its parts, as a phrase."""
        names = [("weights", self.weights), ("gradients", self.gradients), ("moments", self.moments)]
        names += [("averaged weights", self.averaged)] if self.averaged else []
        names += [
            (f"activations of {self.batch_size} images", self.activations),
            ("temporary copies", self.temporaries),
        ]
        names += [("the checkpoint that is written", self.checkpoint)] if self.checkpoint else []
        names += [("decoded images", self.images)] if self.images else []
        return f"{in_words(self.total)} ({', '.join(f'{name} {in_words(size)}' for name, size in names)})"


def training_need(
    space: SearchSpace, batch_size: int, *, ema: bool, paths: int, on_cpu: bool = True, kept: Activations | None = None,
    images: int = 0,
) -> MemoryNeed:  # fmt: skip
    """What training the supernet of a space needs on its device.

    Args:
        space: checked and bound to the data.
        ema: whether averaged weights are kept.
        paths: sampled sub-networks in a step.
        on_cpu: whether checkpoints are made in the same memory.
        kept: the activations, where they are not those of the widest and deepest sub-networks.
        images: bytes of the images that are kept decoded; they lie in a processor's memory.
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
        images=images if on_cpu else 0,
    )

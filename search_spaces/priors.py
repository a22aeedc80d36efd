"""How a space is drawn: log probabilities of the choices of each stage, of what its blocks share, and of the members of its slots."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from search_spaces.genes import SlotGenes

Option = tuple[int, int]
"""Number of a part in its slot, and of an option of that part."""


@dataclass(frozen=True)
class SlotPrior:
    """How a slot is drawn in a stage: first a context, which the blocks share, then in each block a member.

    Args:
        contexts: log probability (contexts,). A context is the member of a slot that is tied, or values of tied options.
        members: log probability (contexts, members) of a block's member.
        late: log probability of each value of the tied options that no context tells apart: blocks draw their members as if the option
            were theirs, and are then given the one value that is drawn for the stage.
    """

    contexts: np.ndarray
    members: np.ndarray
    late: dict[Option, np.ndarray]


def slot_prior(genes: SlotGenes, kept: list[Option]) -> SlotPrior:
    """
    Args:
        kept: of the tied options, those that contexts tell apart.
    """
    if genes.whole:
        return SlotPrior(genes.log_prior.copy(), np.where(np.eye(len(genes.members), dtype=bool), 0.0, -np.inf), {})
    sizes = [genes.sizes[part][option] for part, option in kept]
    combinations = list(itertools.product(*map(range, sizes)))
    members = np.tile(genes.log_prior, (len(combinations), 1))
    for (part, option), values in zip(kept, zip(*combinations, strict=True), strict=True):
        of_part = np.flatnonzero(genes.part_of == part)
        fits = genes.value(part, option, of_part)[None] == np.array(values)[:, None]
        more = math.log(genes.sizes[part][option])
        members[:, of_part] = np.where(fits, members[:, of_part] + more, -np.inf)
    late = {
        (part, option): np.full(genes.sizes[part][option], -math.log(genes.sizes[part][option]))
        for part, option in genes.tied_options
        if (part, option) not in kept
    }
    return SlotPrior(np.full(len(combinations), -sum(map(math.log, sizes))), members, late)


@dataclass(frozen=True)
class StagePrior:
    """Log probabilities of the choices of a stage.

    Args:
        width, depth, embedding, bias: (choices,).
        slots: by name.
        first: of one block of the stage, where it is not drawn as the others: log probabilities as `SlotPrior.members`, by slot.
    """

    width: np.ndarray
    depth: np.ndarray
    embedding: np.ndarray
    bias: np.ndarray
    slots: dict[str, SlotPrior]
    first: dict[str, np.ndarray] | None = None

    @property
    def possible(self) -> "StagePrior":
        """As `Prior.possible`."""
        slots = {name: SlotPrior(_possible(s.contexts), _possible(s.members), s.late) for name, s in self.slots.items()}
        first = self.first and {name: _possible(logs) for name, logs in self.first.items()}
        width, depth, embedding, bias = map(_possible, (self.width, self.depth, self.embedding, self.bias))
        return StagePrior(width, depth, embedding, bias, slots, first)


def _possible(logs: np.ndarray) -> np.ndarray:
    return np.where(logs > -np.inf, 0.0, -np.inf)


@dataclass(frozen=True)
class Prior:
    """Log probabilities of all choices of a space."""

    stages: tuple[StagePrior, ...]
    head: np.ndarray

    @property
    def possible(self) -> "Prior":
        """0 for each choice with a probability above 0, and minus infinity for the others."""
        return Prior(tuple(stage.possible for stage in self.stages), _possible(self.head))

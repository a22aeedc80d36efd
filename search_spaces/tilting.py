"""Random members of a space whose costs lie near a wanted value: `SearchSpace.sample`, exponentially tilted.

Drawn uniformly gene by gene, a member x has a probability p(x). Its additive costs c(x) are sums over units, so the distribution
p(x) exp(-w . c(x)) / Z(w) can be summed and sampled exactly, stage by stage: given the width and map size of a stage, its position bias
and what its blocks share (the context), the blocks are independent of one another. A weight w above 0 favours cheap members, one
below 0 costly ones.

    log Z(w) + sup of w . c over the limits      is an upper bound of the logarithm of the probability of the limits (Chernoff)

so that it proves limits empty when it falls below the probability of any single member.

Notation of axes: n node, b bias, p/o/s/m/f context of position, norm, scale, mixer and FFN, d depth, r pair of norm and scale.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from search_spaces.architecture import SLOTS
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.costs.node_tables import StageCosts
from search_spaces.genes import SlotGenes
from search_spaces.priors import Option, Prior, StagePrior, slot_prior

LARGEST_TABLE = 500_000
"""Entries of a table of a stage, up to which tied options that change costs are told apart."""


def log_sum(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """Logarithm of the sum of exponentials; minus infinity of nothing."""
    most = values.max(axis=axis, keepdims=True)
    most = np.where(np.isfinite(most), most, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - most).sum(axis=axis)) + most.squeeze(axis)


def greatest(values: np.ndarray, axis: int | tuple[int, ...] = -1) -> np.ndarray:
    """In the place of `log_sum`: the best outcome instead of the sum of all."""
    return values.max(axis=axis)


Total = Callable[..., np.ndarray]
"""`log_sum` or `greatest`."""


class EmptyError(Exception):
    """Nothing within the limits was found.

    Args:
        proven: whether there is none.
        nearest: genes of what came nearest, -1 where a gene does not matter.
    """

    def __init__(self, proven: bool, nearest: np.ndarray) -> None:
        self.proven, self.nearest = proven, nearest
        super().__init__("nothing within the limits")


def _over(costs: np.ndarray, genes: SlotGenes, part: int, option: int) -> np.ndarray:
    """Costs (..., members, names), of each member of a part the mean over the values of an option."""
    found = costs.copy()
    sizes, start = genes.sizes[part], int(genes.starts[part])
    here = costs[..., start : start + math.prod(sizes), :]
    shaped = here.reshape(*costs.shape[:-2], *sizes, costs.shape[-1])
    axis = len(costs.shape) - 2 + option
    known = ~np.isnan(shaped)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, shaped, 0).sum(axis=axis, keepdims=True) / known.sum(axis=axis, keepdims=True)
    found[..., start : start + math.prod(sizes), :] = np.broadcast_to(mean, shaped.shape).reshape(here.shape)
    return found


class StageModel:
    """What the units of a stage cost, as arrays, and how the stage is drawn.

    Attributes:
        to: node (before, width, embedding).
        embedding: costs (before, width, embedding, names); bias: (n, bias, names); position: (n, position, names);
            mixer: (n, norm, scale, bias, mixer, names), with one bias where it makes no difference; ffn: (n, norm, scale, FFN, names).
        tilted: the last three, each by the name of its slot, as weights see them: means over the values of late options.
        slack: how far the costs of a member can be from what weights see, at most (names,).
        prior: of the stage.
    """

    def __init__(self, costs: SpaceCosts, stage: StageCosts) -> None:
        self.stage, genes, names = stage, stage.genes, len(costs.names)
        nodes, before = len(stage.nodes), len(stage.before)
        shape = (before, len(genes.width.values), len(genes.embedding.members))
        self.to = stage.to[: math.prod(shape)].reshape(shape)
        self.embedding = stage.embedding.values.reshape(*shape, names)
        self.bias = stage.bias.values.reshape(nodes, -1, names)
        every = costs.every_mixer(stage)
        mixer = stage.mixer.values[every]
        self.bias_matters = not np.array_equal(mixer, np.broadcast_to(mixer[:, :, :, :1], mixer.shape), equal_nan=True)
        self.costs = {
            "position": stage.position.values.reshape(nodes, -1, names),
            "mixer": mixer if self.bias_matters else mixer[:, :, :, :1],
            "ffn": stage.ffn.values.reshape(nodes, stage.norms, stage.scales, stage.ffns, names),
        }
        self.tilted = dict(self.costs)
        self.slack = np.zeros(names)
        kept = self._kept()
        for name, costs_of in self.costs.items():
            for option in genes.slots[name].tied_options:
                if option not in kept[name]:
                    self.tilted[name] = _over(self.tilted[name], genes.slots[name], *option)
            apart = np.nan_to_num(np.abs(self.tilted[name] - costs_of)).reshape(-1, names)
            self.slack += genes.blocks * apart.max(axis=0, initial=0.0)
        self.prior = StagePrior(
            genes.width.log_prior, genes.depth.log_prior, genes.embedding.log_prior, genes.bias.log_prior,
            {name: slot_prior(genes.slots[name], kept[name]) for name in SLOTS},
        )  # fmt: skip

    def _kept(self) -> dict[str, list[Option]]:
        """The tied options that get contexts: those that change costs, the most influential first, while tables stay small."""
        slots = self.stage.genes.slots
        kept = {name: list(slots[name].tied_options) if name in ("norm", "scale") else [] for name in SLOTS}
        spreads = []
        for name, costs in self.costs.items():
            scale = np.nanmax(np.abs(costs.reshape(-1, costs.shape[-1])), axis=0, initial=1e-300)
            for option in slots[name].tied_options:
                spread = np.nanmax(np.abs(costs - _over(costs, slots[name], *option)) / scale, initial=0.0)
                if spread > 0:
                    spreads.append((spread, name, option))
        contexts = len(self.bias) * self.bias.shape[1] * len(self.stage.genes.depth.values)
        contexts *= math.prod(len(slot.members) for slot in slots.values() if slot.whole)
        contexts *= math.prod(slots[name].sizes[p][o] for name in kept for p, o in kept[name])
        sizes = {name: costs[..., 0].size for name, costs in self.costs.items()}
        for _, name, (part, option) in sorted(spreads, reverse=True):
            choices = slots[name].sizes[part][option]
            if contexts * choices <= LARGEST_TABLE and sizes[name] * choices <= LARGEST_TABLE:
                contexts *= choices
                sizes[name] *= choices
                kept[name].append((part, option))
        return kept


class Context(NamedTuple):
    """What is decided for a whole stage, as numbers (architectures,): contexts of the slots, the bias and the choice of depth."""

    position: np.ndarray
    norm: np.ndarray
    scale: np.ndarray
    bias: np.ndarray
    mixer: np.ndarray
    ffn: np.ndarray
    depth: np.ndarray


class Blocks:
    """Log weights of a block of a stage under one tilt, given the node and the context.

    Attributes:
        position: (n, p, position); mixer: (n, norm, scale, bias, m, mixer); ffn: (n, norm, scale, f, FFN).
        pairs: (n, o, s, bias, m, f, r): of pairs of norm and scale, the rest of the block summed.
        total: (n, p, o, s, bias, m, f).
    """

    def __init__(
        self, model: StageModel, members: dict[str, np.ndarray], weights: np.ndarray, total: Total = log_sum
    ) -> None:
        def weighed(name: str) -> np.ndarray:
            found = -(model.tilted[name] @ weights)
            return np.where(np.isnan(found), -np.inf, found)[..., None, :] + members[name]

        self.position, self.mixer, self.ffn = weighed("position"), weighed("mixer"), weighed("ffn")
        self.norm, self.scale, prior = pairs(members["norm"], members["scale"])
        mixer = np.moveaxis(total(self.mixer)[:, self.norm, self.scale], 3, -1)  # n, o, s, bias, m, r
        ffn = np.moveaxis(total(self.ffn)[:, self.norm, self.scale], 3, -1)  # n, o, s, f, r
        self.pairs = mixer[:, :, :, :, :, None] + ffn[:, :, :, None, None] + prior[None, :, :, None, None, None]
        position = total(self.position)
        self.total = position[:, :, None, None, None, None, None] + total(self.pairs)[:, None]


def pairs(norm: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Norm, scale and log probability (o, s, r) of the pairs that are possible in a pair of contexts; the last may be impossible.

    Args:
        norm, scale: log probabilities (contexts, members).
    """
    found = {}
    for o, s in np.ndindex(len(norm), len(scale)):
        both = itertools.product(np.flatnonzero(norm[o] > -np.inf), np.flatnonzero(scale[s] > -np.inf))
        found[o, s] = [(int(n), int(c), norm[o, n] + scale[s, c]) for n, c in both]
    most = max(1, *map(len, found.values()))
    shape = (len(norm), len(scale), most)
    numbers, chances = np.zeros((2, *shape), np.intp), np.full(shape, -np.inf)
    for place, options in found.items():
        for r, (n, c, chance) in enumerate(options):
            numbers[(0, *place, r)], numbers[(1, *place, r)], chances[(*place, r)] = n, c, chance
    return numbers[0], numbers[1], chances


def _times(count: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """count * logs, 0 where the count is 0."""
    with np.errstate(invalid="ignore"):
        return np.where(count == 0, 0.0, count * logs)


class StageTilt:
    """Log weights of a stage under one tilt.

    Attributes:
        contexts: (n, p, o, s, bias, m, f, d), all blocks summed.
        total: (n,).
        blocks, first: of a block, and of the one that is drawn apart, if one is.
    """

    def __init__(self, model: StageModel, prior: StagePrior, weights: np.ndarray, total: Total = log_sum) -> None:
        slots = {name: slot.members for name, slot in prior.slots.items()}
        self.blocks = Blocks(model, slots, weights, total)
        self.first = None if prior.first is None else Blocks(model, slots | prior.first, weights, total)
        self.depths = model.stage.genes.depth.values
        self.bias = np.nan_to_num(-(model.bias @ weights), nan=-np.inf)
        position, norm, mixer, ffn, scale = (prior.slots[name].contexts for name in SLOTS)
        grid = np.ix_(position, norm, scale, prior.bias, mixer, ffn)
        chances = sum(np.broadcast_to(axis, np.broadcast_shapes(*(a.shape for a in grid))) for axis in grid)
        shared = chances + self.bias[:, None, None, None, :, None, None]
        depth = self.depths if self.first is None else self.depths - 1
        sums = _times(np.maximum(depth, 0), self.blocks.total[..., None])
        if self.first is not None:
            sums = sums + np.where(self.depths == 0, -np.inf, self.first.total[..., None])
        self.contexts = shared[..., None] + sums + prior.depth
        self.total = total(self.contexts.reshape(len(self.contexts), -1))

    def of(self, node: np.ndarray, context: Context, depth: np.ndarray) -> np.ndarray:
        """Log weight of the bias and the blocks of a stage, given its context, without the context's probability."""
        p, o, s, b, m, f = context[:-1]
        bias = b if self.blocks.total.shape[4] > 1 else np.zeros_like(b)
        found = self.bias[node, b]
        if self.first is not None:
            found = found + self.first.total[node, p, o, s, bias, m, f]
            depth = depth - 1
        return found + _times(depth, self.blocks.total[node, p, o, s, bias, m, f])


class Model:
    """A space as its tilts see it.

    Args:
        costs: additive costs; all units are counted.
    """

    def __init__(self, costs: SpaceCosts) -> None:
        self.costs = costs
        self.stages = [StageModel(costs, stage) for stage in costs.stages]
        self.head = costs.head.values.reshape(len(costs.last), -1, len(costs.names))
        self.slack = sum((stage.slack for stage in self.stages), np.zeros(len(costs.names)))
        self.least_chance = -float(np.log(costs.genes.sizes).sum())

    @property
    def prior(self) -> "Prior":
        """Of `SearchSpace.sample`: every gene uniform."""
        return Prior(tuple(stage.prior for stage in self.stages), self.costs.genes.head.log_prior)


class Tilt:
    """The members of a space, drawn with probabilities proportional to p(x) exp(-weights . costs).

    Args:
        weights: one per cost.
        total: `greatest` weighs each entry by its best member instead of by all.

    Attributes:
        log_total: log Z, without the costs' base.
    """

    def __init__(self, model: Model, prior: Prior, weights: np.ndarray, total: Total = log_sum) -> None:
        self.model, self.prior, self.weights = model, prior, weights
        self.stages = [StageTilt(*pair, weights, total) for pair in zip(model.stages, prior.stages, strict=True)]
        self.head = np.nan_to_num(-(model.head @ weights), nan=-np.inf)
        after = total(self.head + prior.head)
        self.entries: list[np.ndarray] = []
        for stage, drawn, chances in zip(reversed(model.stages), reversed(self.stages), reversed(prior.stages), strict=True):  # fmt: skip
            own = np.nan_to_num(-(stage.embedding @ weights), nan=-np.inf)
            entries = own + chances.width[:, None] + chances.embedding + (drawn.total + after)[stage.to]
            self.entries.insert(0, entries.reshape(len(entries), -1))
            after = total(self.entries[0])
        self.log_total = float(after[0])


def least(model: Model, prior: Prior, weights: np.ndarray) -> float:
    """The least that weights . costs of a member with a probability above 0 can be as tilts see costs, without the costs' base; infinity
    where each has a unit of unknown cost.
    """
    return -Tilt(model, prior.possible, weights, greatest).log_total

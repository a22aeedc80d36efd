"""Architectures drawn under tilts (`search_spaces.tilting`): first everything but the members of blocks, the skeletons, then the blocks.

Notation of axes as there.
"""

from typing import NamedTuple

import numpy as np

from search_spaces.architecture import SLOTS
from search_spaces.genes import GeneMatrix, SlotGenes
from search_spaces.tilting import Blocks, Context, StageModel, Tilt


class Lottery:
    """Draws from many discrete distributions at once.

    Args:
        weights: logarithms, not normalised (..., outcomes).
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.outcomes = weights.shape[-1]
        flat = weights.reshape(-1, self.outcomes)
        most = flat.max(axis=1, keepdims=True)
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.exp(flat - np.where(np.isfinite(most), most, 0.0)).cumsum(axis=1)
            sums /= sums[:, -1:]
        # One ascending line: row r takes the interval from r to r + 1, and is found by bisection. An empty row is never asked for.
        self.line = (np.nan_to_num(sums, nan=1.0) + np.arange(len(flat))[:, None]).ravel()

    def draw(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """An outcome of each row's distribution; rows are numbered in the order of the weights."""
        if self.outcomes == 1:
            return np.zeros(len(rows), np.intp)
        # A little below 1, so that rounding never reaches the next row.
        found = np.searchsorted(self.line, rows + rng.random(len(rows)) * (1 - 1e-9), side="right")
        return found - rows * self.outcomes


class Skeleton(NamedTuple):
    """Everything of some architectures but their blocks' members: for each stage the entry of its embedding, its node and its context."""

    entries: list[np.ndarray]
    nodes: list[np.ndarray]
    contexts: list[Context]
    head: np.ndarray

    def take(self, rows: np.ndarray) -> "Skeleton":
        """Those of some rows."""
        contexts = [Context(*(axis[rows] for axis in context)) for context in self.contexts]
        return Skeleton([e[rows] for e in self.entries], [n[rows] for n in self.nodes], contexts, self.head[rows])


class Drawn(NamedTuple):
    """Drawn architectures.

    Args:
        skeleton: of each.
        rows: for each stage, the architecture of each block, ascending.
        members: for each stage, the member by slot of each block.
        costs: (architectures, names), without the base.
        weighed: the same as the tilts see them.
    """

    skeleton: Skeleton
    rows: list[np.ndarray]
    members: list[dict[str, np.ndarray]]
    costs: np.ndarray
    weighed: np.ndarray


class TiltedSampler:
    """Draws architectures under tilts.

    Args:
        tilts: of the same model and prior. The first one draws skeletons, and each draws the blocks of those that it suits best.
    """

    def __init__(self, tilts: list[Tilt]) -> None:
        self.tilts, self.model, self.prior = tilts, tilts[0].model, tilts[0].prior
        self.entries = [Lottery(entries) for entries in tilts[0].entries]
        self.contexts = [Lottery(stage.contexts.reshape(len(stage.contexts), -1)) for stage in tilts[0].stages]
        self.head = Lottery(tilts[0].head + self.prior.head)
        self.late = [
            {(name, option): Lottery(chances) for name, slot in stage.slots.items() for option, chances in slot.late.items()}
            for stage in self.prior.stages
        ]  # fmt: skip
        self.blocks = [_BlockSampler([t.stages[s].blocks for t in tilts]) for s in range(len(self.model.stages))]
        self.firsts: list[_BlockSampler | None] = []
        for s in range(len(self.model.stages)):
            firsts = [first for tilt in tilts if (first := tilt.stages[s].first) is not None]
            self.firsts.append(_BlockSampler(firsts) if firsts else None)

    def skeletons(self, count: int, rng: np.random.Generator) -> Skeleton:
        """Skeletons as the first tilt weighs them."""
        node = np.zeros(count, np.intp)
        entries, nodes, contexts = [], [], []
        for s, model in enumerate(self.model.stages):
            entry = node * self.entries[s].outcomes + self.entries[s].draw(node, rng)
            node = model.to.reshape(-1)[entry]
            context = self.contexts[s].draw(node, rng)
            shape = self.tilts[0].stages[s].contexts.shape[1:]
            p, o, c, b, m, f, d = np.unravel_index(context, shape)
            entries.append(entry)
            nodes.append(node)
            contexts.append(Context(p, o, c, b, m, f, d))
        return Skeleton(entries, nodes, contexts, self.head.draw(node, rng))

    def log_weights(self, skeleton: Skeleton) -> np.ndarray:
        """Log weight of each skeleton under each tilt (tilts, skeletons), without its probability."""
        found = -(self._fixed(skeleton) @ np.array([tilt.weights for tilt in self.tilts]).T).T
        for s, (node, context) in enumerate(zip(skeleton.nodes, skeleton.contexts, strict=True)):
            depth = self.model.stages[s].stage.genes.depth.values[context.depth]
            for t, tilt in enumerate(self.tilts):
                found[t] += tilt.stages[s].of(node, context, depth)
        return found

    def _fixed(self, skeleton: Skeleton) -> np.ndarray:
        """Costs of the embeddings and the head (architectures, names)."""
        found = self.model.head[skeleton.nodes[-1], skeleton.head]
        for model, entry in zip(self.model.stages, skeleton.entries, strict=True):
            found = found + model.embedding.reshape(-1, found.shape[1])[entry]
        return found

    def fill(self, skeleton: Skeleton, tilt: np.ndarray, rng: np.random.Generator) -> Drawn:
        """Draws the blocks of skeletons.

        Args:
            tilt: by which each is filled (architectures,).
        """
        costs, rows, members = self._fixed(skeleton), [], []
        weighed = costs
        for s, (node, context) in enumerate(zip(skeleton.nodes, skeleton.contexts, strict=True)):
            model = self.model.stages[s]
            depth = model.stage.genes.depth.values[context.depth]
            row = np.repeat(np.arange(len(node)), depth)
            first = np.arange(len(row)) == np.repeat(np.cumsum(depth) - depth, depth)
            found = {name: np.zeros(len(row), np.intp) for name in SLOTS}
            apart = self.firsts[s]
            for sampler, here in ((self.blocks[s], ~first), (apart, first)) if apart else ((self.blocks[s], None),):
                own = row if here is None else row[here]
                drawn = sampler.draw(tilt[own], node[own], Context(*(axis[own] for axis in context)), rng)
                for name, numbers in drawn.items():
                    found[name][slice(None) if here is None else here] = numbers
            for (name, (part, option)), lottery in self.late[s].items():
                value = lottery.draw(np.zeros(len(node), np.intp), rng)
                _give(model.stage.genes.slots[name], part, option, found[name], value[row])
            bias = model.bias[node, context.bias]
            real = bias + self._of_blocks(model, model.costs, node, row, context.bias, found)
            seen = bias + self._of_blocks(model, model.tilted, node, row, context.bias, found) if model.slack.any() else real  # fmt: skip
            costs, weighed = costs + real, weighed + seen
            rows.append(row)
            members.append(found)
        return Drawn(skeleton, rows, members, costs, weighed)

    @staticmethod
    def _of_blocks(
        model: StageModel, costs: dict[str, np.ndarray], node: np.ndarray, row: np.ndarray, bias: np.ndarray, members: dict[str, np.ndarray]
    ) -> np.ndarray:  # fmt: skip
        """Costs of all blocks of a stage (architectures, names)."""
        at, norm, scale = node[row], members["norm"], members["scale"]
        given = bias[row] if model.bias_matters else np.zeros_like(row)
        found = costs["mixer"][at, norm, scale, given, members["mixer"]]
        found += costs["ffn"][at, norm, scale, members["ffn"]]
        found += costs["position"][at, members["position"]]
        return np.stack([np.bincount(row, cost, len(node)) for cost in found.T], axis=1)


def _give(genes: SlotGenes, part: int, option: int, members: np.ndarray, values: np.ndarray) -> None:
    """Gives an option of a part the values of its stage, in place."""
    here = np.flatnonzero(genes.part_of[members] == part)
    own = genes.value(part, option, members[here])
    members[here] += (values[here] - own) * genes.strides[part][option]


class _BlockSampler:
    """Draws the members of blocks under several tilts."""

    def __init__(self, blocks: list[Blocks]) -> None:
        self.norm, self.scale = blocks[0].norm, blocks[0].scale
        weights = {name: np.stack([getattr(b, name) for b in blocks]) for name in ("position", "mixer", "ffn", "pairs")}
        self.shapes = {name: array.shape[:-1] for name, array in weights.items()}
        self.lotteries = {name: Lottery(array) for name, array in weights.items()}

    def draw(
        self, tilt: np.ndarray, node: np.ndarray, context: Context, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """The member of each slot of blocks; arguments are of the same length."""
        p, o, s, b, m, f, _ = context
        bias = b if self.shapes["mixer"][4] > 1 else np.zeros_like(b)

        def one(name: str, *place: np.ndarray) -> np.ndarray:
            return self.lotteries[name].draw(np.ravel_multi_index(place, self.shapes[name]), rng)

        pair = one("pairs", tilt, node, o, s, bias, m, f)
        norm, scale = self.norm[o, s, pair], self.scale[o, s, pair]
        return {
            "position": one("position", tilt, node, p), "norm": norm, "scale": scale,
            "mixer": one("mixer", tilt, node, norm, scale, bias, m), "ffn": one("ffn", tilt, node, norm, scale, f),
        }  # fmt: skip


def genes_of(matrix: GeneMatrix, drawn: Drawn, kept: np.ndarray) -> np.ndarray:
    """Genes (kept, genes) of drawn architectures as `SearchSpace.encode` gives them, but -1 where a gene does not matter.

    Args:
        kept: whether each architecture is wanted.
    """
    found = np.full((int(kept.sum()), len(matrix.sizes)), -1, matrix.dtype)
    place, every = np.cumsum(kept) - 1, np.arange(len(found))
    first = np.zeros(len(found), np.intp)
    for genes, entry, context, row, members in zip(
        matrix.stages, drawn.skeleton.entries, drawn.skeleton.contexts, drawn.rows, drawn.members, strict=True
    ):
        width, embedding = np.divmod(entry[kept], len(genes.embedding.members))
        genes.width.write(found, width % len(genes.width.values))
        genes.depth.write(found, context.depth[kept])
        genes.embedding.write(found, every, first, embedding)
        genes.bias.write(found, every, first, context.bias[kept])
        depth = genes.depth.values[context.depth]
        blocks = np.arange(len(row)) - np.repeat(np.cumsum(depth) - depth, depth)
        here = kept[row]
        for name, slot in genes.slots.items():
            slot.write(found, place[row[here]], blocks[here], members[name][here])
    matrix.head.write(found, every, first, drawn.skeleton.head[kept])
    return found

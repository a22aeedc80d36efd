"""Members within limits on additive costs, drawn by accepting or rejecting what a tilted distribution proposes."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from search_spaces.priors import Prior
from search_spaces.tilted import Drawn, TiltedSampler, genes_of
from search_spaces.tilting import EmptyError, Model, Tilt, least

PROPOSALS = 400_000
"""Skeletons that are drawn in a row without a member within the limits, before the search is given up."""

CHECKS = 2_000
"""Members in a row that fulfil the limits of additive costs and not the others, before the search is given up."""

SHARP = 1e6
"""Of a weight that leaves little but the extreme of a cost: the reciprocal of the relative error."""

PILOT = 256
"""Architectures from which a tilt is improved."""

ROUND = 32_768
"""Skeletons that are drawn at a time, at most."""

RATE = 0.1
"""Members that are expected for each skeleton, where that is not tried."""


class Proposals:
    """Draws within limits on additive costs.

    Args:
        model: of the space and its costs.
        prior: of the choices.
        low, high: one per cost, without the costs' base; minus and plus infinity where there is no limit.
        accept: whether members (genes) are within all limits, exactly.
        start: weights of a similar tilt, from which the search for this one starts; then it is made for few draws.
        patience: skeletons that are drawn in a row without a member within the limits, before it is given up.

    Raises:
        EmptyError: no member is within the limits, which is proven.
    """

    def __init__(
        self, model: Model, prior: Prior, low: np.ndarray, high: np.ndarray, accept: Callable[[np.ndarray], np.ndarray],
        start: np.ndarray | None = None, patience: int = PROPOSALS,
    ) -> None:  # fmt: skip
        self.model, self.prior, self.low, self.high, self.accept = model, prior, low, high, accept
        self.patience = patience
        self.size = np.where(np.isfinite(high), np.abs(high), 0) + np.where(np.isfinite(low), np.abs(low), 0)
        self.margin = 1e-9 * self.size  # sums in another order may differ so much; `accept` decides
        rng = np.random.default_rng(0)
        self._prove()
        tilt = self._tune(np.zeros(len(low)) if start is None else start, rng)
        others = self._others(tilt, rng) if start is None else []
        tilts = [tilt, *(Tilt(model, prior, weights) for weights in others)]
        self.sampler, self.weights = TiltedSampler(tilts), tilt.weights
        self.tops = np.array([self._top(tilt.weights) for tilt in tilts])
        self.log_bound = tilt.log_total + float(self.tops[0])
        # Measured once, by a generator of its own, so that what is drawn depends on nothing but the generator that is given.
        self.rate = RATE if start is not None else (len(self._round(PILOT, rng)[0]) + 1) / (PILOT + 1)

    def _top(self, weights: np.ndarray) -> float:
        """The largest that weights . costs can be within the limits."""
        with np.errstate(invalid="ignore"):
            ends = np.maximum(weights * self.low, weights * self.high)
        return float(np.where(weights == 0, 0, ends).sum() + np.abs(weights) @ (self.model.slack + self.margin))

    def _bound(self, tilt: Tilt) -> float:
        """An upper bound of the log probability of the limits."""
        return tilt.log_total + self._top(tilt.weights)

    def _prove(self) -> None:
        """Raises EmptyError where the least or the most of one cost is outside its limits."""
        for i, sign in itertools.product(range(len(self.low)), (1, -1)):
            limit = self.high[i] if sign == 1 else -self.low[i]
            if limit < math.inf:
                weights = np.zeros(len(self.low))
                weights[i] = sign
                extreme = least(self.model, self.prior, weights)
                if extreme == math.inf:  # every member has a unit of unknown cost
                    raise EmptyError(True, np.empty(0))
                if extreme - self.model.slack[i] > limit + self.margin[i]:
                    sharp = SHARP * max(1.0, -self.model.least_chance) / max(abs(extreme), abs(limit))
                    tilt = Tilt(self.model, self.prior, weights * sharp)
                    raise EmptyError(True, self._nearest(self._pilot(tilt, np.random.default_rng(0)))[1])

    def _tune(self, weights: np.ndarray, rng: np.random.Generator) -> Tilt:
        """The tilt of about the least bound, by Newton's method on the costs of a few draws; also the proof that nothing is there."""
        tilt = Tilt(self.model, self.prior, weights)
        if tilt.log_total == -math.inf:
            raise EmptyError(True, np.empty(0))
        bound = self._bound(tilt)
        if bound == math.inf:  # of a start that pulls where there is no limit
            return self._tune(np.zeros(len(weights)), rng)
        for _ in range(40):
            costs = self._pilot(tilt, rng).weighed
            wanted = self._newton(tilt.weights, costs)
            better = None
            for halving in range(12):
                trial = Tilt(self.model, self.prior, tilt.weights + (wanted - tilt.weights) / 2**halving)
                if self._bound(trial) < bound - 1e-3:
                    better = trial
                    break
            if better is None:
                break
            gain, tilt, bound = bound - self._bound(better), better, self._bound(better)
            if bound < self.model.least_chance - 1e-6:
                raise EmptyError(True, self._nearest(self._pilot(tilt, rng))[1])
            if gain < 0.1:
                break
        return tilt

    def _pilot(self, tilt: Tilt, rng: np.random.Generator) -> Drawn:
        sampler = TiltedSampler([tilt])
        return sampler.fill(sampler.skeletons(PILOT, rng), np.zeros(PILOT, np.intp), rng)

    def _newton(self, weights: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Weights of least bound, in its second-order approximation where these costs were drawn; one coordinate after another."""
        scale = np.abs(costs).mean(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        spread = np.atleast_2d(np.cov(costs / scale, rowvar=False)) + 1e-6 * np.eye(len(weights))
        slope, low, high = -costs.mean(axis=0) / scale, self.low / scale, self.high / scale
        begin = weights * scale
        found = begin.copy()
        for _ in range(30):
            for i in range(len(found)):
                pull = slope[i] + spread[i] @ (found - begin) - spread[i, i] * (found[i] - begin[i])
                up = begin[i] - (pull + high[i]) / spread[i, i]
                down = begin[i] - (pull + low[i]) / spread[i, i]
                found[i] = up if up > 0 else down if down < 0 else 0.0
        return found / scale

    def _others(self, tilt: Tilt, rng: np.random.Generator) -> list[np.ndarray]:
        """Weights of tilts for skeletons whose blocks have to be cheaper or costlier than usual to come within the limits."""
        sampler = TiltedSampler([tilt])
        skeletons = sampler.skeletons(PILOT, rng)
        one, other = (sampler.fill(skeletons, np.zeros(PILOT, np.intp), rng).weighed for _ in range(2))
        spread = np.sqrt(((one - other) ** 2).mean(axis=0) / 2)
        moves = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0)
        moves = np.where(np.isfinite(self.low) | np.isfinite(self.high), moves, 0)
        count = int((moves > 0).sum())
        if count == 1:
            steps = [np.array([step]) * moves for step in (-3, -2, -1.2, -0.6, 0.6, 1.2, 2, 3)]
        elif count == 2:
            grid = [np.zeros(1) if move == 0 else np.array([-2, -0.8, 0, 0.8, 2]) for move in moves]
            steps = list(np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, len(moves)) * moves)
        else:
            steps = [step * np.eye(len(moves))[i] * moves for i in np.flatnonzero(moves) for step in (-2, -0.8, 0.8, 2)]
        # Where there is no limit from below, nothing is gained by favouring what costs much; and the other way round.
        ends = np.where(np.isfinite(self.low), -np.inf, 0.0), np.where(np.isfinite(self.high), np.inf, 0.0)
        trials = {tuple(np.clip(tilt.weights + step, *ends).tolist()): None for step in steps}
        return [np.array(weights) for weights in trials if weights != tuple(tilt.weights.tolist())]

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Genes (count, genes) of members within the limits, -1 where a gene does not matter; fewer where the search was given up.

        Raises:
            EmptyError: it was given up before any was found.
        """
        found = [np.empty((0, len(self.model.costs.genes.sizes)), self.model.costs.genes.dtype)]
        nearest = (math.inf, np.empty(0))
        number = idle = refused = 0
        rate = self.rate
        while number < count and idle < self.patience and refused < CHECKS:
            size = int(min(ROUND, max(PILOT, 1.2 * (count - number) / rate)))
            genes, closest = self._round(size, rng)
            kept = genes[self.accept(genes)] if len(genes) else genes
            nearest = min(nearest, closest, key=lambda pair: pair[0])
            idle = 0 if len(kept) else idle + size
            refused = 0 if len(kept) else refused + len(genes)
            rate = max(1e-4, (rate + len(kept) / size) / 2)
            found.append(kept)
            number += len(kept)
        if count and not number:
            raise EmptyError(False, nearest[1])
        return np.concatenate(found)[:count]

    def _round(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, np.ndarray]]:
        """Genes of those of so many proposals that are accepted, and of all of them what `_nearest` says."""
        skeletons = self.sampler.skeletons(size, rng)
        bounds = self.sampler.log_weights(skeletons) + self.tops[:, None]
        best = bounds.argmin(axis=0)
        # A skeleton whose blocks cannot bring it within the limits has a lower bound than the one that it was drawn by.
        thinned = np.log(rng.random(size)) < bounds[best, np.arange(size)] - bounds[0]
        chosen, tilt = skeletons.take(np.flatnonzero(thinned)), best[thinned]
        drawn = self.sampler.fill(chosen, tilt, rng)
        weights = np.array([tilt.weights for tilt in self.sampler.tilts])
        logs = (drawn.weighed * weights[tilt]).sum(axis=1) - self.tops[tilt]
        inside = ((drawn.costs >= self.low - self.margin) & (drawn.costs <= self.high + self.margin)).all(axis=1)
        accepted = inside & (np.log(rng.random(len(tilt))) < logs)
        return genes_of(self.model.costs.genes, drawn, accepted), self._nearest(drawn)

    def _nearest(self, drawn: Drawn) -> tuple[float, np.ndarray]:
        """How far the nearest of some architectures is from the limits, relative to them, and its genes."""
        if not len(drawn.costs):
            return math.inf, np.empty(0)
        with np.errstate(invalid="ignore"):
            apart = np.maximum(drawn.costs - self.high, self.low - drawn.costs) / (self.size + 1e-300)
        apart = np.where(np.isnan(apart), np.inf, apart).max(axis=1)
        least = np.zeros(len(apart), bool)
        least[apart.argmin()] = True
        return float(apart.min()), genes_of(self.model.costs.genes, drawn, least)[0]


class Mixture(Proposals):
    """Draws within limits where the stages share choices: proposals for each combination of the shared choices, in such shares that what
    is accepted has the distribution of the whole.

    Of `Proposals`, one combination c accepts a member x with probability p(x | c) / M(c), so that combinations have to be proposed
    with probabilities proportional to p(c) M(c).

    Args:
        parts: what draws for each combination.
        chances: log probability of each combination.
    """

    def __init__(self, parts: list[Proposals], chances: list[float]) -> None:
        self.parts, first = parts, parts[0]
        self.model, self.accept, self.patience = first.model, first.accept, first.patience
        logs = np.array([chance + part.log_bound for chance, part in zip(chances, parts, strict=True)])
        shares = np.exp(logs - logs.max())
        self.shares = shares / shares.sum()
        self.weights = parts[int(shares.argmax())].weights
        self.rate = float(self.shares @ [part.rate for part in parts])

    def _round(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, tuple[float, np.ndarray]]:
        found = []
        for part, count in zip(self.parts, rng.multinomial(size, self.shares).tolist(), strict=True):
            if count:
                found.append(part._round(count, rng))
        genes = np.concatenate([genes for genes, _ in found])
        return genes[rng.permutation(len(genes))], min((near for _, near in found), key=lambda pair: pair[0])

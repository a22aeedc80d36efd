"""Members of a space whose costs lie within limits, drawn without unbounded trial and error.

    sampler = FeasibleSampler(space, [("macs", 3e6, 4e6), ("params", 0, 80_000)])
    genes = sampler.sample_many(10_000, np.random.default_rng(0))       # (10_000, genes), as SearchSpace.encode gives them
    arch = sampler.sample(np.random.default_rng(0))

What is drawn has exactly the distribution of `SearchSpace.sample` given that the limits hold. Proposals come from that distribution tilted
towards the limits (`search_spaces.tilting`), with an acceptance rule that takes the tilt out again. A tilt is chosen anew for each
skeleton, that is everything but the members of its blocks, so that most proposals land near the limits. Costs that do not add up over
units are checked on what fulfils the other limits.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable
from random import Random

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.costs import Cost, cost_named
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.covering import FORCED, covered
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.space import SearchSpace
from search_spaces.tilted import Drawn, TiltedSampler, genes_of
from search_spaces.tilting import EmptyError, Model, Prior, Tilt, least

Limit = tuple[str, float, float]
"""Name of a cost, and the least and the most that it may be."""

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

NO_LIMIT = ("params",)
"""What is counted where there is no limit on an additive cost, and nothing to tilt by."""

FORCED_PROPOSALS = 60_000
"""The same as `PROPOSALS`, for one choice that a sample lacks and for the ends of a range."""

RATE = 0.1
"""Members that are expected for each skeleton, where that is not tried."""

BANDS = 10
"""Of equal width, of a stratified sample."""

END = 0.02
"""Share of the range of a cost within limits up to which its ends are found."""


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


class FeasibleSampler:
    """Draws members of a space within limits.

    Args:
        space: complete (`search_spaces.named.load_space`).
        limits: on costs by name; at least one. Several limits on one cost hold together.
        progress: is told how much of the space is counted, and of how much.

    Attributes:
        without: what the last covering sample lacks: name of the gene, number of its choice, and whether it is proven that no member
            within the limits has it. What is not proven was not found in bounded attempts.

    Raises:
        InputError: no limit, an unknown cost, or a least value that is above the most.
    """

    def __init__(
        self, space: SearchSpace, limits: Iterable[Limit], progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.space, self.progress = space, progress
        self.limits = _joined(limits)
        costs = {name: cost_named(name) for name in self.limits}
        self.additive = [name for name, cost in costs.items() if cost.additive is not None]
        self.others: dict[str, Cost] = {name: cost for name, cost in costs.items() if cost.additive is None}
        self._models: dict[tuple[str, ...], Model] = {}
        self._proposals: dict[tuple[tuple[str, float, float], ...], Proposals] = {}
        self._cut: dict[str, list[dict[str, tuple[float, float]]]] = {}
        self.without: list[tuple[str, int, bool]] = []

    def _model(self, names: tuple[str, ...]) -> Model:
        if names not in self._models:
            costs = SpaceCosts(self.space, names)
            costs.count_all(self.progress)
            self._models[names] = Model(costs)
        return self._models[names]

    def proposals(
        self, limits: dict[str, tuple[float, float]], prior: Prior | None = None, start: np.ndarray | None = None, patience: int = PROPOSALS
    ) -> Proposals:  # fmt: skip
        """What draws within limits.

        Args:
            limits: on additive costs; this sampler's on the others hold, too.
            prior: of the choices, if it is not that of `SearchSpace.sample`.
            start: weights of a similar tilt, for a few draws.
            patience: skeletons in a row without a member, before it is given up.

        Raises:
            EmptyError: there is nothing within them.
        """
        names = tuple(limits) or NO_LIMIT
        model = self._model(names)
        low, high = np.array([limits.get(name, (0.0, math.inf)) for name in names]).T
        low = np.where(low > 0, low, -math.inf)  # costs are at least 0, also where the sum over units is not
        low, high = low - model.costs.base, high - model.costs.base

        def accept(genes: np.ndarray) -> np.ndarray:
            return self._accepted(model.costs, limits, genes)

        return Proposals(model, prior or model.prior, low, high, accept, start, patience)

    def _accepted(self, costs: SpaceCosts, limits: dict[str, tuple[float, float]], genes: np.ndarray) -> np.ndarray:
        """Whether members (n, genes) are within the limits."""
        genes = np.maximum(genes, 0)
        found, kept = costs.costs(genes), np.ones(len(genes), bool)
        for name, (low, high) in limits.items():
            kept &= (found[name] >= low) & (found[name] <= high)
        for row in np.flatnonzero(kept) if self.others else ():
            arch = self.space.decode(tuple(genes[row].tolist()))
            for name, cost in self.others.items():
                value = cost(arch)
                kept[row] &= value is not None and self.limits[name][0] <= value <= self.limits[name][1]
        return kept

    def _drawn_by(self, limits: dict[str, tuple[float, float]]) -> Proposals:
        key = tuple((name, *ends) for name, ends in limits.items())
        if key not in self._proposals:
            self._proposals[key] = self.proposals(limits)
        return self._proposals[key]

    def sample_many(
        self, count: int, rng: np.random.Generator, stratified_by: str | None = None, cover: bool = False
    ) -> np.ndarray:
        """Members within the limits, independent of one another.

        Args:
            count: of members.
            stratified_by: an additive cost. The range that it has within the limits is cut into `BANDS` of equal width, and each band
                that has members gets an equal number of them.
            cover: put members in the places of others, so that every choice of every gene is there that some member within the
                limits has. Where `count` is too small for that, there are more.

        Returns:
            Genes (count, genes), as `SearchSpace.encode` gives them.

        Raises:
            InputError: `stratified_by` is no additive cost, or fewer members were found before the search was given up.
            OutsideBudget: no member within the limits was found.
        """
        own = {name: self.limits[name] for name in self.additive}
        try:
            if stratified_by is None:
                found = self._drawn_by(own).draw(count, rng)
            else:
                found = self._stratified(count, rng, stratified_by, own)
            if len(found) < count:
                raise _too_few(len(found), count)
            if cover:
                found = self._covered(found, rng, own)
        except EmptyError as error:
            raise OutsideBudget(self._decoded(error.nearest)) from None
        return self._canonical(np.maximum(found, 0))

    def _canonical(self, genes: np.ndarray) -> np.ndarray:
        """For each member the gene vector that stands for all of the same function."""
        if self.space.functions is None:
            return genes
        rows = [self.space.encode(self.space.decode(tuple(row))) for row in genes.tolist()]
        return np.array(rows, genes.dtype).reshape(genes.shape)

    def sample(self, rng: np.random.Generator | Random) -> Architecture:
        """One member within the limits. Raises as `sample_many`."""
        generator = np.random.default_rng(rng.getrandbits(64)) if isinstance(rng, Random) else rng
        return self._decoded(self.sample_many(1, generator)[0])

    def _decoded(self, genes: np.ndarray) -> Architecture:
        """The architecture of genes, of the first choices where there are none."""
        chosen = np.maximum(genes, 0) if len(genes) else np.zeros(len(self.space.genes), np.intp)
        return self.space.decode(tuple(chosen.tolist()))

    def _stratified(
        self, count: int, rng: np.random.Generator, name: str, own: dict[str, tuple[float, float]]
    ) -> np.ndarray:
        if cost_named(name).additive is None:
            raise InputError(f"cost {name} does not add up over the steps of a network", "an additive cost", "macs")
        bands = self._bands(name, {name: (0.0, math.inf)} | own)
        share, more = divmod(count, len(bands))
        found = [np.empty((0, len(self.space.genes)), np.intp)]
        for number, band in enumerate(bands):
            with contextlib.suppress(EmptyError):  # given up this time: there are too few, not none
                found.append(self._drawn_by(band).draw(share + (number < more), rng))
        return np.concatenate(found)

    def _bands(self, name: str, limits: dict[str, tuple[float, float]]) -> list[dict[str, tuple[float, float]]]:
        """The limits of each band of a cost that has members; the outermost ones reach to the cost's own limits."""
        if name not in self._cut:
            rng = np.random.default_rng(0)
            inner = np.unique(np.linspace(*self._range(name, limits, rng), BANDS + 1))[1:-1].tolist()
            lows = [limits[name][0], *inner]
            highs = [*(math.nextafter(edge, -math.inf) for edge in inner), limits[name][1]]
            found, empty = [], None
            for low, high in zip(lows, highs, strict=True):
                try:
                    self._drawn_by(limits | {name: (low, high)}).draw(1, rng)
                    found.append(limits | {name: (low, high)})
                except EmptyError as error:
                    empty = error
            if empty is not None and not found:
                raise empty
            self._cut[name] = found
        return self._cut[name]

    def _range(
        self, name: str, limits: dict[str, tuple[float, float]], rng: np.random.Generator
    ) -> tuple[float, float]:
        """The least and the most of an additive cost within limits: exact where it alone is limited, else those of members that are found.

        Members are sought in the half of what is left that is farther out, until little is left.
        """
        costs = self._model(tuple(limits)).costs
        drawn = self._drawn_by(limits).draw(PILOT, rng)
        lowest, highest = self._ends(name, limits)
        if len(limits) == 1 and not self.others:
            return lowest, highest
        values = costs.costs(np.maximum(drawn, 0))[name]
        ends = [float(values.min()), float(values.max())]
        for side, bound in enumerate((lowest, highest)):
            while abs(bound - ends[side]) > END * (ends[1] - ends[0]) + 1e-9 * abs(bound):
                middle = (bound + ends[side]) / 2
                try:
                    half = limits | {name: (min(middle, bound), max(middle, bound))}
                    drawn = self.proposals(half, patience=FORCED_PROPOSALS).draw(FORCED, rng)
                    values = costs.costs(np.maximum(drawn, 0))[name]
                    ends[side] = float(values.max() if side else values.min())
                except EmptyError:
                    bound = middle
        return ends[0], ends[1]

    def _covered(self, genes: np.ndarray, rng: np.random.Generator, own: dict[str, tuple[float, float]]) -> np.ndarray:
        model = self._model(tuple(own) or NO_LIMIT)
        start = self._drawn_by(own).weights

        def draw(prior: Prior, count: int) -> np.ndarray:
            return self.proposals(own, prior, start, FORCED_PROPOSALS).draw(count, rng)

        def accept(genes: np.ndarray) -> np.ndarray:
            return self._accepted(model.costs, own, genes)

        found, self.without = covered(genes, model.prior, model.costs.genes, draw, accept)
        return found

    def _ends(self, name: str, limits: dict[str, tuple[float, float]]) -> tuple[float, float]:
        """The least and the most of an additive cost in the space, cut off at its own limits."""
        model = self._model(tuple(limits))
        at = model.costs.names.index(name)
        weights = (np.arange(len(model.costs.names)) == at).astype(float)
        base, slack = float(model.costs.base[at]), float(model.slack[at])
        lowest = least(model, model.prior, weights) - slack + base
        highest = -least(model, model.prior, -weights) + slack + base
        return max(lowest, limits[name][0]), min(highest, limits[name][1])


def _too_few(found: int, count: int) -> InputError:
    return InputError(
        f"only {found} of {count} networks within the limits were found",
        "limits that more networks are within, or fewer networks",
        f"{found} networks",
    )


def _joined(limits: Iterable[Limit]) -> dict[str, tuple[float, float]]:
    """Limits by the name of the cost.

    Raises:
        InputError: there is none, or one that nothing can fulfil.
    """
    found: dict[str, tuple[float, float]] = {}
    for name, low, high in limits:
        if math.isnan(low) or math.isnan(high) or high < 0:
            raise InputError(f"the limits of {name} are {low} to {high}", "numbers from 0 up", f"{name} from 0 to 1e6")
        before = found.get(name, (0.0, math.inf))
        low, high = max(low, before[0]), min(high, before[1])
        if not low <= high:
            raise InputError(
                f"the limits of {name} are {low:g} to {high:g}", "a least value that is not above the most", f"{name} from {high:g} to {low:g}"
            )  # fmt: skip
        found[name] = (low, high)
    if not found:
        raise InputError("no limit is given", "at least one limit on a cost", "SearchSpace.sample, which needs none")
    return found


__all__ = ["BANDS", "EmptyError", "FeasibleSampler", "Limit", "Proposals"]

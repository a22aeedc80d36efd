"""Members of a space whose costs lie within limits, drawn without unbounded trial and error.

    sampler = FeasibleSampler(space, [("macs", 3e6, 4e6), ("params", 0, 80_000)])
    genes = sampler.sample_many(10_000, np.random.default_rng(0))       # (10_000, genes), as SearchSpace.encode gives them
    arch = sampler.sample(np.random.default_rng(0))

Samples have exactly the distribution of `SearchSpace.sample`, given that the limits hold. Proposals come from that distribution tilted
towards the limits (`search_spaces.tilting`), and an acceptance rule removes the tilt again. Each skeleton, that is everything except the
choices inside blocks, has its own tilt, so that most proposals are near the limits. Costs that do not add up over units are checked on
proposals that keep the other limits.
"""

import contextlib
import math
from collections.abc import Callable, Iterable
from random import Random

import numpy as np

from search_spaces.architecture import Architecture
from search_spaces.costs import Cost, cost_named
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.covering import FORCED, covered
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.priors import Prior
from search_spaces.proposals import PILOT, PROPOSALS, Mixture, Proposals
from search_spaces.sharing import shared_choices
from search_spaces.space import SearchSpace
from search_spaces.tilting import EmptyError, Model, least

Limit = tuple[str, float, float]
"""Name of a cost, and the least and the most that it may be."""

NO_LIMIT = ("params",)
"""The cost that is counted if no additive cost is limited, so that there is nothing to tilt by."""

FORCED_PROPOSALS = 60_000
"""The same as `PROPOSALS`, for one choice that a sample lacks and for the ends of a range."""

BANDS = 10
"""Bands of equal width in a stratified sample."""

END = 0.02
"""Share of the range of a cost within limits up to which its ends are found."""


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

        prior = prior or model.prior
        if not self.space.per_network:
            return Proposals(model, prior, low, high, accept, start, patience)
        parts, chances, empty = [], [], list[EmptyError]()
        for chance, given in shared_choices(model.costs.genes, prior):
            try:
                parts.append(Proposals(model, given, low, high, accept, start, patience))
                chances.append(chance)
            except EmptyError as error:
                empty.append(error)
        if not parts:
            raise EmptyError(all(error.proven for error in empty), empty[0].nearest if empty else np.empty(0))
        return Mixture(parts, chances)

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


__all__ = ["BANDS", "EmptyError", "FeasibleSampler", "Limit"]

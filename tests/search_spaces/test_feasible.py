"""Sampling within limits: the distribution, what it covers, and what happens where nothing fits."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from search_spaces import feasible, proposals, tilting
from search_spaces.costs import Additive, cost_named, register_cost, temporary_costs
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.feasible import FeasibleSampler, Limit
from search_spaces.named import check, load_space
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from search_spaces.units import Unit

# Small enough to go through all genes. The stage has ties of a part and of two options, norms by block, no blocks, and two map sizes.
TINY = """
name = "tiny"
in_channels = 1
num_classes = 3
resolution = 8
head = { part = "linear_head" }

[block]
position = [{ part = "none" }, { part = "dpe", kernel_size = 3 }]
norm = [{ part = "layer_norm" }, { part = "none" }]
mixer = [
    { part = "depthwise_conv", kernel_size = [3, 5] },
    { part = "partial_attention", head_dim = [4, 8], head_expansion = [1, 2] },
]
ffn = [{ part = "mlp", ratio = [1, 2] }]
scale = [{ part = "none" }]

[[stages]]
width = [8, 16]
depth = [0, 1, 2]
embedding = [{ part = "conv_stem", stride = [2, 4] }]
per_stage = ["position", "mixer.partial_attention.head_dim", "mixer.depthwise_conv.kernel_size"]
"""


class Known:
    """A space of which every member is known.

    Attributes:
        genes: every combination of genes; canonical: as `encode` gives them; costs: by name.
    """

    def __init__(self) -> None:
        self.space = check(SearchSpace.from_toml(TINY))
        sizes = [len(gene.choices) for gene in self.space.genes]
        self.genes = np.array(list(itertools.product(*map(range, sizes))))
        self.costs = SpaceCosts(self.space, ["macs", "params"]).costs(self.genes)
        members: dict[tuple[int, ...], tuple[int, ...]] = {}
        self.canonical = []
        columns = self.genes.tolist()
        for row in map(tuple, columns):
            # Equal in what the first genes that matter decide: encoding every combination would take long.
            key = self._matters(row)
            if key not in members:
                members[key] = self.space.encode(self.space.decode(row))
            self.canonical.append(members[key])

    def _matters(self, row: tuple[int, ...]) -> tuple[int, ...]:
        names = [gene.name for gene in self.space.genes]
        depth = row[names.index("s0.depth")]
        used = {row[names.index(f"s0.b{b}.mixer")] for b in range(depth)}
        kept = []
        for name, value in zip(names, row, strict=True):
            block = int(name[4]) if name.startswith("s0.b") else 0
            matters = block < depth or name in ("s0.width", "s0.depth", "s0.embedding.conv_stem.stride")
            for number, part in enumerate(("depthwise_conv", "partial_attention")):
                if part in name:
                    tied = not name.startswith("s0.b")
                    own = row[names.index(f"s0.b{block}.mixer")] if not tied else -1
                    matters = matters and (number in used if tied else own == number)
            kept.append(value if matters else 0)
        return tuple(kept)

    def inside(self, limits: list[Limit]) -> np.ndarray:
        """Whether each combination is within limits."""
        kept = np.ones(len(self.genes), bool)
        for name, low, high in limits:
            kept &= (self.costs[name] >= low) & (self.costs[name] <= high)
        return kept

    def expected(self, limits: list[Limit]) -> dict[tuple[int, ...], float]:
        """The probability of every member, where combinations of genes are drawn uniformly and those outside are drawn again."""
        inside = np.flatnonzero(self.inside(limits))
        counts = Counter(self.canonical[number] for number in inside)
        return {member: count / len(inside) for member, count in counts.items()}

    def between(self, name: str, low: float, high: float) -> Limit:
        """Limits at two percentiles of a cost."""
        return (name, *map(float, np.percentile(self.costs[name], (low, high))))


@pytest.fixture(scope="module")
def known() -> Known:
    return Known()


LIMITS: list[Callable[[Known], list[Limit]]] = [
    lambda known: [known.between("macs", 20, 35)],
    lambda known: [known.between("params", 97, 100)],
    lambda known: [("macs", 0, known.between("macs", 0, 30)[2])],
    lambda known: [known.between("macs", 60, 90), ("params", 0, known.between("params", 0, 60)[2])],
]


@pytest.mark.parametrize("late", [False, True], ids=["contexts", "late"])
@pytest.mark.parametrize("limits", LIMITS, ids=["middle", "top", "bound", "two"])
def test_the_distribution_is_that_of_rejection(
    known: Known, limits: Callable[[Known], list[Limit]], late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if late:  # tied options are not told apart by contexts
        monkeypatch.setattr(tilting, "LARGEST_TABLE", 1)
    given = limits(known)
    expected = known.expected(given)
    count = 20_000
    sampler = FeasibleSampler(known.space, given)
    found = Counter(map(tuple, sampler.sample_many(count, np.random.default_rng(1)).tolist()))
    assert set(found) <= set(expected)
    chi = sum((found[member] - count * chance) ** 2 / (count * chance) for member, chance in expected.items())
    free = len(expected) - 1
    assert abs(chi - free) < 4 * math.sqrt(2 * free)  # four standard deviations of the chi-square distribution
    assert bool(sampler._model(tuple(sampler.limits)).slack.any()) == late


def test_marginals_of_a_named_space_are_those_of_rejection() -> None:
    space = load_space("images32")
    sizes = [len(gene.choices) for gene in space.genes]
    drawn = np.random.default_rng(0).integers(0, sizes, size=(400_000, len(sizes)))
    macs = SpaceCosts(space, ["macs"]).costs(drawn)["macs"]
    limit = ("macs", float(np.quantile(macs, 0.01)), float(np.quantile(macs, 0.04)))
    accepted = drawn[(macs >= limit[1]) & (macs <= limit[2])]
    rejection = np.array([space.encode(space.decode(tuple(row))) for row in accepted[:4000].tolist()])
    found = FeasibleSampler(space, [limit]).sample_many(40_000, np.random.default_rng(0))
    for gene, size in enumerate(sizes):
        one, other = (np.bincount(genes[:, gene], minlength=size) / len(genes) for genes in (rejection, found))
        assert np.abs(one - other).max() < 5 * math.sqrt(0.25 / 4000)


@pytest.mark.parametrize("name", ["images32", "digits"])
@pytest.mark.parametrize("cost", ["macs", "params"])
@pytest.mark.parametrize("quantile", [0.01, 0.99])
def test_every_member_is_inside_and_every_choice_is_there(name: str, cost: str, quantile: float) -> None:
    space = load_space(name)
    sizes = np.array([len(gene.choices) for gene in space.genes])
    rng = np.random.default_rng(0)
    costs = SpaceCosts(space, [cost])
    middle = float(np.quantile(costs.costs(rng.integers(0, sizes, size=(20_000, len(sizes))))[cost], quantile))
    sampler = FeasibleSampler(space, [(cost, 0.95 * middle, 1.05 * middle)])
    genes = sampler.sample_many(2000, rng, cover=True)
    for row in map(tuple, genes[:50].tolist()):
        assert space.encode(space.decode(row)) == row
        assert 0.95 * middle <= cost_named(cost)(space.decode(row)) <= 1.05 * middle  # type: ignore[operator]
    values = costs.costs(genes)[cost]
    assert ((values >= 0.95 * middle) & (values <= 1.05 * middle)).all()
    lacking = {(space.genes.index(next(g for g in space.genes if g.name == n)), value) for n, value, _ in sampler.without}  # fmt: skip
    assert all(proven for _, _, proven in sampler.without)
    seen = {(gene, row[gene]) for row in map(tuple, genes.tolist()) for gene in space.active(row)}
    assert {(gene, value) for gene, size in enumerate(sizes) for value in range(size)} == seen | lacking
    assert not seen & lacking


@pytest.mark.parametrize("share", [(0, 2), (3, 6), (50, 52), (99, 100)])
def test_what_is_said_to_be_impossible_is(known: Known, share: tuple[float, float]) -> None:
    limit = known.between("params", *share)
    sampler = FeasibleSampler(known.space, [limit])
    genes = sampler.sample_many(100, np.random.default_rng(0), cover=True)
    possible = {(gene, row[gene]) for row in known.expected([limit]) for gene in known.space.active(row)}
    found = {(gene, row[gene]) for row in map(tuple, genes.tolist()) for gene in known.space.active(row)}
    assert found == possible
    names = [gene.name for gene in known.space.genes]
    lacking = {(names.index(name), value) for name, value, _ in sampler.without}
    assert lacking == {(g, v) for g, gene in enumerate(known.space.genes) for v in range(len(gene.choices))} - possible


def test_few_members_become_as_many_as_every_choice_needs(known: Known) -> None:
    sampler = FeasibleSampler(known.space, [known.between("macs", 0, 100)])
    assert len(sampler.sample_many(1, np.random.default_rng(0))) == 1
    assert len(sampler.sample_many(1, np.random.default_rng(0), cover=True)) > 1
    assert len(sampler.sample_many(500, np.random.default_rng(0), cover=True)) == 500


def test_equal_numbers_in_equal_bands() -> None:
    space = load_space("images32")
    sampler = FeasibleSampler(space, [("params", 0, 80_000)])
    genes = sampler.sample_many(1000, np.random.default_rng(0), stratified_by="macs")
    macs = SpaceCosts(space, ["macs", "params"]).costs(genes)
    assert macs["params"].max() <= 80_000
    edges = np.linspace(macs["macs"].min(), macs["macs"].max(), feasible.BANDS + 1)
    counts, _ = np.histogram(macs["macs"], edges)
    assert len(genes) == 1000
    # The outermost members of the range may not have been drawn, and a band without members leaves its share to the others.
    assert counts.max() < 250
    plain = np.histogram(SpaceCosts(space, ["macs"]).costs(sampler.sample_many(1000, np.random.default_rng(0)))["macs"], edges)[0]  # fmt: skip
    assert counts.std() < 0.5 * plain.std()


def test_costs_that_do_not_add_up_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposals, "CHECKS", 100)
    space = load_space("digits")
    activations = cost_named("activations")
    values = sorted(activations(space.sample(Random(seed))) for seed in range(20))  # type: ignore[type-var]
    limit = float(values[8])  # type: ignore[arg-type]
    sampler = FeasibleSampler(space, [("activations", 0, limit), ("macs", 0, 1e9)])
    for genes in sampler.sample_many(20, np.random.default_rng(0)).tolist():
        assert activations(space.decode(tuple(genes))) <= limit  # type: ignore[operator]
    assert FeasibleSampler(space, [("activations", 0, limit)]).sample(np.random.default_rng(0)) is not None
    with pytest.raises(OutsideBudget):
        FeasibleSampler(space, [("activations", 0, 1)]).sample(np.random.default_rng(0))


def test_units_of_unknown_cost_are_left_out() -> None:
    space = load_space("digits")

    def of_unit(unit: Unit) -> float | None:
        return None if "ms_ffn" in str(unit) else 1.5

    with temporary_costs():
        register_cost("steps", additive=Additive(of_unit))(lambda arch: None)
        sampler = FeasibleSampler(space, [("steps", 0, 1e6)])
        found = {str(space.decode(tuple(row))) for row in sampler.sample_many(200, np.random.default_rng(0)).tolist()}
    assert len(found) > 50
    assert not any("ms_ffn" in text for text in found)


def test_nothing_is_inside() -> None:
    space = load_space("digits")
    rng = np.random.default_rng(0)
    least = SpaceCosts(space, ["macs", "params"])
    drawn = rng.integers(0, least.genes.sizes, size=(20_000, len(least.genes.sizes)))
    for limits in ([("macs", 0.0, 10.0)], [("macs", 1e12, 2e12)], [("macs", 0.0, 1.5e5), ("params", 9e3, 1e9)]):
        with pytest.raises(OutsideBudget) as refused:
            FeasibleSampler(space, limits).sample(rng)  # type: ignore[arg-type]
        space.encode(refused.value.nearest)
    # The nearest one is about as near as there is.
    with pytest.raises(OutsideBudget) as refused:
        FeasibleSampler(space, [("macs", 0.0, 10.0)]).sample(rng)
    assert cost_named("macs")(refused.value.nearest) <= least.costs(drawn)["macs"].min()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ([], "no limit"),
        ([("macs", 2.0, 1.0)], "2 to 1"),
        ([("macs", 0.0, 5.0), ("macs", 6.0, 9.0)], "6 to 5"),
        ([("macs", 0.0, math.nan)], "nan"),
        ([("macs", -5.0, -1.0)], "-5.0 to -1.0"),
        ([("mac", 0.0, 1.0)], "unknown cost"),
    ],
)
def test_limits_that_mean_nothing(limits: list[Limit], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FeasibleSampler(load_space("digits"), limits)


def test_strata_of_a_cost_that_does_not_add_up() -> None:
    sampler = FeasibleSampler(load_space("digits"), [("macs", 0, 1e9)])
    with pytest.raises(InputError, match="activations does not add up"):
        sampler.sample_many(5, np.random.default_rng(0), stratified_by="activations")


def test_equal_seeds_draw_equal_members() -> None:
    space = load_space("digits")
    one, other = (FeasibleSampler(space, [("macs", 0, 3e5)]).sample_many(50, np.random.default_rng(7)) for _ in range(2))  # fmt: skip
    assert np.array_equal(one, other)


def test_a_draw_does_not_depend_on_those_before_it() -> None:
    space = load_space("digits")
    fresh, used = (FeasibleSampler(space, [("macs", 3e5, 3.3e5)]) for _ in range(2))
    used.sample_many(3000, np.random.default_rng(1))
    used.sample(Random(5))
    assert [fresh.sample(Random(seed)) for seed in range(5)] == [used.sample(Random(seed)) for seed in range(5)]
    one, _, other = (used.sample_many(50, np.random.default_rng(seed), stratified_by="params") for seed in (7, 8, 7))
    assert np.array_equal(one, other)


def scarce(found: int, monkeypatch: pytest.MonkeyPatch) -> FeasibleSampler:
    """A sampler that finds nothing after so many members."""
    sampler = FeasibleSampler(load_space("digits"), [("macs", 0, 1e9)])
    accepted, left = sampler._accepted, [found]

    def few(*args: Any) -> np.ndarray:
        kept = accepted(*args)
        kept[np.cumsum(kept) > left[0]] = False
        left[0] -= int(kept.sum())
        return kept

    monkeypatch.setattr(sampler, "_accepted", few)
    return sampler


def test_what_was_found_before_giving_up_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = scarce(7, monkeypatch)
    drawn = sampler._drawn_by({"macs": (0.0, 1e9)}).draw(10, np.random.default_rng(0))
    assert len(drawn) == 7
    with pytest.raises(InputError, match="only 5 of 10 networks"):
        scarce(5, monkeypatch).sample_many(10, np.random.default_rng(0))
    with pytest.raises(OutsideBudget):
        scarce(0, monkeypatch).sample_many(10, np.random.default_rng(0))
    assert len(FeasibleSampler(load_space("digits"), [("macs", 0, 1e9)]).sample_many(0, np.random.default_rng(0))) == 0


def test_bands_are_those_of_the_range_within_the_limits() -> None:
    space = load_space("digits")
    costs, rng = SpaceCosts(space, ["macs", "params"]), np.random.default_rng(0)
    drawn = costs.costs(rng.integers(0, costs.genes.sizes, size=(50_000, len(costs.genes.sizes))))
    limit = float(np.quantile(drawn["params"], 0.02))
    inside = drawn["macs"][drawn["params"] <= limit]
    assert inside.max() < 0.5 * drawn["macs"].max()  # the bands of the whole space would be too wide
    sampler = FeasibleSampler(space, [("params", 0, limit)])
    found = costs.costs(sampler.sample_many(1000, rng, stratified_by="macs"))
    assert found["params"].max() <= limit
    (bands,) = sampler._cut.values()
    edges = [band["macs"][0] for band in bands[1:]]
    width = edges[1] - edges[0]
    assert len(bands) == feasible.BANDS
    # The ends are found up to a share of the range, which is a tenth of as many widths.
    assert edges[0] - width < inside.min() + 10 * feasible.END * width
    assert inside.max() < edges[-1] + (1 + 10 * feasible.END) * width
    counts = np.histogram(found["macs"], [0, *edges, math.inf])[0]
    assert counts.tolist() == [100] * 10
    # Every part of the range is used: the outermost bands, too, end near what there is.
    assert found["macs"].max() > edges[-1] + 0.3 * width


@pytest.mark.parametrize("base", [-4.0, 0.0, 2.0])
def test_a_base_below_nothing(base: float) -> None:
    """Sums below 0 are costs of 0, which no limit from below excludes."""
    space = load_space("digits")
    total = Additive(lambda unit: float(unit.kind == "mixer"), base)
    with temporary_costs():
        register_cost("mixers", additive=total)(lambda arch: None)
        sampler = FeasibleSampler(space, [("mixers", 0.0, math.inf)])
        genes = sampler.sample_many(2000, np.random.default_rng(0))
        costs = SpaceCosts(space, ["mixers"])
        found = costs.costs(genes)["mixers"]
        depths = np.array([sum(len(s.blocks) for s in space.decode(tuple(row)).stages) for row in genes.tolist()])
        assert np.array_equal(found, np.maximum(depths + base, 0))
        assert [costs.one(tuple(row))["mixers"] for row in genes[:20].tolist()] == found[:20].tolist()
        assert depths.min() == sum(stage.depth[0] for stage in space.stages)
        least = max(depths.min() + base, 0)
        assert (costs.costs(FeasibleSampler(space, [("mixers", 0.0, least)]).sample_many(50, np.random.default_rng(0)))["mixers"] == least).all()  # fmt: skip
        assert narrowed(space, {"mixers": (0, None)}) is space


NO_GENES = """
name = "one"
in_channels = 1
num_classes = 3
resolution = 8
head = { part = "linear_head" }

[[stages]]
width = 8
depth = 1
embedding = { part = "conv_stem" }
position = { part = "none" }
norm = { part = "layer_norm" }
mixer = { part = "depthwise_conv" }
ffn = { part = "mlp" }
scale = { part = "none" }
"""


def test_a_space_of_one_member() -> None:
    space, rng = check(SearchSpace.from_toml(NO_GENES)), np.random.default_rng(0)
    assert space.genes == ()
    arch = space.decode(())
    macs = float(cost_named("macs")(arch) or 0)
    sampler = FeasibleSampler(space, [("macs", macs, macs)])
    assert sampler.sample(rng) == arch
    for given in ({"cover": True}, {"stratified_by": "macs"}, {"stratified_by": "params"}):
        assert sampler.sample_many(3, rng, **given).shape == (3, 0)
    for limit in (("macs", 0.0, macs - 1), ("macs", macs + 1, 1e9)):
        with pytest.raises(OutsideBudget):
            FeasibleSampler(space, [limit]).sample(rng)


def test_a_cost_of_nothing() -> None:
    space, rng = load_space("digits"), np.random.default_rng(0)
    with temporary_costs():
        register_cost("nothing", additive=Additive(lambda unit: 0.0))(lambda arch: 0)
        sampler = FeasibleSampler(space, [("nothing", 0.0, 1.0)])
        assert len(sampler.sample_many(5, rng, stratified_by="nothing", cover=True)) >= 5
        assert len(FeasibleSampler(space, [("nothing", 0.0, 0.0)]).sample_many(5, rng)) == 5
        with pytest.raises(OutsideBudget):
            FeasibleSampler(space, [("nothing", 1.0, 2.0)]).sample(rng)


@pytest.mark.parametrize("late", [False, True], ids=["contexts", "late"])
def test_extremes_are_those_of_all_members(known: Known, late: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if late:
        monkeypatch.setattr(tilting, "LARGEST_TABLE", 1)
    costs = SpaceCosts(known.space, ["params", "macs"])
    costs.count_all()
    model = tilting.Model(costs)
    for number, name in enumerate(costs.names):
        for sign in (1, -1):
            weights = np.zeros(2)
            weights[number] = sign
            found, truth = tilting.least(model, model.prior, weights), (sign * known.costs[name]).min()
            assert found - model.slack[number] <= truth <= found + model.slack[number]
            assert late or found == truth


@pytest.mark.parametrize("cost", ["macs", "params"])
def test_limits_just_outside_the_range_are_proven_empty(known: Known, cost: str) -> None:
    values = known.costs[cost]
    for limit in ((cost, 0.0, values.min() - 1), (cost, values.max() + 1, math.inf)):
        sampler = FeasibleSampler(known.space, [limit])
        with pytest.raises(tilting.EmptyError) as refused:
            sampler.proposals(sampler.limits)
        assert refused.value.proven
    for limit in ((cost, 0.0, values.min()), (cost, values.max(), math.inf)):
        genes = FeasibleSampler(known.space, [limit]).sample_many(5, np.random.default_rng(0))
        assert (SpaceCosts(known.space, [cost]).costs(genes)[cost] == limit[1 if limit[1] else 2]).all()

"""Sampling within limits: the distribution, what it covers, what a draw depends on, and limits at the ends of a small space."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from search_spaces import tilting
from search_spaces.costs import cost_named
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.feasible import FeasibleSampler, Limit
from search_spaces.named import check, load_space
from search_spaces.space import SearchSpace

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

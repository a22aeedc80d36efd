"""Limits within which little or nothing fits, and costs that do not add up, are not known, or are nothing."""

import math
from random import Random
from typing import Any

import numpy as np
import pytest

from search_spaces import proposals
from search_spaces.costs import Additive, cost_named, register_cost, temporary_costs
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.feasible import FeasibleSampler, Limit
from search_spaces.named import check, load_space
from search_spaces.narrowing import narrowed
from search_spaces.space import SearchSpace
from search_spaces.units import Unit


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

"""Sampling within limits, with equal numbers in equal bands of a cost."""

import math

import numpy as np
import pytest

from search_spaces import feasible
from search_spaces.costs.bulk import SpaceCosts
from search_spaces.errors import InputError
from search_spaces.feasible import FeasibleSampler
from search_spaces.named import load_space


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


def test_strata_of_a_cost_that_does_not_add_up() -> None:
    sampler = FeasibleSampler(load_space("digits"), [("macs", 0, 1e9)])
    with pytest.raises(InputError, match="activations does not add up"):
        sampler.sample_many(5, np.random.default_rng(0), stratified_by="activations")


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

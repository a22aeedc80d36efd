"""The spaces for claims of the papers: few members, and every one of them can be built."""

import itertools
from functools import cache

import pytest
import torch

from search_spaces.named import claim_names, load_space, space_names
from search_spaces.network import Network, make_piece
from search_spaces.registry import SkipInit, complete
from search_spaces.testing import noise

SIZES = {
    "transxnet_ratio": 5**3,
    "transxnet_ratio_tied": 5,
    "transxnet_enhancers": 2 * 2,
    "transxnet_scales": 5**3,
    "transxnet_local": 5**3,
    "hat_net_grids": 9 * 6 * 2,
    "foreground_ratio": 4**3,
    "linglo_branches": 4 * 4 * 8,
}
"""Members of each space as its file writes them."""


def test_every_claim_has_a_space() -> None:
    assert claim_names() == sorted(SIZES)
    assert not set(claim_names()) & set(space_names())


@pytest.mark.parametrize("name", SIZES)
def test_every_member_can_be_built(name: str) -> None:
    space = load_space(name)
    found = [space.decode(genes) for genes in itertools.product(*(range(len(gene.choices)) for gene in space.genes))]
    assert len({arch.digest for arch in found}) == len(found) == space.size == SIZES[name]
    make = cache(make_piece)  # of few different pieces
    with SkipInit():
        networks = [Network(arch, make).eval() for arch in found]
    assert all(complete(arch) == arch and space.contains(arch) for arch in found)
    x = noise(2, space.in_channels, space.resolution, space.resolution)
    with torch.no_grad():  # each value of each option runs; all members would run for many seconds
        for index in range(max(len(gene.choices) for gene in space.genes)):
            genes = tuple(min(index, len(gene.choices) - 1) for gene in space.genes)
            assert networks[found.index(space.decode(genes))](x).shape == (2, space.num_classes)


def test_the_text_of_a_network_leaves_out_what_was_added_later() -> None:
    plain, other = (load_space("transxnet_local").decode((index,) * 3) for index in range(2))
    assert '"local"' not in plain.to_json()
    assert other.to_json().count('"local":"depthwise"') == 6
    assert complete(plain) == plain
    assert dict(plain.stages[0].blocks[0].mixer.options).keys() < plain.stages[0].blocks[0].mixer.values().keys()


def test_one_ratio_for_all_stages_is_among_one_for_each() -> None:
    tied, free = load_space("transxnet_ratio_tied"), load_space("transxnet_ratio")
    assert [gene.name for gene in tied.genes] == ["mixer.d_mixer.attention_ratio"]
    for index in range(len(tied.genes[0].choices)):
        assert tied.decode((index,)) == free.decode((index,) * 3)

"""What sub-networks share in the bank of a supernet, and what has weights of its own."""

import itertools
from typing import Any

import pytest
import torch

from search_spaces import registry
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.costs.params import params
from search_spaces.named import check, load_space
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, elastic_space, members, small
from supernet.slicing import slice_like
from supernet.supernet import Supernet, network_skeleton
from supernet.testing import images, repeated, supernet_of

DIGITS = small(load_space("digits"))


def tiny(mixers: list[dict[str, Any]], **changes: Any) -> SearchSpace:
    """A space of one stage around some mixers."""
    stage = {
        "width": [16, 32], "depth": [1, 2], "embedding": {"part": "conv_stem", "stride": 2},
        "position": {"part": "none"}, "norm": {"part": "layer_norm"}, "scale": {"part": "none"},
        "ffn": {"part": "mlp", "ratio": 1}, "mixer": mixers,
    }  # fmt: skip
    data = {"name": "tiny", "in_channels": 1, "num_classes": 3, "resolution": 8, "head": {"part": "linear_head"}}
    return check(SearchSpace.from_dict(data | {"stages": [stage | changes]}))


@pytest.mark.parametrize("head_dim", [4, 5])
def test_osra_weights_are_cut_from_the_end(head_dim: int) -> None:
    """At one width a smaller share of attention owns the last channels of a larger share, as it does of the residual stream;
    also where the size of a head does not divide them and so follows the ratio."""
    ratios = [0.25, 0.5, 0.75]
    space = tiny([{"part": "d_mixer", "attention_ratio": ratios, "head_dim": head_dim, "sr_ratio": 2}], depth=1)
    supernet = supernet_of(space)
    for width in (16, 32):
        found = {}
        for ratio in ratios:
            arch = member(space, width=width, attention_ratio=ratio)
            found[ratio] = {
                name.removeprefix("stages.0.blocks.0.mixer."): tensor
                for name, tensor in supernet.weights(arch).items()
                if ".mixer." in name
            }
        for fewer, more in itertools.combinations(ratios, 2):
            channels = round(fewer * width)
            for projection in ("query", "key", "value"):
                whole = found[more][f"osra.{projection}.weight"]
                assert_same(found[fewer][f"osra.{projection}.weight"], whole[-channels:, -channels:])
                assert_same(found[fewer][f"osra.{projection}.bias"], found[more][f"osra.{projection}.bias"][-channels:])
            for name in ("refine.weight", "refine.bias", "reductions.2.conv.weight", "reductions.2.norm1.running_var"):
                assert_same(found[fewer][f"osra.{name}"], found[more][f"osra.{name}"][-channels:])
            local = width - round(more * width)
            assert_same(found[more]["idconv.kernels"], found[fewer]["idconv.kernels"][:, :local])
            assert_same(found[more]["idconv.expand"], found[fewer]["idconv.expand"][:, :local, : max(1, local // 4)])


BY_HEAD = {"c_mhsa": ("attention.scores",), "partial_attention": ("head_mlps.",)}
"""Tensors with an axis of heads. All others know channels only."""


@pytest.mark.parametrize(
    "name", [n for n, part in registry.parts("mixer").items() if hasattr(part.Options(), "head_dim")]
)
def test_heads_only_group_channels(name: str) -> None:
    """At one width every size of heads has the same weights; at another width, their leading channels. So whatever reads
    heads as channels meets the same partners, also where a size does not divide the width and the next divisor stands in.
    """
    space = tiny([{"part": name, "head_dim": [3, 4, 16]}], width=[16, 24], depth=1)
    supernet = supernet_of(space)
    found = {
        (width, head_dim): {
            key.partition(".mixer.")[2]: tensor
            for key, tensor in supernet.weights(member(space, width=width, head_dim=head_dim)).items()
            if ".mixer." in key and not any(part in key for part in BY_HEAD.get(name, ()))
        }
        for width, head_dim in itertools.product((16, 24), (3, 4, 16))
    }
    assert found[16, 3]
    for (width, _), tensors in found.items():
        for key, tensor in tensors.items():
            whole = found[24, 3][key]
            assert tensor.data_ptr() == (whole if "osra." not in key else tensor).data_ptr(), key
            assert tensor.shape == found[width, 3][key].shape
            cut = slice_like(whole, tensor.shape, trailing=tuple(range(whole.dim())) if "osra." in key else ())
            assert_same(tensor, cut)
    for part in BY_HEAD.get(name, ()):
        small, large = (
            {bank for key, bank in supernet.bank_names(member(space, width=16, head_dim=size)).items() if part in key}
            for size in (4, 16)
        )
        assert small
        assert large
        assert not small & large


@pytest.mark.parametrize(
    ("mixer", "option", "one", "other", "apart"),
    [
        ("h_mhsa", "window_size", 1, 3, {"query", "value", "project"}),  # values are projected, or added to the stream
        ("ems", "operators", "gate", "g_mhsa", {"after", "last"}),  # what writes the stream, or what the fusion reads
        ("ems", "operators", "pyramid", "gate", {"fuse", "last"}),
        ("ems", "patch_sizes", [2, 4, 4, 6], [4, 2, 2, 3], {"kernels"}),
        ("c_mhsa", "patch_size", 2, 4, {"kernels"}),
        ("g_mhsa", "patch_size", 2, 4, {"kernels"}),
        ("d_mixer", "sr_ratio", 2, 4, {"reductions"}),
    ],
)
def test_what_means_another_thing_has_a_bank_of_its_own(
    mixer: str, option: str, one: Any, other: Any, apart: set[str]
) -> None:
    space = tiny([{"part": mixer, option: [one, other]}], width=[32], depth=1)
    supernet = Supernet(space)
    values = [tuple(value) if isinstance(value, list) else value for value in (one, other)]
    banks = [
        {bank for key, bank in supernet.bank_names(member(space, **{option: value})).items() if ".mixer." in key}
        for value in values
    ]
    own = [{bank for bank in found if apart & {*bank.split(".")}} for found in banks]
    assert own[0]
    assert own[1]
    assert not own[0] & own[1]
    assert banks[0] & banks[1], "the rest is shared"


def member(space: SearchSpace, **wanted: Any) -> Architecture:
    """The member with these values at every gene of that name, and the first choice elsewhere."""
    genes = []
    for gene in space.genes:
        key = gene.name.rpartition(".")[2]
        genes.append(gene.choices.index(wanted[key]) if key in wanted else 0)
    return space.decode(tuple(genes))


def test_small_kernels_are_the_middle_of_large_ones() -> None:
    space = tiny([{"part": "depthwise_conv", "kernel_size": [3, 5, 7]}], depth=1)
    supernet = supernet_of(space)
    inner, outer = (
        supernet.weights(member(space, width=width, kernel_size=kernel))["stages.0.blocks.0.mixer.conv.weight"]
        for width, kernel in ((16, 3), (32, 7))
    )
    assert_same(inner, outer[:16, :, 2:5, 2:5])


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_subnetwork_is_its_extracted_network_at_odd_widths(batch: int) -> None:
    """Slices that begin and end anywhere: the products of a CPU library may depend on where rows lie in memory."""
    mixers = [{"part": "global_attention", "head_dim": 3}, {"part": "partial_attention", "head_dim": 3}]
    space = tiny(
        mixers, width=[9, 15, 33], ffn=[{"part": "mlp", "ratio": [0.7, 1.5]}, {"part": "ms_ffn", "ratio": 1.3}]
    )
    supernet, x = supernet_of(space), images(space, batch)
    for arch in members(space, 20):
        network = supernet.extract(arch)
        with torch.no_grad():
            assert_same(supernet(x, arch), network(x), f"outputs of {arch.to_json()}")
        assert_same(supernet(x, arch), network(x), f"outputs, with gradients wanted, of {arch.to_json()}")


def test_places_do_not_share() -> None:
    """Each place and each part in it has weights of its own; the bank's names say so."""
    supernet = Supernet(DIGITS)
    pointers = [tensor.data_ptr() for tensor in supernet.bank().values()]
    assert len(set(pointers)) == len(pointers)
    name = "stages.1.blocks.2.mixer.d_mixer.osra.query.weight"
    assert name in supernet.bank()
    assert name in dict(supernet.named_parameters())
    arch = next(a for a in members(DIGITS, 100) if [b.mixer.name for b in a.stages[1].blocks][2:] == ["d_mixer"])
    assert supernet.bank_names(arch)["stages.1.blocks.2.mixer.osra.query.weight"] == name


def test_the_bank_is_as_large_as_the_largest_option_needs() -> None:
    space = elastic_space("mixer", "depthwise_conv")
    bank = Supernet(space).bank()
    assert bank["stages.0.blocks.1.mixer.depthwise_conv.conv.weight"].shape == (32, 1, 7, 7)
    assert bank["stages.0.embedding.conv_downsampling.conv.weight"].shape == (32, 2, 1, 1)
    assert bank["stages.1.embedding.conv_downsampling.conv.weight"].shape == (32, 32, 1, 1)
    assert bank["head.linear_head.linear.weight"].shape == (3, 32)
    assert not any(name.startswith("stages.1.blocks.1") for name in bank)


def test_a_space_of_one_member_is_a_network() -> None:
    """With nothing to share the bank has exactly the parameters of the network."""
    space = tiny([{"part": "d_mixer", "head_dim": 4, "kernel_size": 3}], width=16, depth=2)
    assert space.size == 1
    arch = space.decode(())
    supernet = Supernet(space)
    assert sum(p.numel() for p in supernet.parameters()) == params(arch)
    assert {tuple(t.shape) for t in supernet.bank().values()} == {
        tuple(t.shape) for t in build(arch).state_dict().values()
    }
    assert supernet.smallest() == supernet.largest() == arch


def test_equal_blocks_share_a_skeleton_and_not_their_weights() -> None:
    arch = next(arch for arch in repeated(DIGITS) if len(arch.stages[1].blocks) == 3)
    stage = network_skeleton(arch, False).stages[1]
    assert stage.blocks[0] is stage.blocks[1] is stage.blocks[2]
    supernet, x = supernet_of(DIGITS), images(DIGITS)
    with torch.no_grad():
        before = supernet(x, arch)
        names = [name for name in supernet.bank_names(arch).values() if name.startswith("stages.1.blocks.1.")]
        for name in names:
            supernet.bank()[name].zero_()
        assert not torch.equal(before, supernet(x, arch))
        assert_same(supernet(x, arch), supernet.extract(arch)(x))


def test_init_options_start_the_weights() -> None:
    scale = {"part": "layer_scale", "init": 0.25}
    space = tiny([{"part": "depthwise_conv"}], scale=scale, norm={"part": "batch_norm"})
    bank = Supernet(space).bank()
    assert_same(bank["stages.0.blocks.1.scale2.layer_scale.weight"].detach(), torch.full((32,), 0.25))
    assert_same(bank["stages.0.blocks.1.norm2.batch_norm.norm.weight"].detach(), torch.ones(32))
    assert_same(bank["stages.0.blocks.1.norm2.batch_norm.norm.running_var"], torch.ones(32))
    assert bank["stages.0.blocks.1.norm2.batch_norm.norm.num_batches_tracked"].dtype == torch.long


def test_extremes() -> None:
    supernet = Supernet(DIGITS)
    low, high = macs(supernet.smallest()), macs(supernet.largest())
    assert all(low <= macs(arch) <= high for arch in members(DIGITS, 50))

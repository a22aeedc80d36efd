"""The only forward pass: blocks are what their docstring says, pieces run in order, drop path drops whole images."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.errors import InputError
from search_spaces.network import DropPath, Network, ResidualBlock, build, pieces
from search_spaces.registry import complete
from search_spaces.testing import assert_same, members, name_of, named_spaces, noise, randomise


def block(mixer: str = "depthwise_conv", **options: Any) -> Block:
    return Block(
        position=Part.of("dpe", kernel_size=3),
        norm=Part("layer_norm"),
        mixer=Part.of(mixer, **options),
        ffn=Part.of("mlp", ratio=1.0),
        scale=Part.of("layer_scale", init=0.5),
    )


ARCH = Architecture(
    in_channels=2,
    num_classes=3,
    resolution=12,
    stages=(
        Stage(width=8, embedding=Part.of("conv_stem", stride=2), blocks=(block(), block("partial_attention", head_dim=4))),
        Stage(width=16, embedding=Part("conv_downsampling"), blocks=()),
        Stage(width=8, embedding=Part.of("conv_downsampling", stride=1), blocks=(block("global_attention", head_dim=4),) * 2),
    ),
    head=Part("linear_head"),
)  # fmt: skip


def test_a_block_is_its_equation() -> None:
    for mixer, options in (("depthwise_conv", {}), ("partial_attention", {"head_dim": 4})):
        module = ResidualBlock(complete_block(block(mixer, **options)), 8)
        randomise(module).eval()
        x = noise(2, 8, 5, 6)
        with torch.no_grad():
            a = module.position(x)
            before = module.norm1(a)
            mixed = module.mixer(before, a) if mixer == "partial_attention" else module.mixer(before)
            b = a + module.scale1(mixed)
            assert_same(module(x), b + module.scale2(module.ffn(module.norm2(b))))


def complete_block(given: Block) -> Block:
    arch = dataclasses.replace(ARCH, stages=(dataclasses.replace(ARCH.stages[0], blocks=(given,)),))
    return complete(arch).stages[0].blocks[0]


def test_norms_and_scales_of_a_block_are_two() -> None:
    module = ResidualBlock(complete_block(block()), 8)
    assert module.norm1 is not module.norm2
    assert module.scale1.weight is not module.scale2.weight


def test_pieces_run_in_order() -> None:
    network = randomise(build(ARCH)).eval()
    seen = []

    def run(name: str, module: nn.Module, x: Tensor) -> Tensor:
        seen.append(name)
        assert network.get_submodule(name) is module
        return module(x)

    x = noise(2, 2, 12, 12)
    with torch.no_grad():
        y = network(x, run)
        assert seen == [name for name, _ in pieces(ARCH)] == [
            "stages.0.embedding", "stages.0.blocks.0", "stages.0.blocks.1", "stages.1.embedding", "stages.2.embedding",
            "stages.2.blocks.0", "stages.2.blocks.1", "head",
        ]  # fmt: skip
        assert_same(y, network(x))
        for name in seen:
            x = network.get_submodule(name)(x)
        assert_same(x, y)
    assert y.shape == (2, 3)
    names = [tuple(name for name, _ in module.named_parameters()) for module in (network, Network(complete(ARCH)))]
    assert names[0] == names[1]


def test_equal_blocks_have_weights_of_their_own() -> None:
    network = build(ARCH)
    one, other = network.stages[2].blocks
    assert one is not other
    assert not torch.equal(one.mixer.query.weight, other.mixer.query.weight)


def test_seeds() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = build(ARCH, seed=1), build(ARCH, seed=1), build(ARCH, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for (name, tensor), again in zip(one.state_dict().items(), same.state_dict().values(), strict=True):
        assert_same(tensor, again, name)
    assert not torch.equal(one.head.linear.weight, other.head.linear.weight)


def test_a_network_is_of_its_complete_architecture() -> None:
    assert build(ARCH).arch == complete(ARCH) != ARCH


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
def test_fresh_networks_have_outputs_of_ordinary_size(space: Any) -> None:
    for seed, arch in enumerate(members(space, 5)):
        x = noise(8, arch.in_channels, arch.resolution, arch.resolution, seed=seed)
        with torch.no_grad():
            y = build(arch, seed).train()(x)
        assert y.isfinite().all()
        assert 1e-4 < y.std() < 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": Part("linear")}, "linear_head"),
        ({"head": Part.of("linear_head", norms="none")}, "norm"),
        (
            {"stages": (Stage(width=9, embedding=Part("conv_stem"), blocks=(block("ems"),)),)},
            "16",
        ),
    ],
)
def test_what_cannot_be_built(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as error:
        build(dataclasses.replace(ARCH, **changes))
    assert words in error.value.instead


def test_drop_path_drops_whole_images() -> None:
    drop, x = DropPath(0.25).train(), torch.ones(4000, 2, 3, 1)
    torch.manual_seed(0)
    y = drop(x)
    kept = y[:, 0, 0, 0] != 0
    assert_same(y, torch.where(kept[:, None, None, None], x / 0.75, torch.zeros_like(x)))
    assert 0.72 < kept.float().mean() < 0.78
    assert drop.eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_drop_path_grows_with_depth() -> None:
    network = build(ARCH)
    assert {module.rate for module in network.modules() if isinstance(module, DropPath)} == {0.0}
    network.set_drop_path(0.3)
    rates = [module.drop_path.rate for module in network.modules() if isinstance(module, ResidualBlock)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    network.train()
    x = noise(64, 2, 12, 12)
    torch.manual_seed(0)
    one = network(x)
    assert not torch.equal(one, network(x))
    network.eval()
    assert_same(network(x), network(x))

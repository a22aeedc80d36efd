"""Activation memory: by hand on a tiny network, beside what the CPU's allocator hands out, and of every kind of result."""

import dataclasses
import gc
import statistics
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from search_spaces.architecture import Architecture, Block, Part, Stage
from search_spaces.costs import costs_of
from search_spaces.costs.activations import Memory, activations, forget, whole
from search_spaces.network import build
from search_spaces.space import SearchSpace
from search_spaces.testing import members, name_of, named_spaces, noise

PLAIN = Block(
    position=Part.of("none"),
    norm=Part.of("batch_norm"),
    mixer=Part.of("depthwise_conv", kernel_size=3),
    ffn=Part.of("mlp", ratio=4),
    scale=Part.of("none"),
)


def network(*blocks: Block, side: int = 8) -> Architecture:
    stage = Stage(width=16, embedding=Part.of("conv_downsampling", kernel_size=1, stride=1, norm="none"), blocks=blocks)
    return Architecture(
        in_channels=3, num_classes=10, resolution=side, stages=(stage,), head=Part.of("linear_head", norm="none")
    )


def test_a_network_without_blocks_by_hand() -> None:
    """The image, its embedding, and in the head the pooled map and the logits."""
    image, embedded = 3 * 8 * 8, 16 * 8 * 8
    assert activations(network()) == 4 * (image + embedded + max(0, 16 + 10))


def test_a_convolutional_block_by_hand() -> None:
    """Widest where the channel mixer has its hidden map before and behind GELU: beside both, the image (also the stage's input), the
    block's input, the residual stream behind the token mixer, and what the norm gave."""
    image, embedded = 3 * 8 * 8, 16 * 8 * 8
    assert activations(network(PLAIN)) == 4 * (image + 3 * embedded + 2 * 4 * embedded)
    assert activations(network(PLAIN, PLAIN)) == activations(network(PLAIN))
    assert costs_of(network(PLAIN), ["activations"]) == {"activations": 4 * (image + 11 * embedded)}


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
def test_more_pixels_need_more(space: SearchSpace) -> None:
    for arch in members(space, 4):
        double = dataclasses.replace(arch, resolution=2 * arch.resolution)
        assert activations(double) > activations(arch)


@pytest.mark.parametrize(
    ("run", "maps"),
    [
        (lambda x: x.relu(), 1),
        (lambda x: x.view(2, -1).t()[1:], 0),
        (lambda x: F.relu(x, inplace=True).add_(1), 0),
        (lambda x: F.dropout(x, 0.5, training=False), 0),
        (lambda x: x.contiguous(), 0),
        (lambda x: x.permute(0, 2, 3, 1).contiguous(), 1),
        (lambda x: x + x + x + x, 2),
        (lambda x: [x + 1, x + 2, x + 3], 3),
        (lambda x: F.gelu(F.gelu(F.gelu(x))), 2),
        (lambda x: x.chunk(2, 1), 0),
        (lambda x: torch.cat([x, x]), 2),
        (lambda x: F.scaled_dot_product_attention(x, x, x), 1),
        (lambda x: (x @ x).softmax(-1) @ x, 2),
        (lambda x: x > 0, 0.25),
        (lambda x: x.argsort(1), 2),
        (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), 1),
    ],
)
def test_results_that_own_memory_count_while_they_are_referred_to(run: Callable[[Tensor], object], maps: float) -> None:
    x = torch.empty(2, 4, 4, 4, device="meta")
    with Memory([x]) as memory:
        result = run(x)
    assert memory.peak == maps * 4 * x.numel()
    del result
    assert memory.now() == 0


@pytest.mark.parametrize(
    "run",
    [
        F.gelu,
        lambda x: F.batch_norm(x, x.new_zeros(8), x.new_ones(8)),
        lambda x: F.group_norm(x, 2),
        lambda x: F.layer_norm(x, x.shape[3:]),
        lambda x: x + x,
        lambda x: x * 2,
        lambda x: x * x,
        lambda x: F.scaled_dot_product_attention(x, x, x),
        lambda x: F.scaled_dot_product_attention(x, x[:, :, :2], x[:, :, :2]),
        lambda x: F.scaled_dot_product_attention(x[0], x[0], x[0]),
        lambda x: F.conv2d(x, x.new_ones(8, 1, 3, 3), None, 1, 1, 1, 8),
    ],
)
@pytest.mark.parametrize(
    "order", [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2)], ids=["contiguous", "permuted", "channels last"]
)
def test_layouts_are_those_of_the_cpu(run: Callable[[Tensor], Tensor], order: tuple[int, ...]) -> None:
    """Strides decide which reshapes copy."""
    x = noise(2, 8, 8, 16).permute(order)[:, :8, :8, :8]  # of a larger map, as a split gives it
    x = x.contiguous() if order == (0, 1, 2, 3) else x
    with torch.no_grad(), Memory():
        found = run(x.to("meta"))
    real = run(x)
    assert (found.shape, found.stride()) == (real.shape, real.stride())


def allocated(module: nn.Module, image: Tensor) -> int:
    """Most bytes at once that the CPU's allocator gave to one forward pass, and the image's."""
    with torch.no_grad():
        module(image)
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
            module(image)
    now = peak = 0
    assert found.profiler is not None
    assert found.profiler.kineto_results is not None
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += cast(Any, event).nbytes()
            peak = max(peak, now)
    return peak + image.numel() * image.element_size()


OFTEN = ("images32",)
"""The space whose members are run in every test: its images are small."""


@pytest.mark.parametrize(
    "space",
    [pytest.param(space, marks=() if space.name in OFTEN else pytest.mark.slow) for space in named_spaces()],
    ids=name_of,
)
def test_the_allocator_agrees(space: SearchSpace) -> None:
    """It also sees what functions need inside, such as the workspace of an attention or reordered weights: never less, and in most
    spaces less than 2 % more for at least half of the networks; in HAT-Net's up to 1.7 times."""
    ratios = []
    for seed, arch in enumerate(members(space, 5)):
        arch = dataclasses.replace(arch, resolution=4 * arch.resolution)
        real = allocated(build(arch, seed).eval(), noise(1, arch.in_channels, arch.resolution, arch.resolution))
        ratios.append(real / activations(arch))
    assert min(ratios) >= 0.999
    assert max(ratios) <= 1.7
    assert statistics.median(ratios) <= (1.5 if space.name == "hat_net" else 1.02)


def test_weights_made_larger_or_computed() -> None:
    """A view of a weight is not a feature map; a copy of one is."""
    block = dataclasses.replace(PLAIN, mixer=Part.of("idconv", kernel_size=3))
    arch = network(block)
    assert activations(arch) == whole(build(arch), 8)


def test_nothing_is_counted_twice_while_parts_are_new() -> None:
    arch = network(PLAIN, dataclasses.replace(PLAIN, mixer=Part.of("global_attention", head_dim=8)))
    forget()
    assert activations(arch) == activations(arch) == whole(build(arch), 8)

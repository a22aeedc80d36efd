"""Law 4: a cost is what fvcore counts on the real network, and what nobody has classified is an error."""

import dataclasses
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import registry
from search_spaces.architecture import Part
from search_spaces.costs import pieces
from search_spaces.costs.macs import macs
from search_spaces.costs.operators import operators_of
from search_spaces.costs.params import params
from search_spaces.registry import TokenMixer
from search_spaces.space import SearchSpace
from search_spaces.testing import (
    CostLaws,
    elastic_spaces,
    fvcore_macs,
    members,
    name_of,
    named_spaces,
    noise,
    shared_out,
)
from tests.often import often


@pytest.mark.parametrize("space", often(named_spaces()), ids=name_of)
class TestNamedSpaces(CostLaws):
    num_members = shared_out(30)


@pytest.mark.slow
@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
def test_more_costs_are_what_fvcore_counts(space: SearchSpace) -> None:
    laws = CostLaws()
    laws.num_members = 100
    laws.test_cost_is_what_fvcore_counts(space)


@pytest.mark.parametrize("space", elastic_spaces(), ids=name_of)
class TestParts(CostLaws):
    num_members = 3


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
def test_cost_follows_the_resolution(space: Any) -> None:
    arch = members(space, 3)[2]
    double = dataclasses.replace(arch, resolution=2 * arch.resolution)
    assert params(double) == params(arch)
    assert macs(double) > 2 * macs(arch)
    assert (params(arch), macs(arch)) == pieces.cost(arch)


@pytest.fixture
def register_mixer() -> Iterator[Callable[[Callable[[Tensor], Tensor]], Part]]:
    """Registers a mixer of one operator, for one test."""

    def add(function: Callable[[Tensor], Tensor]) -> Part:
        @registry.register("of_one_operator")
        class OfOneOperator(TokenMixer):
            """Whatever a test needs."""

            @dataclass(frozen=True, kw_only=True, slots=True)
            class Options:
                pass

            examples = (Options(),)

            def __init__(self, dim: int, options: Any) -> None:
                super().__init__(dim, options)
                self.weight = nn.Parameter(torch.ones(dim, dim))

            def forward(self, x: Tensor) -> Tensor:
                return function(x)

        return Part("of_one_operator")

    pieces.part_cost.cache_clear()
    yield add
    registry._PARTS["mixer"].pop("of_one_operator", None)
    registry.options.cache_clear()
    registry.complete_part.cache_clear()
    pieces.part_cost.cache_clear()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: torch.cumsum(x, 1), "cumsum"),
        (lambda x: torch.fft.fft(x).real, "fft"),
        (lambda x: torch.cdist(x, x), "cdist"),
        (lambda x: x.logcumsumexp(1), "logcumsumexp"),
        (lambda x: x.cumprod(1), "cumprod"),
    ],
)
def test_unknown_operators_are_errors_that_name_them(
    register_mixer: Any, function: Callable[[Tensor], Tensor], name: str
) -> None:
    part = register_mixer(function)
    for _ in range(2):  # an error is not remembered as a cost
        with pytest.raises(NotImplementedError, match=name) as error:
            pieces.part_cost("mixer", part, (4,), 8, 8)
        assert "the part says it by operators = {'" in str(error.value)


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: torch.einsum("bchw,bcxw->bhx", x, x)[None], 4 * 8 * 8 * 8),
        (lambda x: F.conv1d(x[:, :, 0], x.new_ones(6, 4, 3), padding=1)[:, :, None], 6 * 4 * 3 * 8),
        (lambda x: F.conv_transpose1d(x[:, :, 0], x.new_ones(4, 5, 2))[:, :, None], 4 * 5 * 2 * 8),
        (lambda x: torch.baddbmm(x[0], x[0], x[0].transpose(1, 2))[None], 4 * 8 * 8 * 8),
        (lambda x: F.conv2d(x, x.new_ones(4, 4, 3, 3), padding="same"), 4 * 4 * 9 * 64),
        (lambda x: F.bilinear(x, x, x.new_ones(3, 8, 8)).repeat(1, 1, 1, 2), None),
    ],
)
def test_torch_counts_operators_that_are_not_classified(
    register_mixer: Any, function: Callable[[Tensor], Tensor], macs: int | None
) -> None:
    """Two of its FLOPs are one MAC, and an operator that consists of others costs what they cost."""
    part = register_mixer(function)
    if macs is None:
        with pytest.raises(NotImplementedError, match=r"bilinear is not known \(for aten\._trilinear in it\)"):
            pieces.part_cost("mixer", part, (4,), 8, 8)
        return
    found = pieces.part_cost("mixer", part, (4,), 8, 8).macs
    assert found == macs
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(torch.ones(1, 4, 8, 8))
    assert counter.get_total_flops() == 2 * macs


def test_attention_of_torch_is_its_products(register_mixer: Any) -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = 64
    part = register_mixer(
        lambda x: attention.to(x.device)(*(x.flatten(2).transpose(1, 2),) * 3)[0].transpose(1, 2).reshape(x.shape)
    )
    projections, products = 4 * tokens * 8 * 8, 2 * tokens * tokens * 8
    assert pieces.part_cost("mixer", part, (8,), 8, 8).macs == projections + products


def test_a_part_says_what_its_own_operators_cost(register_mixer: Any) -> None:
    """By the name in the message, as an operator of torch or one inside it; what it says goes before what is known here."""

    def cumsum_macs(result: Tensor, input: Tensor, dim: int) -> int:
        return result.numel() * (input.shape[dim] - 1)

    part = register_mixer(lambda x: x.cumsum(2) + torch.fft.fft(x).real + x @ x)
    own = registry.lookup("mixer", part.name)
    own.operators = {"cumsum": cumsum_macs, "fft_fft": lambda result, *inputs: 7, "matmul": lambda result, *inputs: 5}
    assert pieces.part_cost("mixer", part, (4,), 8, 8).macs == 4 * 8 * 8 * 7 + 7 + 5
    pieces.part_cost.cache_clear()
    own.operators = {"cumsum": cumsum_macs, "fft_r2c": lambda result, *inputs: 7}
    assert pieces.part_cost("mixer", part, (4,), 8, 8).macs == 4 * 8 * 8 * 7 + 7 + 4 * 8 * 8 * 8


def test_two_parts_that_differ_on_an_operator_are_not_counted_together() -> None:
    class Own(registry.TokenMixer):
        operators = {"cumsum": lambda result, *inputs: 0}

    class Other(registry.TokenMixer):
        operators = {"cumsum": lambda result, *inputs: 1}

    assert set(operators_of(nn.ModuleList([Own(1, None), Own(1, None)]))) == {"cumsum"}
    with pytest.raises(TypeError, match="cumsum"):
        operators_of(nn.ModuleList([Own(1, None), Other(1, None)]))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 2 * x + 1 - x / 3,
        lambda x: 1 - (2 + x) * (3 / (x * x + 1)) - (-x) ** 2,
        lambda x: x.add_(1).mul_(2).div_(3).clamp_(0, 1),
        lambda x: operator.itruediv(operator.imul(operator.isub(operator.iadd(x, 1), 2), 3), 4),
        lambda x: torch.relu(F.relu(x)) + F.silu(x) + x.sigmoid() * x.tanh(),
        lambda x: x.flatten(2).transpose(1, 2).softmax(-1).mT.reshape(x.shape),
        lambda x: torch.cat(x.chunk(2, 1), 1) + x.mean((2, 3), keepdim=True) + x.amax(1, keepdim=True),
        lambda x: F.pad(x, (1, 1, 1, 1))[:, :, 1:-1, 1:-1] + x.roll(1, 2).flip(3),
        lambda x: x @ x.transpose(2, 3) @ x,
        lambda x: torch.matmul(x, x) + (x[0] @ x[0, 0])[None],
        lambda x: torch.bmm(x[0], x[0])[None],
        lambda x: F.linear(x, x.new_ones(x.shape[3], x.shape[3]), x.new_ones(x.shape[3])),
        lambda x: F.conv2d(x, x.new_ones(x.shape[1], 1, 3, 3), None, (1, 1), (2, 2), (2, 2), x.shape[1]),
        lambda x: F.conv_transpose2d(x, x.new_ones(x.shape[1], 1, 2, 2), stride=2, groups=x.shape[1])[:, :, ::2, ::2],
        lambda x: F.interpolate(x, size=x.shape[2:]) + F.interpolate(x, size=x.shape[2:], mode="bilinear"),
        lambda x: F.interpolate(x, size=x.shape[2:], mode="bicubic"),
        lambda x: F.scaled_dot_product_attention(x, x[:, :, :3], x[:, :, :3]),
        lambda x: F.layer_norm(x, x.shape[3:]) + F.group_norm(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, (2, 3)).mean((2, 3), keepdim=True) + x,
        lambda x: (
            F.layer_norm(x, x.shape[3:], x.new_ones(x.shape[3])) + F.group_norm(x, 2, weight=x.new_ones(x.shape[1]))
        ),
        lambda x: F.batch_norm(x, x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])),
        lambda x: F.batch_norm(x, x.new_zeros(x.shape[1]), x.new_ones(x.shape[1]), weight=x.new_ones(x.shape[1])),
        lambda x: x**2 + x.pow(3) + x.sqrt() + x.exp() + x.clamp(0, 1) - x.neg(),
        lambda x: x.unsqueeze(0).squeeze(0).permute(0, 2, 3, 1).contiguous().movedim(3, 1).expand(1, -1, -1, -1),
        lambda x: x.gather(1, x.argsort(1)) + torch.where(x > 0, x, x.zero_()) + torch.stack((x, x)).sum(0),
        lambda x: F.gelu(x, approximate="tanh") + F.dropout(x, 0.5, False),
    ],
)
def test_known_operators_count_as_fvcore_counts_them(register_mixer: Any, function: Callable[[Tensor], Tensor]) -> None:
    part = register_mixer(function)
    found = pieces.part_cost("mixer", part, (4,), 8, 8)
    module = registry.make("mixer", part, 4)
    assert found.macs == fvcore_macs(module, noise(1, 4, 8, 8))
    assert (found.params, found.height, found.width) == (16, 8, 8)


@pytest.mark.parametrize("function", [lambda x: F.gelu(input=x), lambda x: F.softmax(input=x, dim=1)])
def test_arguments_may_be_named(register_mixer: Any, function: Callable[[Tensor], Tensor]) -> None:
    assert pieces.part_cost("mixer", register_mixer(function), (4,), 8, 8).macs == 0


def test_counted_operators_keep_their_own_errors(register_mixer: Any) -> None:
    part = register_mixer(lambda x: F.conv2d(x, x.new_ones(4, 3, 3, 3)))
    with pytest.raises(RuntimeError, match="channel"):
        pieces.part_cost("mixer", part, (4,), 8, 8)

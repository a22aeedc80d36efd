"""Which sub-networks a step runs, what it does to the weights, and that a resumed run is the undisturbed one."""

import copy
import io
import math
import random
from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.named import check, load_space
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, members, name_of, named_spaces, no_shape_checks, noise, randomise, small
from supernet.optimisation import MAX_SKIPPED, Optimisation, Schedule, soft_cross_entropy
from supernet.sampling import deal, sandwich
from supernet.seeding import derive_seed
from supernet.steps import autocast
from supernet.supernet import Supernet
from supernet.testing import state_of
from tests.supernet.steps import sandwich_paths, train_step

DIGITS = small(load_space("digits"), resolution=8)
TINY = check(
    SearchSpace.from_dict(
        {
            "name": "tiny", "in_channels": 2, "num_classes": 4, "resolution": 8,
            "head": {"part": "linear_head", "dropout": 0.1},
            "stages": [
                {
                    "width": [8, 16], "depth": [1, 2], "embedding": {"part": "conv_stem", "stride": 2},
                    "position": {"part": "none"}, "norm": {"part": "layer_norm"}, "scale": {"part": "none"},
                    "mixer": [{"part": "depthwise_conv", "kernel_size": 3}, {"part": "d_mixer", "head_dim": 4}],
                    "ffn": [{"part": "mlp", "ratio": [1, 2]}, {"part": "ms_ffn", "ratio": 1}],
                }
            ],
        }
    )
)  # fmt: skip
"""Small, with batch norms and dropout, to be trained again and again."""


# Sampling


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_dealing_is_even(choices: int, paths: int, seed: int) -> None:
    dealt = Counter(deal(choices, paths, random.Random(seed)))
    assert sum(dealt.values()) == paths
    counts = [dealt[choice] for choice in range(choices)]
    assert max(counts) - min(counts) <= 1
    assert set(dealt) <= set(range(choices))


def test_dealing_has_no_favourites() -> None:
    """Over many steps every choice comes first equally often, also where the paths do not go round."""
    rng = random.Random(0)
    for paths in (2, 4):
        first = Counter(deal(3, paths, rng)[0] for _ in range(3000))
        assert all(900 < first[choice] < 1100 for choice in range(3))


@pytest.mark.parametrize("space", named_spaces(), ids=name_of)
@pytest.mark.parametrize("random_paths", [0, 1, 2, 5])
def test_sandwich(space: SearchSpace, random_paths: int) -> None:
    for seed in range(5):
        archs = sandwich(space, random.Random(seed), random_paths)
        assert len(archs) == 2 + random_paths
        assert all(map(space.contains, archs))
        assert archs == sandwich(space, random.Random(seed), random_paths)
        for arch, pick in ((archs[0], -1), (archs[1], 0)):
            for stage, choices in zip(arch.stages, space.stages, strict=True):
                assert stage.width == choices.width[pick]
                assert len(stage.blocks) == choices.depth[pick]
            # Every option of every part that the path has is at its end.
            code = space.encode(arch)
            for position in space.active(code):
                gene = space.genes[position]
                if not gene.chooses_part:  # an end that is the same function as another value is written as that one
                    ends = (*code[:position], len(gene.choices) - 1 if pick else 0, *code[position + 1 :])
                    assert space.decode(ends) == arch, gene.name
    drawn = random_paths > 0 or any(gene.chooses_part for gene in space.genes)  # or there is nothing to draw
    assert (archs != sandwich(space, random.Random(99), random_paths)) == drawn


def test_sandwich_deals_every_operator_once() -> None:
    mixers = {"depthwise_conv", "d_mixer", "partial_attention", "global_attention"}
    for seed in range(20):
        archs = sandwich(DIGITS, random.Random(seed), random_paths=2)
        for stage in range(2):
            first = [arch.stages[stage].blocks[0] for arch in archs]
            assert {block.mixer.name for block in first} == mixers
            assert Counter(block.ffn.name for block in first) == {"mlp": 2, "ms_ffn": 2}


def test_random_paths_are_random() -> None:
    drawn = [sandwich(DIGITS, random.Random(seed), 1)[2] for seed in range(60)]
    assert {arch.stages[1].width for arch in drawn} == set(DIGITS.stages[1].width)
    assert {len(arch.stages[1].blocks) for arch in drawn} == set(DIGITS.stages[1].depth)


def test_paths_of_a_step_depend_on_the_seed_and_the_step_alone() -> None:
    supernet = Supernet(DIGITS)
    one, other = sandwich_paths(supernet.space, 1, 2), sandwich_paths(supernet.space, 1, 2, largest_only_steps=3)
    late_first = [one(5), one(0), one(3)]
    assert late_first == [one(5), one(0), one(3)]
    assert one(0) != one(1)
    assert sandwich_paths(supernet.space, 2, 2)(5) != one(5)
    assert [len(other(step)) for step in range(5)] == [1, 1, 1, 4, 4]
    assert other(2) == one(2)[:1]
    assert other(3) == one(3)
    with no_shape_checks():  # beartype draws which items of a list it checks
        state = random.getstate()
        one(7)
        assert random.getstate() == state


def test_derived_seeds() -> None:
    assert derive_seed(0, "train", 1) == derive_seed(0, "train", 1) == 5636930655764486229
    seen = {
        derive_seed(*parts) for parts in [(), (0,), (1,), ("0",), (0, 1), (1, 0), (0, "1"), ((0, 1),), (0, "train", 1)]
    }
    assert len(seen) == 9
    many = [derive_seed(0, step) for step in range(2000)]
    assert len(set(many)) == len(many)
    assert all(0 <= seed < 2**63 for seed in many)
    assert 0.4 < sum(seed > 2**62 for seed in many) / len(many) < 0.6
    torch.manual_seed(many[0])


# Schedule, clipping, averaging, decay


def test_schedule() -> None:
    schedule = Schedule(lr=2.0, warmup_steps=4, total_steps=20)
    values = [schedule.at(step) for step in range(22)]
    assert values[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert values[4:21] == pytest.approx([1 + math.cos(math.pi * i / 16) for i in range(17)])
    assert values[12] == pytest.approx(1.0)
    assert values[20] == values[21] == pytest.approx(0.0)
    plain = Schedule(lr=1.0, warmup_steps=0, total_steps=10)
    assert plain.at(0) == 1.0
    assert Schedule(lr=1.0, warmup_steps=3, total_steps=3).at(3) == 1.0


SCHEDULE = Schedule(lr=0.1, warmup_steps=2, total_steps=100)


class Net(nn.Module):
    """A small network with everything that the optimisation treats apart."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(self.conv(x)).relu().mean((2, 3)))


def net(seed: int = 0) -> Net:
    module = Net()
    randomise(module, seed)
    return module.train()


def backward(module: nn.Module, step: int = 0, factor: float = 1.0) -> None:
    (factor * module(noise(4, 1, 6, 6, seed=step)).square().sum()).backward()


def optimise(module: nn.Module, **changes: Any) -> Optimisation:
    return Optimisation(module, SCHEDULE, **({"weight_decay": 0.0, "clip": 0.0, "ema": 0.0} | changes))


def test_a_step_is_adamw() -> None:
    """Against torch's own optimizer with the rates of the schedule, decay on matrices only."""
    module = net()
    reference = copy.deepcopy(module)
    optimisation = optimise(module, weight_decay=0.3)
    groups = {True: [], False: []}
    for parameter in reference.parameters():
        groups[parameter.dim() >= 2].append(parameter)
    adamw = torch.optim.AdamW(
        [{"params": groups[True], "weight_decay": 0.3}, {"params": groups[False], "weight_decay": 0.0}], lr=1.0
    )
    for step in range(5):
        backward(module, step)
        report = optimisation.step()
        assert report["lr"] == SCHEDULE.at(step)
        assert all(parameter.grad is None for parameter in module.parameters())
        adamw.zero_grad()
        backward(reference, step)
        for group in adamw.param_groups:
            group["lr"] = SCHEDULE.at(step)
        norm = torch.cat([p.grad.flatten() for p in reference.parameters() if p.grad is not None]).norm()
        assert report["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
        adamw.step()
        for (name, one), other in zip(module.named_parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")
    assert optimisation.step_count == 5
    assert_same(module.unused.weight, net().unused.weight)  # no gradient, no step, no decay


def gradients_at_the_update(optimisation: Optimisation) -> dict[str, Tensor]:
    """What the optimizer sees, in place of its step."""
    seen: dict[str, Tensor] = {}

    def look(*args: Any, **kwargs: Any) -> None:
        seen.update({n: p.grad.clone() for n, p in optimisation.parameters.items() if p.grad is not None})

    optimisation.optimizer.step = look  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_clipping(clip: float) -> None:
    module = net()
    optimisation = optimise(module, clip=clip)
    seen = gradients_at_the_update(optimisation)
    backward(module)
    plain = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    norm = torch.cat([grad.flatten() for grad in plain.values()]).norm()
    assert norm > 1
    assert optimisation.step()["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    factor = 0.5 / norm if clip == 0.5 else 1.0
    assert seen.keys() == plain.keys()
    for name, grad in plain.items():
        torch.testing.assert_close(seen[name], grad * factor, rtol=1e-4, atol=1e-7)


def test_averaged_weights() -> None:
    module = net()
    optimisation = optimise(module, ema=0.25)
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    for step in range(1, 6):
        backward(module, step)
        optimisation.step()
        decay = min(0.25, (1 + step) / (10 + step))
        for name, parameter in module.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach().double()
            torch.testing.assert_close(optimisation.averaged[name].double(), expected[name], rtol=1e-5, atol=1e-6)
    assert (1 + 1) / (10 + 1) < 0.25 < (1 + 5) / (10 + 5)  # both sides of the minimum were met
    buffers = {name: b.clone() for name, b in module.named_buffers()}
    optimisation.use_averaged()
    for name, parameter in module.named_parameters():
        assert_same(parameter.detach(), optimisation.averaged[name])
        assert parameter.data_ptr() != optimisation.averaged[name].data_ptr()
    for name, buffer in module.named_buffers():
        assert_same(buffer, buffers[name])


def test_no_averaged_weights_unless_asked() -> None:
    optimisation = optimise(net())
    assert optimisation.averaged == {}
    before = state_of(optimisation.module)
    optimisation.use_averaged()
    for name, tensor in optimisation.module.state_dict().items():
        assert_same(tensor, before[name])


def test_weights_decay_and_biases_norms_and_scales_do_not() -> None:
    """By what a tensor is, not by its number of axes: a bias by head or by group has two."""
    supernet = Supernet(DIGITS)
    optimisation = optimise(supernet, weight_decay=0.1)
    decays = {
        id(p): group["weight_decay"] == 0.1 for group in optimisation.optimizer.param_groups for p in group["params"]
    }
    assert len(decays) == len(list(supernet.parameters()))
    for name, parameter in supernet.named_parameters():
        last = name.rpartition(".")[2]
        expected = parameter.dim() >= 2 and "bias" not in last and last != "bridge"
        assert decays[id(parameter)] == expected, name
    assert any("bias" in name.rpartition(".")[2] and p.dim() >= 2 for name, p in supernet.named_parameters())


# The guard


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["one gradient", "an image"])
def test_a_step_without_finite_gradients_is_skipped(value: float, where: str) -> None:
    module = net()
    optimisation = optimise(module, ema=0.9, clip=1.0, weight_decay=0.1)
    for step in range(3):
        backward(module, step)
        optimisation.step()
    remembered = {name: tensor.clone() for name, tensor in optimisation._statistics.items()}
    weights = {name: p.detach().clone() for name, p in module.named_parameters()}
    averaged = {name: a.clone() for name, a in optimisation.averaged.items()}
    adam = copy.deepcopy(optimisation.optimizer.state_dict())

    x = noise(4, 1, 6, 6)
    if where == "an image":
        x[0, 0, 0, 0] = value
    module(x).square().sum().backward()
    if where == "one gradient":
        module.linear.bias.grad[0] = value
    else:
        assert not module.norm.running_mean.isfinite().all()
    report = optimisation.step()

    assert report == {"lr": SCHEDULE.at(3), "grad_norm": math.inf}
    assert (optimisation.skipped, optimisation.skipped_in_a_row, optimisation.step_count) == (1, 1, 4)
    for name, parameter in module.named_parameters():
        assert_same(parameter.detach(), weights[name], name)
        assert parameter.grad is None
    for name, average in optimisation.averaged.items():
        assert_same(average, averaged[name], name)
    for name, buffer in module.named_buffers():
        assert buffer.isfinite().all()
        assert_same(buffer, remembered[name], name)
    after = optimisation.optimizer.state_dict()
    assert after["state"].keys() == adam["state"].keys()
    for index, state in adam["state"].items():
        for key, tensor in state.items():
            assert_same(after["state"][index][key], tensor, key)

    backward(module, 4)
    assert optimisation.step()["lr"] == SCHEDULE.at(4)
    assert (optimisation.skipped, optimisation.skipped_in_a_row) == (1, 0)
    assert not torch.equal(module.conv.weight, weights["conv.weight"])


def test_statistics_go_back_to_recent_ones() -> None:
    module = net()
    optimisation = optimise(module)
    for step in range(60):
        backward(module, step)
        if step == 49:
            wanted = {name: buffer.clone() for name, buffer in module.named_buffers()}
        optimisation.step()
    backward(module, factor=math.nan)
    optimisation.step()
    for name, buffer in module.named_buffers():
        assert_same(buffer, wanted[name], name)


def test_too_many_skipped_steps_end_the_training() -> None:
    module = net()
    optimisation = optimise(module)
    for _ in range(MAX_SKIPPED - 1):
        backward(module, factor=math.nan)
        optimisation.step()
    backward(module)
    optimisation.step()  # one good step, and the count begins anew
    for _ in range(MAX_SKIPPED - 1):
        backward(module, factor=math.nan)
        optimisation.step()
    backward(module, factor=math.nan)
    with pytest.raises(FloatingPointError, match=str(MAX_SKIPPED)):
        optimisation.step()
    assert optimisation.skipped == 2 * MAX_SKIPPED - 1
    assert all(p.isfinite().all() for p in module.parameters())


# Resuming


def round_trip(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_same_state(one: Any, other: Any, where: str = "state") -> None:
    assert type(one) is type(other) or isinstance(one, dict), where
    if isinstance(one, Tensor):
        assert_same(one, other, where)
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_state(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same_state(a, b, f"{where}.{index}")
    else:
        assert one == other, where


def data(step: int, batch: int = 8) -> tuple[Tensor, Tensor]:
    labels = torch.randint(0, 4, (batch,), generator=torch.Generator().manual_seed(step))
    return noise(batch, TINY.in_channels, TINY.resolution, TINY.resolution, seed=step), labels


def run_steps(supernet: Supernet, optimisation: Optimisation, steps: range, **changes: Any) -> list[dict[str, float]]:
    paths = sandwich_paths(supernet.space, 0, random_paths=1, largest_only_steps=1)
    reports = []
    for step in steps:
        images, labels = data(step)
        if step == 3:
            images = images * math.nan  # one step is skipped
        settings = {"distill": 0.5, "label_smoothing": 0.1, "seed": derive_seed(0, "step", step)} | changes
        reports.append(train_step(supernet, images, labels, paths(step), optimisation, **settings))
    return reports


STEPS = 6


def fresh(seed: int = 0) -> tuple[Supernet, Optimisation]:
    supernet = Supernet(TINY, seed)
    for buffer in supernet.buffers():  # statistics that no other run begins with
        buffer.add_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(seed)).to(buffer.dtype))
    schedule = Schedule(lr=0.01, warmup_steps=2, total_steps=STEPS)
    return supernet, Optimisation(supernet, schedule, weight_decay=0.05, clip=1.0, ema=0.5)


@cache
def undisturbed() -> tuple[Supernet, Optimisation, list[dict[str, float]]]:
    supernet, optimisation = fresh()
    return supernet, optimisation, run_steps(supernet, optimisation, range(STEPS))


@pytest.mark.parametrize("stop", [1, 3, 4])
def test_a_resumed_run_is_the_undisturbed_run(stop: int) -> None:
    supernet, optimisation, reports = undisturbed()
    assert optimisation.skipped == 1

    first = fresh()
    found = run_steps(*first, range(stop))
    state = round_trip(first[1].state_dict())
    second = fresh(seed=1)
    second[1].load_state_dict(state)
    assert_same_state(second[1].state_dict(), state)
    torch.manual_seed(123)
    random.seed(123)
    found += run_steps(*second, range(stop, STEPS))

    assert str(found) == str(reports)  # nan is nan
    assert_same_state(second[1].state_dict(), optimisation.state_dict())
    assert_same_state(second[0].state_dict(), supernet.state_dict())


# One step


def reference_losses(
    supernet: Supernet, images: Tensor, labels: Tensor, archs: list[Architecture], distill: float, smoothing: float
) -> list[Tensor]:
    torch.manual_seed(0)  # that of the step
    logits = [supernet(images, arch) for arch in archs]
    teacher = torch.softmax(logits[0].detach(), 1)
    hot = F.one_hot(labels, 4).float()
    losses = [-((hot * (1 - smoothing) + smoothing / 4) * torch.log_softmax(logits[0], 1)).sum(1).mean()]
    for other in logits[1:]:
        log = torch.log_softmax(other, 1)
        losses.append((1 - distill) * -(hot * log).sum(1).mean() + distill * -(teacher * log).sum(1).mean())
    return losses


@pytest.mark.parametrize("distill", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("count", [1, 3])
def test_the_losses_of_a_step(distill: float, count: int) -> None:
    supernet, _ = fresh()
    randomise(supernet, 1)
    reference = copy.deepcopy(supernet).train()
    optimisation = optimise(supernet)
    seen = gradients_at_the_update(optimisation)
    images, labels = data(0)
    archs = members(TINY, count, seed=3)
    report = train_step(
        supernet.eval(), images, labels, archs, optimisation, distill=distill, label_smoothing=0.2, seed=0
    )
    losses = reference_losses(reference, images, labels, archs, distill, 0.2)
    torch.stack(losses).mean().backward()
    assert report["loss_largest"] == pytest.approx(float(losses[0].detach()), rel=1e-5)
    assert report["loss_smallest"] == pytest.approx(float(losses[min(1, count - 1)].detach()), rel=1e-5)
    wanted = {name: p.grad for name, p in reference.named_parameters() if p.grad is not None}
    assert seen.keys() == wanted.keys()
    for name, grad in wanted.items():
        torch.testing.assert_close(
            seen[name], grad, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for name, buffer in supernet.named_buffers():
        torch.testing.assert_close(buffer, reference.bank()[name])
    assert supernet.training


@pytest.mark.parametrize("amp", ["none", "bf16"])
def test_training_learns_a_batch(amp: str) -> None:
    supernet, _ = fresh()
    optimisation = Optimisation(
        supernet, Schedule(lr=0.02, warmup_steps=4, total_steps=60), weight_decay=0.01, clip=5.0, ema=0.0
    )
    images, labels = data(0, batch=16)
    paths = sandwich_paths(supernet.space, 0, random_paths=0)
    archs = paths(0)
    reports = [
        train_step(supernet, images, labels, archs, optimisation, distill=0.5, label_smoothing=0.0, seed=step, amp=amp)
        for step in range(60)
    ]
    assert all(math.isfinite(value) for report in reports for value in report.values())
    for key in ("loss_largest", "loss_smallest"):
        assert reports[0][key] == pytest.approx(math.log(4), abs=1.0)
        assert reports[-1][key] < 0.5 * reports[0][key]
    assert optimisation.skipped == 0


def test_the_seed_is_that_of_dropout() -> None:
    data_ = TINY.to_dict() | {"head": [{"part": "linear_head", "norm": ["layer_norm"], "dropout": [0.5]}]}
    space = check(SearchSpace.from_dict(data_))
    arch = members(space, 1)
    found = []
    for seed, disturb in ((1, 5), (1, 6), (2, 5)):
        supernet = Supernet(space)
        torch.manual_seed(disturb)
        report = train_step(supernet, *data(0), arch, optimise(supernet), distill=0.0, label_smoothing=0.0, seed=seed)
        found.append(report["loss_largest"])
    assert found[0] == found[1] != found[2]


def test_autocast() -> None:
    layer, x = nn.Linear(4, 4), noise(2, 4)
    with autocast(torch.device("cpu"), "bf16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast(torch.device("cpu"), "none"):
        assert layer(x).dtype == torch.float32


# Distillation


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 7), st.integers(0, 1000), st.floats(0.1, 20))
def test_soft_cross_entropy_is_kl_up_to_a_constant(batch: int, classes: int, seed: int, scale: float) -> None:
    logits, teacher = noise(batch, classes, seed=seed) * scale, noise(batch, classes, seed=seed + 1) * scale
    found, wanted = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = soft_cross_entropy(found, teacher)
    kl = F.kl_div(wanted.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
    loss.backward()
    kl.backward()
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-6)
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss, kl + entropy, rtol=1e-4, atol=1e-5)


def test_soft_cross_entropy_is_in_float32() -> None:
    logits, teacher = noise(3, 5), noise(3, 5, seed=1)
    low = soft_cross_entropy(logits.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, soft_cross_entropy(logits.bfloat16().float(), teacher.bfloat16().float()))

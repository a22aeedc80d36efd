"""A resumed run is the undisturbed one, and the losses of a step are those of labels and of distillation."""

import copy
import io
import math
import random
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.named import check
from search_spaces.space import SearchSpace
from search_spaces.testing import assert_same, members, noise, randomise
from supernet.optimisation import Optimisation, Schedule, soft_cross_entropy
from supernet.seeding import derive_seed
from supernet.steps import autocast
from supernet.supernet import Supernet
from tests.supernet.optimisations import gradients_at_the_update, optimise
from tests.supernet.steps import sandwich_paths, train_step

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

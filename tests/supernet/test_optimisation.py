"""What a step does to the weights: schedule, clipping, averaging, decay, and the guard against gradients that are not finite."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from search_spaces.named import load_space
from search_spaces.testing import assert_same, noise, randomise, small
from supernet.optimisation import MAX_SKIPPED, Schedule
from supernet.supernet import Supernet
from supernet.testing import state_of
from tests.supernet.optimisations import SCHEDULE, gradients_at_the_update, optimise

DIGITS = small(load_space("digits"), resolution=8)


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

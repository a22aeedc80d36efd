"""The one training loop: what it calls, what it gives to a step, and that a stand-alone network trains and resumes by it."""

import copy
import dataclasses
import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_spaces.testing import noise, randomise
from supernet.loop import Batches, fit
from supernet.optimisation import Optimisation
from supernet.recipe import Recipe
from supernet.seeding import derive_seed
from supernet.steps import LabelStep, Moment
from supernet.testing import Memory, same

RECIPE = Recipe(epochs=3, batch_size=4, lr=0.01, warmup_epochs=0.5, ema=0.9, checkpoint_steps=2)
PER_EPOCH = 3


def network(seed: int = 0) -> nn.Module:
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(64, 3)
    return randomise(nn.Sequential(*layers), seed)


def batches() -> Batches:
    def of(epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(first, PER_EPOCH):
            seed = epoch * PER_EPOCH + number
            yield noise(4, 1, 6, 6, seed=seed), torch.randint(0, 3, (4,), generator=torch.Generator().manual_seed(seed))

    return Batches(4, PER_EPOCH, of)


def test_what_is_called_and_when() -> None:
    seen: list[Moment] = []
    saved: list[int] = []

    class Watcher(Memory):
        def save(self, optimisation: Optimisation) -> None:
            saved.append(optimisation.step_count)

    def step(module: nn.Module, images: Tensor, labels: Tensor, moment: Moment) -> dict[str, Tensor]:
        assert module.training
        assert torch.initial_seed() == derive_seed(5, "step", moment.step)
        seen.append(moment)
        loss = F.cross_entropy(module(images), labels)
        loss.backward()
        return {"loss": loss.detach(), "extra": loss.detach() * 2}

    watcher = Watcher()
    optimisation = fit(network(), batches(), step, RECIPE, seed=5, watcher=watcher)
    assert seen == [Moment(number, 9, PER_EPOCH) for number in range(9)]
    assert saved == [2, 4, 6, 8]
    assert optimisation.step_count == 9
    assert [(r.step, r.epoch, r.images) for r in watcher.reports] == [(n + 1, n // 3, 4 * (n + 1)) for n in range(9)]
    for report in watcher.reports:
        assert report.losses["extra"] == pytest.approx(2 * report.losses["loss"])
        assert math.isfinite(report.grad_norm)
    assert watcher.reports[0].lr == pytest.approx(RECIPE.lr / 3)  # warm-up of two steps, as half of 3 is rounded
    for name, parameter in optimisation.parameters.items():
        assert torch.equal(parameter, optimisation.averaged[name])


def test_no_checkpoint_behind_the_last_step() -> None:
    watcher = Memory(stop=9)
    fit(
        network(),
        batches(),
        LabelStep(RECIPE),
        dataclasses.replace(RECIPE, checkpoint_steps=9),
        seed=0,
        watcher=watcher,
    )
    assert watcher.state is None


def test_a_stand_alone_network_learns_and_resumes() -> None:
    calm, killed = Memory(), Memory(stop=4)
    whole = network()
    fit(whole, batches(), LabelStep(RECIPE), RECIPE, seed=0, watcher=calm)
    with pytest.raises(Memory.Stopped):
        fit(network(), batches(), LabelStep(RECIPE), RECIPE, seed=0, watcher=killed)
    found, resumed = network(1), Memory(killed.state)
    fit(found, batches(), LabelStep(RECIPE), RECIPE, seed=0, watcher=resumed)
    assert same(found.state_dict(), whole.state_dict())
    assert [r.losses for r in killed.reports + resumed.reports] == [r.losses for r in calm.reports]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_step_of_a_stand_alone_network(smoothing: float) -> None:
    one = network().train()
    other = copy.deepcopy(one)
    images, labels = next(iter(batches().of(0, 0)))
    torch.manual_seed(0)
    logged = LabelStep(Recipe(label_smoothing=smoothing))(one, images, labels, Moment(0, 1, 1))
    torch.manual_seed(0)
    loss = F.cross_entropy(other(images), labels, label_smoothing=smoothing)
    loss.backward()
    assert logged == {"loss": loss.detach()}
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad)
    low = LabelStep(Recipe(amp="bf16"))(network().train(), images, labels, Moment(0, 1, 1))["loss"]
    assert low.dtype == torch.float32
    assert low != loss.detach()

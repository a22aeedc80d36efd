"""timm's parts of a recipe in the training loop: each does what timm's own loop does, and a training with all of them resumes exactly."""

import copy
from typing import Any

import pytest
import torch
from timm.optim import param_groups_layer_decay
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn

from nas.config import RetrainConfig
from nas.training.pieces import check_optimizer, pieces_of
from nas.training.steps import RecipeStep, forward_of
from search_spaces.errors import InputError
from search_spaces.network import Network, build, decayed
from search_spaces.papers import paper_network
from search_spaces.timm_models import TimmNetwork
from supernet.loop import Batches, fit
from supernet.optimisation import Optimisation, Pieces, Schedule
from supernet.testing import Memory, same, small_space
from tests.supernet.test_loop import batches

PER_EPOCH = 3


def made(**keys: Any) -> RetrainConfig:
    return RetrainConfig(**{"epochs": 4, "batch_size": 4, "warmup_epochs": 1.0, "checkpoint_steps": 1, **keys})


def pieces(network: nn.Module, recipe: RetrainConfig) -> Pieces:
    found = pieces_of(network, recipe, PER_EPOCH)
    assert found is not None
    return found


def test_a_recipe_of_before_keeps_the_loops_own_parts() -> None:
    assert pieces_of(nn.Linear(2, 2), made(), PER_EPOCH) is None
    mixed = made(
        mixup=0.5, augment="timm", aa="rand-m5", grad_accum_steps=2, channels_last=True, kd_model_name="supernet"
    )
    assert pieces_of(nn.Linear(2, 2), mixed, PER_EPOCH) is None


SCHEDULES = {
    "cosine": {"min_lr": 1e-5, "warmup_lr": 1e-4, "cooldown_epochs": 2},
    "tanh": {"min_lr": 1e-5},
    "poly": {"decay_rate": 0.9},
    "step": {"decay_epochs": 2.0},
    "constant": {},
}


@pytest.mark.parametrize("updates", [False, True])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_timms_loop(name: str, updates: bool) -> None:
    """timm's loop calls `step` before the first step of each epoch, and `step_update` with the updates that are done."""
    keys = SCHEDULES[name]
    recipe = made(sched=name, sched_on_updates=updates, lr=0.1, layer_decay=1.0, **keys)
    network = nn.Linear(2, 2)
    found = pieces(network, recipe)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    schedule, epochs = create_scheduler_v2(
        optimizer, name, num_epochs=4, warmup_epochs=1, updates_per_epoch=PER_EPOCH, step_on_epochs=not updates,
        **{"warmup_lr": 1e-5, "decay_rate": 0.1, "decay_epochs": 90.0, **keys},
    )  # fmt: skip
    assert schedule is not None
    assert found.more_epochs == epochs - 4 == keys.get("cooldown_epochs", 0)
    rates = []
    for step in range(int(epochs) * PER_EPOCH):
        if step % PER_EPOCH == 0:
            schedule.step(step // PER_EPOCH)
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert [found.rates.at(step) for step in range(len(rates))] == rates
    assert found.rates.at(PER_EPOCH) == rates[PER_EPOCH]  # whatever was asked for before
    assert len(set(rates)) > 1


def test_rates_fall_with_depth_as_timms_do() -> None:
    """Beside weight decay, which follows `decayed`, the groups are timm's. Our loop keeps the ratios between them."""
    arch = paper_network("mat_1").arch
    network, theirs = Network(arch), TimmNetwork(arch)
    recipe = made(layer_decay=0.7, lr=0.01, sched="cosine", warmup_epochs=0.0, clip=0.0, ema=0.0)
    found = pieces(network, recipe)
    scales = {id(p): group["lr_scale"] for group in found.optimizer.param_groups for p in group["params"]}
    expected = {
        id(p): group["lr_scale"] for group in param_groups_layer_decay(theirs, layer_decay=0.7) for p in group["params"]
    }
    names = dict(theirs.named_parameters())
    weights = decayed(network)
    assert len(scales) == len(expected) == len(names) > 50
    for name, parameter in network.named_parameters():
        assert scales[id(parameter)] == pytest.approx(expected[id(names[name])]), name
    for group in found.optimizer.param_groups:
        for parameter in group["params"]:
            (name,) = [name for name, other in network.named_parameters() if other is parameter]
            assert group["weight_decay"] == (recipe.weight_decay if name in weights else 0), name
    optimisation = Optimisation(
        network, Schedule(lr=0.01, warmup_steps=0, total_steps=9), weight_decay=0.0, clip=0.0, ema=0.0, pieces=found
    )
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimisation.step()
    for group in found.optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01 * group["lr_scale"])


def test_layers_of_a_model_that_nobody_knows_are_refused() -> None:
    with pytest.raises(InputError, match="layers are not known"):
        pieces_of(nn.Linear(2, 2), made(layer_decay=0.5), 1)


def test_the_average_is_timms() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    recipe = made(model_ema=True, model_ema_decay=0.5, sched="cosine", warmup_epochs=0.0)
    found = pieces(network, recipe)
    expected = ModelEmaV3(network, decay=0.5)
    assert found.average is not None
    for step in range(1, 4):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(step)
        network(torch.randn(4, 2, 3, 3) + step)
        found.average.update(step)
        expected.update(network, step)
    kept = copy.deepcopy(found.average.state_dict())
    assert not torch.equal(kept["0.weight"], network[0].weight)
    found.average.use()
    assert same(dict(network.state_dict()), dict(expected.module.state_dict()))
    again = pieces(network, recipe)
    assert again.average is not None
    again.average.load_state_dict(kept)
    assert same(again.average.state_dict(), kept)


def test_optimisers_are_timms_by_name() -> None:
    found = pieces(nn.Linear(2, 2), made(opt="lamb")).optimizer
    assert type(found).__name__ == "Lamb"
    plain = Optimisation(
        nn.Linear(2, 2), Schedule(lr=1, warmup_steps=0, total_steps=1), weight_decay=0.1, clip=0, ema=0
    ).optimizer
    ours = pieces(nn.Linear(2, 2), made(sched="cosine", weight_decay=0.1, lr=1.0)).optimizer
    assert type(ours) is type(plain)
    for one, other in zip(ours.param_groups, plain.param_groups, strict=True):
        assert {k: v for k, v in one.items() if k != "params"} == {k: v for k, v in other.items() if k != "params"}
    check_optimizer(made(opt="lamb", layer_decay=0.5))  # of no network in particular
    with pytest.raises(InputError, match="unknown optimiser of timm 'adamv'") as error:
        check_optimizer(made(opt="adamv"))
    assert error.value.instead == "retrain.opt=adam"
    with pytest.raises(InputError, match="unknown optimiser"):
        check_optimizer(made(opt="adahessian"))  # of the second order
    with pytest.raises(InputError, match="cannot be made"):
        check_optimizer(made(opt="bnbadam"))  # whose package is not installed


EVERYTHING: dict[str, Any] = {
    "opt": "lamb", "sched": "cosine", "cooldown_epochs": 1, "sched_on_updates": True, "min_lr": 1e-5, "layer_decay": 0.9, "model_ema": True,
    "model_ema_decay": 0.9, "mixup": 0.4, "cutmix": 1.0, "mixup_prob": 0.7, "grad_accum_steps": 2, "grad_checkpointing": True, "lr": 0.01,
    "drop_path": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("opt", ["lamb", "adamw"])
def test_a_training_by_all_of_them_resumes_exactly(opt: str) -> None:
    recipe = made(**{**EVERYTHING, "opt": opt})
    space = small_space()

    def train(seed: int, watcher: Memory) -> Network:
        network = build(space.largest(lambda arch: len(arch.stages[0].blocks)), seed)
        network.set_drop_path(recipe.drop_path)
        step = RecipeStep(recipe, forward_of(network, recipe), classes=4, seed=7)
        images = batches()

        def of(epoch: int, first: int) -> Any:
            return ((x.repeat(1, 2, 1, 1), labels) for x, labels in images.of(epoch, first))

        three = Batches(images.size, images.per_epoch, of)
        fit(network, three, step, recipe, seed=0, watcher=watcher, pieces=pieces(network, recipe))
        return network

    calm, killed = Memory(), Memory(stop=8)
    whole = train(0, calm)
    assert len(calm.reports) == (recipe.epochs + recipe.cooldown_epochs) * PER_EPOCH
    with pytest.raises(Memory.Stopped):
        train(0, killed)
    resumed = Memory(killed.state)
    found = train(1, resumed)
    assert same(dict(found.state_dict()), dict(whole.state_dict()))
    assert [r.losses for r in killed.reports + resumed.reports] == [r.losses for r in calm.reports]
    assert [r.lr for r in killed.reports + resumed.reports] == [r.lr for r in calm.reports]

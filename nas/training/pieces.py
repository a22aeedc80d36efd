"""The parts of a recipe that timm makes: its optimisers, schedules, layer-wise rates and moving average, for `supernet.loop.fit`."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas.config.timm_recipe import TimmRecipe
from search_spaces.errors import InputError, unknown
from search_spaces.network import Network, decayed
from supernet.optimisation import Pieces, Rates, Schedule, groups_of

BLOCKS = {
    "stem": r"^stages\.0\.embedding\.",
    "blocks": [(r"^stages\.(\d+)\.blocks\.(\d+)\.", None), (r"^stages\.(\d+)\.(?:embedding|position_bias)\.", (0,))],
}
"""The layers of a network of ours, as timm's `group_parameters` takes them: the stem, each block, the head."""


def pieces_of(network: nn.Module, recipe: TimmRecipe, per_epoch: int) -> Pieces | None:
    """What stands in place of the loop's own optimiser, schedule and average; None if the recipe asks for nothing else.

    Args:
        network: on the device on which it is trained.
        per_epoch: steps of a pass.

    Raises:
        InputError: timm has no such optimiser, or it does not work here.
    """
    if recipe.opt == "adamw" and recipe.sched == "default" and recipe.layer_decay == 1 and not recipe.model_ema:
        return None
    rates, epochs = _rates(recipe, per_epoch)
    return Pieces(
        rates=rates,
        optimizer=_optimizer(network, recipe),
        average=TimmAverage(network, recipe) if recipe.model_ema else None,
        more_epochs=epochs - recipe.epochs,
    )


def passes_of(recipe: TimmRecipe) -> int:
    """Passes over the images of a whole training: the recipe's epochs, and those that timm's schedule adds to warm up or to cool down."""
    return _rates(recipe, 1)[1]


def check_optimizer(recipe: TimmRecipe) -> None:
    """
    Raises:
        InputError: timm has no such optimiser, or it does not work here.
    """
    if recipe.opt != "adamw":
        with torch.random.fork_rng(devices=[]):
            _optimizer(nn.Linear(2, 2), replace(recipe, layer_decay=1.0))


def _optimizer(network: nn.Module, recipe: TimmRecipe) -> torch.optim.Optimizer:
    import timm.optim

    optim: Any = timm.optim
    # Optimisers of the second order need gradients of gradients, which no step leaves behind.
    names = [name for name in optim.list_optimizers() if not optim.get_optimizer_info(name).second_order]
    if recipe.opt not in names:
        raise unknown("optimiser of timm", recipe.opt, names, "retrain.opt={}")
    groups = groups_of(network, recipe.weight_decay)
    if recipe.layer_decay != 1:
        groups = _by_layer(network, recipe)
    # The loop's own AdamW handles all tensors at once too. Not every other optimiser can.
    more: dict[str, Any] = {"foreach": True} if recipe.opt == "adamw" else {}
    try:
        return optim.create_optimizer_v2(
            groups, recipe.opt, lr=recipe.lr, weight_decay=recipe.weight_decay, momentum=recipe.momentum, **more
        )
    except Exception as error:  # of packages that are not installed, or options that an optimiser refuses
        raise InputError(
            f"retrain.opt={recipe.opt} cannot be made ({type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]})",
            "an optimiser that works on this machine", "retrain.opt=adamw",
        ) from None  # fmt: skip


def _by_layer(network: nn.Module, recipe: TimmRecipe) -> list[dict[str, Any]]:
    """Groups with `lr_scale`: 1 at the head, times `layer_decay` for every block before it.

    Raises:
        InputError: nobody knows the layers of this model of timm.
    """
    from timm.models import group_parameters

    own = isinstance(network, Network)
    if not own and not hasattr(network, "group_matcher"):
        raise InputError(
            f"retrain.layer_decay={recipe.layer_decay:g} and a model of timm whose layers are not known ({type(network).__name__})",
            "models with group_matcher", "retrain.layer_decay=1",
        )  # fmt: skip
    matcher = BLOCKS if own else network.group_matcher(coarse=False)  # type: ignore[operator]
    layers = cast("Mapping[str, int]", group_parameters(network, matcher, reverse=True))
    last, weights = max(layers.values()), decayed(network)
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        key = layers[name], name in weights
        scale, decay = recipe.layer_decay ** (last - key[0]), recipe.weight_decay if key[1] else 0.0
        group = groups.setdefault(key, {"params": [], "weight_decay": decay, "lr_scale": scale})
        group["params"].append(parameter)
    return list(groups.values())


def _rates(recipe: TimmRecipe, per_epoch: int) -> tuple[Rates, int]:
    """The learning rate by step, and the epochs with a cool-down and a warm-up before the first."""
    if recipe.sched == "default":
        warmup, total = round(recipe.warmup_epochs * per_epoch), per_epoch * recipe.epochs
        return Schedule(lr=recipe.lr, warmup_steps=warmup, total_steps=total), recipe.epochs
    return (rates := TimmRates(recipe, per_epoch)), rates.epochs


class TimmRates:
    """The learning rate of one of timm's schedules, by step.

    epochs: of the training, with warm-up and cool-down.
    """

    def __init__(self, recipe: TimmRecipe, per_epoch: int) -> None:
        import timm.scheduler

        self.per_epoch, self.on_updates = per_epoch, recipe.sched_on_updates
        # timm's schedules write into an optimiser. This one is only read; that of the network has groups with other rates.
        self._read = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
        scheduler: Any = timm.scheduler
        self._schedule, epochs = scheduler.create_scheduler_v2(
            self._read, recipe.sched, num_epochs=recipe.epochs, decay_epochs=recipe.decay_epochs, decay_rate=recipe.decay_rate,
            cooldown_epochs=recipe.cooldown_epochs, min_lr=recipe.min_lr, warmup_lr=recipe.warmup_lr,
            warmup_epochs=recipe.warmup_epochs, warmup_prefix=recipe.warmup_prefix,
            step_on_epochs=not recipe.sched_on_updates, updates_per_epoch=per_epoch,
        )  # fmt: skip
        self.epochs = math.ceil(epochs)

    def at(self, step: int) -> float:
        """The rate of step `step`, counted from 0."""
        if self.on_updates:
            self._schedule.step_update(step)
        else:
            self._schedule.step(step // self.per_epoch)
        return self._read.param_groups[0]["lr"]


class TimmAverage:
    """timm's moving average of the weights and the running statistics of a network."""

    def __init__(self, network: nn.Module, recipe: TimmRecipe) -> None:
        import timm.utils

        utils: Any = timm.utils
        self.network = network
        self.average = utils.ModelEmaV3(network, decay=recipe.model_ema_decay, use_warmup=recipe.model_ema_warmup)

    def update(self, step: int) -> None:
        """Called after step `step`, counted from 1."""
        self.average.update(self.network, step)

    def use(self) -> None:
        """Puts the averaged weights and statistics into the network, for good."""
        self.network.load_state_dict(self.average.module.state_dict())

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged tensors by name."""
        return dict(self.average.module.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self.average.module.load_state_dict(state)

"""timm's networks as references: trained on the run's images by the recipe of retraining, and shown beside the Pareto front.

They are what a user would otherwise take. They come without pretrained weights, as every network that they are compared with.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nas.measuring.delivery import in_full
from nas.measuring.noise import NoisyMachine, measure
from nas.measuring.timing import Timing
from nas.networks.counters import counted
from nas.networks.timm_models import TIMM, fresh_model, name_in_timm
from nas.runtimes import Setting, make_runtime
from search_spaces.errors import InputError


def reference_model(name: str) -> str:
    """The name in timm of a reference, "timm/NAME".

    Raises:
        InputError: timm has no such model.
    """
    return name_in_timm(name, "retrain.references")


def reference_costs(
    model: str, in_channels: int, num_classes: int, resolution: int, drop_path: float = 0.0
) -> dict[str, float]:
    """The built-in costs of a reference, counted on the network itself; MACs by `nas.networks.counters.our_count`.

    Args:
        drop_path: with which it will be trained.

    Raises:
        InputError: as `make_reference`, or it cannot be counted.
    """
    network = make_reference(model, in_channels, num_classes, resolution, drop_path)
    size = (1, in_channels, resolution, resolution)
    offered = ("models of timm that run without values", "retrain.references=timm/resnet18")
    return counted(f"{TIMM}{model}", lambda: network.to("meta").eval(), size, *offered)[1]


def reference_latencies(
    models: Sequence[str], in_channels: int, num_classes: int, resolution: int, setting: Setting, noisy: bool
) -> dict[str, tuple[Timing, bool]]:
    """The time of each reference, measured side by side on this machine in the form in which it would be used, and whether the machine
    was too noisy.

    Args:
        noisy: measure on a noisy machine too.

    Raises:
        NoisyMachine: something disturbs the machine, and `noisy` is false.
        InputError: the runtime is missing or cannot run a model, or as `make_reference`.
    """
    threads, runtime = torch.get_num_threads(), make_runtime(setting.runtime)
    try:
        settled = runtime.settled(setting)
        images = torch.zeros(setting.batch, in_channels, resolution, resolution)
        runs = {
            model: runtime.prepare(
                make_reference(model, in_channels, num_classes, resolution).eval(), (images,), settled
            )
            for model in models
        }
        measured = measure(runs, seed=0, noisy=noisy)
    except NoisyMachine as error:
        kept = "nothing has been trained yet"
        raise NoisyMachine(error.given, error.allowed, f"{in_full(error.instead)}; {kept}") from None
    finally:
        torch.set_num_threads(threads)
    return {model: (timing, measured.noisy) for model, timing in measured.timings.items()}


def make_reference(
    model: str, in_channels: int, num_classes: int, resolution: int, drop_path: float = 0.0
) -> nn.Module:
    """A model of timm with fresh weights from torch's global generator. Maps (b, in_channels, resolution, resolution) to (b, num_classes).

    Args:
        drop_path: stochastic depth of the last block, where the model takes it.

    Raises:
        InputError: the model does not work at this size of image, or not with stochastic depth.
    """
    given: dict[str, Any] = {"in_chans": in_channels, "num_classes": num_classes}
    if drop_path:
        given["drop_path_rate"] = drop_path
    try:
        network = fresh_model(model, resolution, **given)
        _try(network, in_channels, resolution)
    except Exception as error:  # whatever the model's own code raises
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{TIMM}{model} does not work on images of {resolution} x {resolution} pixels"
            + (f" with drop_path_rate={drop_path:g}" if drop_path else "")
            + f" ({type(error).__name__}: {reason[:160]})",
            "a model of timm that does",
            "retrain.references=timm/resnet18",
        ) from error
    return network


@torch.no_grad()
def _try(network: nn.Module, in_channels: int, resolution: int) -> None:
    training = network.training
    network.eval()(torch.zeros(1, in_channels, resolution, resolution))
    network.train(training)

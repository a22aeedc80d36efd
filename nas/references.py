"""timm's networks as references: trained on the run's images by the recipe of retraining, and shown beside the Pareto front.

They are what a user would otherwise take. They come without pretrained weights, as every network that they are compared with.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from nas.counters import our_count
from nas.runtimes import Setting, make_runtime
from nas.timing import measure
from search_spaces.costs.activations import held
from search_spaces.costs.memory import state_bytes
from search_spaces.costs.operators import meta
from search_spaces.errors import InputError

PREFIX = "timm/"


def reference_model(name: str) -> str:
    """The name in timm of a reference, "timm/NAME".

    Raises:
        InputError: timm has no such model.
    """
    import timm

    import search_spaces.timm_models  # noqa: F401  # the papers' networks are timm models too

    model = name.removeprefix(PREFIX)
    if not timm.is_model(model):
        nearest = difflib.get_close_matches(model, timm.list_models(), n=3, cutoff=0.01)
        raise InputError(
            f"retrain.references has {name!r}, which timm does not know",
            f"a model of timm, such as {', '.join(nearest)}",
            f"retrain.references={PREFIX}{nearest[0]}",
        )
    return model


def reference_costs(model: str, in_channels: int, num_classes: int, resolution: int) -> dict[str, float]:
    """The built-in costs of a reference, counted on the network itself; MACs by `nas.counters.our_count`.

    Raises:
        InputError: as `make_reference`.
    """
    network = make_reference(model, in_channels, num_classes, resolution).to("meta").eval().requires_grad_(False)
    x = meta(1, in_channels, resolution, resolution)
    maps = held(network, x)
    return {
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "macs": our_count(network, x).total,
        "activations": maps,
        "memory": state_bytes(network) + maps,
    }


def reference_latencies(
    models: Sequence[str], in_channels: int, num_classes: int, resolution: int, setting: Setting, noisy: bool
) -> dict[str, float]:
    """The time of each reference in ms, measured side by side on this machine in the form in which it would be used.

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
        timings = measure(runs, seed=0, noisy=noisy).timings
    finally:
        torch.set_num_threads(threads)
    return {model: timing.ms for model, timing in timings.items()}


def make_reference(
    model: str, in_channels: int, num_classes: int, resolution: int, drop_path: float = 0.0
) -> nn.Module:
    """A model of timm with fresh weights from torch's global generator. Maps (b, in_channels, resolution, resolution) to (b, num_classes).

    Args:
        drop_path: stochastic depth of the last block, where the model takes it.

    Raises:
        InputError: the model does not work at this size of image, or not with stochastic depth.
    """
    import timm

    given: dict[str, Any] = {"in_chans": in_channels, "num_classes": num_classes}
    if drop_path:
        given["drop_path_rate"] = drop_path
    try:
        try:
            network = timm.create_model(model, img_size=resolution, **given)  # models with tables of positions
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            network = timm.create_model(model, **given)
        _try(network, in_channels, resolution)
    except Exception as error:  # whatever the model's own code raises
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"timm/{model} does not work on images of {resolution} x {resolution} pixels"
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

"""The steps from a supernet to a file that somebody runs, compared on the same images: one score all the way.

    compare({"supernet": forward, "load_network": network, "onnx": session_on_tensors}, batches)

Each step is anything that maps images (b, c, h, w) to logits (b, classes), on the device of the images. Whoever adds a form of a network,
such as an exported file, adds a name and such a function.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.machine.garbage import importing
from nas.runs.weights import load_network
from search_spaces.errors import InputError
from search_spaces.inference import inference_form
from search_spaces.network import Network

Forward = Callable[[Tensor], Tensor]

SUPERNET, RETRAINED, LOADED, TIMM_FORM, INFERENCE = "supernet", "retrained", "load_network", "timm", "inference form"
"""Steps from the supernet, or from a retraining, to a network in use; others may add more."""

ROUNDING = {"cpu": 1e-4}
"""The most that logits of two forms of a network may differ in float32, as a share of the largest logit or of 1, by the type of the device."""

ROUNDING_ELSEWHERE = 1e-2


@dataclass(frozen=True, slots=True)
class Step:
    """A step on all images.

    Args:
        name: of the step.
        difference: the largest absolute difference of a logit from the first step; NaN if a logit is.
        top1: share of the images whose label has the largest logit.
        images: how many.
    """

    name: str
    difference: float
    top1: float
    images: int

    def to_dict(self) -> dict[str, Any]:
        """As it is written; JSON has no NaN, and None stands for it."""
        return asdict(self) | {"difference": self.difference if math.isfinite(self.difference) else None}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Steps side by side.

    Args:
        steps: the first is what the others are compared with.
        largest: the largest absolute logit of the first step.
        whole: one of the steps on all images, where the others saw some of them.
    """

    steps: tuple[Step, ...]
    largest: float
    whole: Step | None = None

    def of(self, name: str) -> Step:
        """The step of this name, on the most images that it saw."""
        if self.whole is not None and self.whole.name == name:
            return self.whole
        return next(step for step in self.steps if step.name == name)

    def allowed(self, device: str) -> float:
        """The most that logits may differ by rounding on a type of device."""
        return ROUNDING.get(device, ROUNDING_ELSEWHERE) * max(1.0, self.largest)

    def check(self, device: str, where: str, again: str, exact: tuple[str, ...] = ()) -> None:
        """
        Args:
            where: the network, for the message.
            again: what to type instead.
            exact: steps whose logits are to be equal bit for bit.

        Raises:
            InputError: logits differ by more than rounding.
        """
        first = self.steps[0]
        for step in self.steps[1:]:
            if not step.difference <= (0 if step.name in exact else self.allowed(device)):
                raise InputError(
                    f"{where} does not do what was evaluated: its logits differ from the {first.name}'s by up to {step.difference:g} in the step "
                    f"{step.name}, whose top-1 is {step.top1:.6f} instead of {first.top1:.6f}",
                    "the files as nas wrote them, and the machine and number of threads that searched", again,
                )  # fmt: skip


@torch.no_grad()
def compare(
    steps: Mapping[str, Forward], batches: Iterable[tuple[Tensor, Tensor]], whole: str = "", some: int | None = None
) -> Comparison:
    """Runs every step on the same images.

    Args:
        steps: by name; the others are compared with the first.
        batches: images (b, c, h, w) and labels (b).
        whole: a step that runs on the images behind `some`, too.
        some: images, in whole batches, after which the other steps stop; None for all.

    Raises:
        ValueError: there are no images, or no steps.
    """
    right, difference = dict.fromkeys(steps, 0), dict.fromkeys(steps, 0.0)
    images, more, right_of_more, largest = 0, 0, 0, 0.0
    for x, y in batches:
        if some is not None and images >= some:
            if not whole:
                break
            more, right_of_more = more + len(y), right_of_more + _right(steps[whole](x), y)
            continue
        reference: Tensor | None = None
        for name, forward in steps.items():
            logits = forward(x).float()
            if reference is None:
                reference = logits
                largest = max(largest, logits.abs().max().item())
            found = (logits - reference).abs().max().item()
            difference[name] = found if math.isnan(found) else max(found, difference[name])
            right[name] += _right(logits, y)
        images += len(y)
    if not images or not steps:
        raise ValueError("there are no images or no steps to compare")
    found_steps = tuple(Step(name, difference[name], right[name] / images, images) for name in steps)
    everything = images + more
    on_all = Step(whole, difference[whole], (right[whole] + right_of_more) / everything, everything) if whole else None
    return Comparison(found_steps, largest, on_all)


def _right(logits: Tensor, labels: Tensor) -> int:
    return int((logits.argmax(dim=1) == labels).sum())


def check_top1(step: Step, recorded: float, where: str, again: str) -> None:
    """
    Args:
        recorded: top-1, perhaps from another device or number of threads, which round differently: one image in 500 may differ.

    Raises:
        InputError: the accuracy is not the recorded one.
    """
    if abs(step.top1 - recorded) * step.images > max(1, step.images / 500):
        raise InputError(
            f"{where} does not do what was evaluated: its top-1 is {step.top1:.6f} and was {recorded:.6f}",
            "the files as nas wrote them, and the machine and number of threads that searched",
            again,
        )


def forms(place: Path, device: torch.device, network: Network | None = None) -> dict[str, Forward]:
    """The network of a folder as users get it: by `load_network`, by timm, and in its form for inference.

    Args:
        network: by `load_network`, if it is there already.
    """
    with importing():
        import timm

    network = load_network(place).to(device) if network is None else network
    by_timm = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
    return {LOADED: network, TIMM_FORM: by_timm.to(device), INFERENCE: inference_form(network)}

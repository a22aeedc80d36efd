"""A made run with one text in every place that is not a number."""

import random
from dataclasses import replace
from typing import Any

from nas.goals.budget import Budget
from nas.records import SAMPLER, Origin, Reference
from nas.records.device_times import DeviceTime
from nas.reporting import SearchView
from search_spaces.architecture import Architecture, Block, Part, Stage
from tests.nas.reporting.made_searches import COSTS, architecture, evaluation, run_of, search_view, with_evaluations


def hostile_identity(text: str) -> dict[str, Any]:
    """What run.json says of the run."""
    config = run_of()["config"]
    config["data"]["name"] = config["data"]["root"] = text
    return {
        "config": config, "space_name": text, "space_digest": text, "split_digest": text, "classes": [text, "b"], "versions": {text: text},
        "machine": {"cpu": text, "cores": 1, "memory_gib": 0.0, "threads": 1}, "commit": text, "command": ["nas", text],
        "costs": [*COSTS, {"name": text, "unit": text, "about": text}],
    }  # fmt: skip


def hostile_search(text: str) -> SearchView:
    """A search of the run: its best network, one that the user gave, one of a usual sampler, a timed one, and a reference."""
    part = Part.of(text, **{text: text})
    block = Block(position=part, norm=part, mixer=part, ffn=part, scale=part)
    stage = Stage(width=4, embedding=part, blocks=(block,))
    arch = Architecture(in_channels=1, num_classes=2, resolution=8, stages=(stage,), head=part)
    rng = random.Random(1)
    known = evaluation(99, Origin(SAMPLER, text), 1, architecture(rng), rng)
    view = with_evaluations(
        search_view(text, evaluations=3, seeds=1, budget="none", objectives=("top1", "macs")),
        replace(known, architecture=arch, digest=text, top1=0.999, costs={**known.costs, text: 3.5}),
        replace(known, n=100, origin=Origin("given", text), digest="y" * 40),
        replace(known, n=101, origin=Origin(SAMPLER, "nsga2"), digest="x" * 40),
    )
    reference = Reference(
        model=text, seed=0, costs=known.costs, epochs=1, skipped_steps=0, validation_top1=0.5, test_top1=0.5, test_loss=1.0, test_images=360,
    )  # fmt: skip
    device = f"latency_ms@{text}"
    measured = DeviceTime(
        digest=text, cost=device, predicted=1.0, measured=1.0, low=0.9, high=1.1, rounds=9, device=text, noisy=True, time=text,
    )  # fmt: skip
    return replace(
        view, budget=Budget(((text, 5.0),)), settings={text: text, "samplers": [text]}, references=[reference], measurements=[measured],
        devices={device: {"name": text, "fingerprint": text}},
    )  # fmt: skip

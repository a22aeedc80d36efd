"""Synthetic searches, as the report is given them: no network is built and nothing is trained."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.config.parsing import config_from
from nas.goals.budget import Budget
from nas.goals.objectives import parse_objectives
from nas.goals.roles import spread
from nas.records import BASELINE, GIVEN, SAMPLER, Evaluation, Origin, Retraining
from nas.reporting import SearchView, collect, write_report
from nas.runs.store import RunStore
from search_spaces.architecture import Architecture, Block, Part, Stage

MIXERS = (
    Part.of("pooling", size=3),
    Part.of("depthwise_conv", kernel_size=5),
    Part.of("window_attention", num_heads=2, window_size=4),
    Part.of("mhsa", num_heads=4),
    Part.of("osra", num_heads=2, ratio=[4, 2]),
)

COSTS = [
    {"name": "params", "unit": "parameters", "about": "trainable parameters"},
    {"name": "macs", "unit": "MACs", "about": "fused multiply-adds of one image"},
    {"name": "activations", "unit": "bytes", "about": "the largest activation of one image, in 32-bit numbers."},
    {"name": "latency_ms", "unit": "ms", "about": "time of one image on the target, from a table"},
]

RUN: dict[str, Any] = {
    "space_name": "digits",
    "space_digest": "0123456789ab",
    "space_size": "1234567890123",
    "split_digest": "ba9876543210",
    "split_sizes": {"train": 1077, "validation": 360, "test": 360},
    "classes": [str(number) for number in range(10)],
    "versions": {"python": "3.11.7", "torch": "2.11.0"},
    "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 7.8, "threads": 2},
    "commit": "0123456789ab",
    "command": ["nas", "demo", "run=runs/demo"],
    "costs": COSTS,
}


def run_of(**identity: Any) -> dict[str, Any]:
    """run.json of a run."""
    config = {key: value for key, value in config_from({}).to_dict().items() if key not in ("run", "search")}
    return {"config": config, **RUN, **identity}


def architecture(rng: random.Random, shape: tuple[tuple[int, int], ...] | None = None) -> Architecture:
    shape = shape or tuple((rng.randint(1, 3), rng.choice((1, 2)) * width) for width in (12, 24, 48))
    stages = []
    for depth, width in shape:
        blocks = tuple(
            Block(
                position=Part.of("dpe", kernel_size=3),
                norm=Part.of("group_norm"),
                mixer=rng.choice(MIXERS),
                ffn=Part.of("mlp", ratio=rng.choice((2, 4))),
                scale=Part.of("layer_scale", init=1e-5),
            )
            for _ in range(depth)
        )
        stages.append(Stage(width=width, embedding=Part.of("conv_embedding", stride=2), blocks=blocks))
    return Architecture(in_channels=1, num_classes=10, resolution=16, stages=tuple(stages), head=Part.of("linear"))


def costs_of(arch: Architecture, unknown: bool = False) -> dict[str, float]:
    """Roughly as a network of this shape has them. unknown: networks with pooling have no latency."""
    names = [block.mixer.name for stage in arch.stages for block in stage.blocks]
    params = sum(len(stage.blocks) * 8 * stage.width**2 + 40 * stage.width for stage in arch.stages)
    heavy = sum(name in ("mhsa", "window_attention") for name in names)
    costs: dict[str, float] = {"params": params, "macs": params * 16 + 31_000 * heavy}
    costs["activations"] = 4096 * arch.stages[0].width * (1 + heavy)
    if not (unknown and "pooling" in names):
        costs["latency_ms"] = round(0.4 + 0.11 * len(names) + 0.23 * names.count("mhsa"), 3)
    return costs


def quality(arch: Architecture) -> float:
    names = [[block.mixer.name for block in stage.blocks] for stage in arch.stages]
    taste = names[0].count("depthwise_conv") / len(names[0]) + names[-1].count("mhsa") / len(names[-1])
    return 0.98 - 90 / math.sqrt(costs_of(arch)["macs"]) + 0.02 * taste


def evaluation(
    n: int, origin: Origin, trial: int, arch: Architecture, rng: random.Random, unknown: bool = False, **changes: Any
) -> Evaluation:
    right = round(360 * min(max(quality(arch) - 0.14 + rng.gauss(0, 0.02), 0.05), 0.99))
    made = Evaluation(
        n=n,
        origin=origin,
        trial=trial,
        digest=arch.digest,
        architecture=arch,
        costs=costs_of(arch, unknown),
        top1=right / 360,
        loss=max(0.01, 2.2 * (1 - right / 360) + rng.gauss(0, 0.05)),
        images=360,
    )
    return replace(made, **changes)


def search_view(
    name: str = "search",
    *,
    evaluations: int = 40,
    samplers: Sequence[str] = ("nsga2", "random"),
    baselines: bool = True,
    given: int = 0,
    seeds: int = 0,
    budget: str = "2.5M",
    objectives: Sequence[str] = ("top1", "macs"),
    unknown: bool = False,
    **changes: Any,
) -> SearchView:
    """A search: `evaluations` of each sampler, `given` networks of the user, and `seeds` retrainings of each start."""
    rng, limits = random.Random(7), Budget.parse(budget)
    proposed: list[tuple[Origin, int, Architecture]] = []
    if baselines:
        shapes = {
            "smallest": ((1, 12), (1, 24), (1, 48)),
            "largest": ((3, 24), (3, 48), (3, 96)),
            "hand_designed": ((2, 16), (2, 32), (2, 64)),
        }
        proposed += [(Origin(BASELINE, role), 0, architecture(rng, shape)) for role, shape in shapes.items()]
    for trial in range(given):
        proposed.append((Origin(GIVEN, "mine.json"), trial, architecture(rng, ((1, 20), (2, 40), (1, 80)))))
    for sampler in samplers:
        for trial in range(evaluations):
            # All but random search are played by the best of ever more draws.
            drawn = [architecture(rng) for _ in range(1 + min(trial // 10, 4) * (sampler != "random"))]
            best = max(drawn, key=lambda arch: quality(arch) * limits.allows(costs_of(arch)))
            proposed.append((Origin(SAMPLER, sampler), trial, best))
    known = [evaluation(n, *entry, rng, unknown) for n, entry in enumerate(proposed)]
    settings = {
        "budget": budget,
        "objectives": list(objectives),
        "samplers": list(samplers),
        "evaluations": evaluations,
        "seed": 0,
        "calibration_images": 512,
    }
    view = SearchView(
        name=name,
        folder_name=f"searches/{name}",
        settings=settings,
        budget=limits,
        objectives=parse_objectives(objectives),
        evaluations=known,
        **changes,
    )
    return retrained(view, seeds) if seeds else view


def retrained(view: SearchView, seeds: int) -> SearchView:
    """With retrainings of five networks of the front, and of the rest of the reported ones; one of the front is extracted."""
    rng = random.Random(8)
    search = collect(run_of(), [view]).searches[0]
    chosen = spread(search.front, search.objectives, 5)
    networks = [n for n in search.networks if not n.on_front or n.digest in {trial.digest for trial in chosen}]
    lines = []
    for network in networks:
        for init in ("scratch", "inherited"):
            for seed in range(seeds):
                score = min(quality(network.architecture) + 0.01 * (init == "inherited") + rng.gauss(0, 0.008), 0.995)
                lines.append(
                    Retraining(
                        digest=network.digest,
                        roles=network.roles,
                        init=init,
                        seed=seed,
                        architecture=network.architecture,
                        costs=network.costs,
                        epochs=30,
                        skipped_steps=0,
                        validation_top1=round(360 * score) / 360,
                        test_top1=round(360 * (score - 0.004)) / 360,
                        test_loss=2 * (1 - score),
                        test_images=360,
                    )
                )
    extracted = frozenset(trial.digest for trial in chosen[-1:])
    return replace(view, retrainings=lines, extracted=extracted)


def reported(folder: Path, *views: SearchView, **identity: Any) -> RunStore:
    """The report of searches, in a folder."""
    store = RunStore(folder)
    write_report(collect(run_of(**identity), views), store)
    return store


def with_evaluations(view: SearchView, *more: Evaluation) -> SearchView:
    return replace(view, evaluations=[*view.evaluations, *more])


def digests(evaluations: Iterable[Evaluation]) -> list[str]:
    return [evaluation.digest for evaluation in evaluations]

"""Candidates per second of a search's evaluations, lever by lever, and what the levers do to the order of the candidates.

    python tests/benchmarks/evaluating.py RUN                         # the networks that NSGA-II proposed in RUN's oldest search
    python tests/benchmarks/evaluating.py RUN --search NAME --sampler nsga2 --networks 60 --memory 4

RUN is a run folder with a trained supernet and a search; nothing in it is changed. The candidates are those of one sampler, in the order
and the batches of the search. Every way evaluates each batch of candidates before the next batch comes, in random turn, so that a busy
moment of the machine is shared out among them; process, allocator, threads, memory layout and images per batch are the same for all.

    usual        as public code bases have it: a copy of the sub-network, statistics reset and recomputed by a forward pass in training
                 mode, all validation images, which a data loader normalises each time; one network after the other
    resident     the same with images that stay in memory
    plain        search.evaluation=plain: the supernet's own slices instead of a copy
    folded       resident, with norms folded and branches merged after calibration (not used by searches: its logits differ)
    shared       search.evaluation=exact: networks that begin alike share maps and statistics
    raced        candidates that surely lose are dropped, and nothing is shared
    fast         search.evaluation=fast: both

The time of a way is all that a search does for a candidate: also the fits of its race, and the line of its answers in outcomes.jsonl,
which is flushed to disk. A race compares with what the same way has found before. Kendall's tau (b) and the recall of the ten best are between the top-1 of the
usual procedure and that of the way, over all candidates; a network is recalled when none but nine are better by the usual procedure.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas import machine
from nas.config import Config
from nas.config.effective import run_config
from nas.data import load_part
from nas.goals.pareto import front
from nas.log import Progress
from nas.machine.available import available
from nas.records import Evaluation
from nas.runs.run import open_run
from nas.runs.searches import read_search, search_names
from nas.runs.store import RunStore
from nas.searching.evaluation import Accuracy, Evaluator, Raced, evaluate
from nas.searching.racing import Contest, Race, Rival
from search_spaces.inference import inference_form
from supernet.supernet import Supernet


class Images(Dataset[tuple[Tensor, int]]):
    """The search-validation images as a data loader takes them: one at a time, normalised when it is asked for.

    Args:
        batches: normalised, from which bytes are made once.
    """

    def __init__(self, batches: Sequence[tuple[Tensor, Tensor]], mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean, self.std = (torch.tensor(values).reshape(-1, 1, 1) for values in (mean, std))
        x = torch.cat([x for x, _ in batches])
        self.pixels = ((x * self.std + self.mean) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        self.labels = torch.cat([y for _, y in batches]).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x = self.pixels[index].permute(2, 0, 1).to(torch.float32).div(255)
        return x.sub(self.mean).div(self.std), self.labels[index]


def recalibrated(supernet: Supernet, record: Evaluation, batches: Sequence[Tensor]) -> nn.Module:
    """A copy of the sub-network with statistics of its own, as public code bases make it."""
    network = supernet.extract(record.architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average over batches
    network.train()
    with torch.no_grad():
        for images in batches:
            network(images)
    return network.eval()


class Result(NamedTuple):
    """Of one candidate: its accuracy or an estimate, whom it lost against, and seconds."""

    accuracy: Accuracy
    against: str
    seconds: float


@dataclass
class Way:
    """One way to evaluate a batch of candidates.

    Args:
        evaluate: one candidate; the race is None but where candidates are raced.
        contest: where candidates are raced.
        outcomes: where the answers of candidates that were validated in full are written; only where candidates are raced.
        clock: seconds, rising.
    """

    name: str
    evaluate: Callable[[Evaluation, Race | None], Raced]
    contest: Contest | None = None
    outcomes: RunStore | None = None
    results: list[Result] = field(default_factory=list)
    clock: Callable[[], float] = time.perf_counter

    def run(self, batch: Sequence[Evaluation], costs: Callable[[Evaluation], list[float]]) -> None:
        """Evaluates candidates that were proposed together: none of them is compared with another of them."""
        races, before = [], []
        for record in batch:
            start = self.clock()
            races.append(self.contest.race("sampler", costs(record)) if self.contest else None)
            before.append(self.clock() - start)
        for record, race, seconds in zip(batch, races, before, strict=True):
            start = self.clock()
            found = self.evaluate(record, race)
            if self.contest is not None and found.outcome is not None:
                rival = Rival("sampler", record.digest, found.accuracy.top1, found.accuracy.loss)
                self.contest.add(rival, costs(record), found.outcome)
                if self.outcomes is not None:
                    self.outcomes.append(f"{self.name}.jsonl", {"digest": record.digest, **found.outcome.to_dict()})
            self.results.append(Result(found.accuracy, found.against, seconds + self.clock() - start))

    @property
    def seconds(self) -> float:
        return sum(result.seconds for result in self.results)


def ways(
    config: Config, run: Any, device: torch.device, memory: int, scores: Sequence[str], outcomes: RunStore
) -> list[Way]:
    """All ways, each with caches of its own; they share the supernet and the images."""
    alone = Evaluator.of(config, run.split, run.supernet().to(device).eval(), device)
    supernet, calibration, images = alone.supernet, alone.calibration, list(alone.validation)
    size, count = config.search.batch_size, sum(len(y) for _, y in images)
    loader = DataLoader(Images(images, run.split.mean, run.split.std), batch_size=size)

    def cached() -> Evaluator:
        from supernet.reuse import PrefixCache

        return replace(alone, cache=PrefixCache(supernet, calibration, memory))

    def loaded() -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in loader:
            yield x.to(device, memory_format=torch.channels_last), y.to(device)

    @torch.no_grad()
    def folded(record: Evaluation, _: Race | None) -> Raced:
        return Raced(evaluate(inference_form(recalibrated(supernet, record, calibration)), images))  # type: ignore[arg-type]

    shared, both = cached(), cached()
    return [
        Way("usual", lambda record, _: Raced(evaluate(recalibrated(supernet, record, calibration), loaded()))),
        Way("resident", lambda record, _: Raced(evaluate(recalibrated(supernet, record, calibration), images))),
        Way("plain", lambda record, _: Raced(alone(record.architecture))),
        Way("folded", folded),
        Way("shared", lambda record, _: Raced(shared(record.architecture))),
        Way(
            "raced", lambda record, race: alone.race(record.architecture, race), Contest(count, size, scores), outcomes
        ),
        Way("fast", lambda record, race: both.race(record.architecture, race), Contest(count, size, scores), outcomes),
    ]


def rows(found: Sequence[Way], records: Sequence[Evaluation], costs: Callable[[Evaluation], list[float]]) -> list[str]:
    """The table: candidates per second, and how the order differs from that of the first way."""
    usual = found[0]
    truth = [result.accuracy.top1 for result in usual.results]
    images = usual.results[0].accuracy.images
    points = [(-top1, *costs(record)) for top1, record in zip(truth, records, strict=True)]
    best = sorted(truth, reverse=True)[: min(10, len(truth))]
    place = {record.digest: index for index, record in enumerate(records)}
    lines = []
    for way in found:
        top1 = [result.accuracy.top1 for result in way.results]
        dropped = [index for index, result in enumerate(way.results) if result.against]
        order = sorted(range(len(top1)), key=lambda index: -top1[index])[: len(best)]
        recall = sum(truth[index] >= best[-1] for index in order) / len(best)
        tau = cast(Any, kendalltau(truth, top1)).statistic
        seen = sum(result.accuracy.images for result in way.results) / (images * len(records))
        lost = len(set(front(points)) & set(dropped))
        wrong = sum(truth[index] > truth[place[way.results[index].against]] for index in dropped)
        half = len(records) // 2
        ratios = [
            sum(r.seconds for r in usual.results[part]) / sum(r.seconds for r in way.results[part])
            for part in (slice(None), slice(half), slice(half, None))
        ]
        largest = max(abs(a - b) for a, b in zip(truth, top1, strict=True)) * images
        lines.append(
            f"  {way.name:9} {len(records) / way.seconds:6.2f} candidates/s  {ratios[0]:5.2f} times usual (halves {ratios[1]:.2f}, {ratios[2]:.2f})"
            f"  images {seen:4.0%}  tau {tau:.3f}  recall {recall:.2f}  top-1 differs by {largest:3.0f} images at most"
            + (f"  dropped {len(dropped)}, wrongly {wrong}, of the Pareto front {lost}" if way.contest else "")
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder of a run with a search")
    parser.add_argument("--search", default="", help="its name; the oldest by default")
    parser.add_argument("--sampler", default="nsga2")
    parser.add_argument("--networks", type=int, default=0, help="only the first so many; 0 for all")
    parser.add_argument(
        "--memory",
        type=float,
        default=0,
        help="GiB for maps of each way that shares; a quarter of what is free by default",
    )
    parser.add_argument("--only", default="", help="names of ways, with commas; usual is always run")
    parser.add_argument(
        "--cpu", action="store_true", help="seconds of this process's processor time, for a machine that is busy"
    )
    asked = parser.parse_args()
    store = RunStore.open(asked.run)
    search = read_search(store, asked.search or search_names(store)[0])
    config = replace(search.over(run_config(store, asked.run)), executor="here")
    run = open_run(config, writes=False)
    device = machine.prepare(config.threads, config.device)
    records = [record for record in search.evaluations() if record.origin.name == asked.sampler]
    records = records[: asked.networks or None]
    free = available(device)
    memory = int(asked.memory * 2**30) or (free.size // 4 if free else 2**30)
    names = [objective.name for objective in search.objectives if objective.is_cost]
    scores = [objective.name for objective in search.objectives if not objective.is_cost]

    def costs(record: Evaluation) -> list[float]:
        return [record.costs[name] for name in names]

    wanted = {"usual", *filter(None, asked.only.split(","))}
    with tempfile.TemporaryDirectory() as folder:
        every = ways(config, run, device, memory, scores, RunStore(folder))
        found = [way for way in every if not asked.only or way.name in wanted]
        if asked.cpu:
            for way in found:
                way.clock = time.process_time
        progress, draw, size = Progress("evaluating", len(records)), random.Random(0), search.settings.batch
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            for way in draw.sample(found, len(found)):
                way.run(batch, costs)
            progress.update(start + len(batch), 0)
    print(  # noqa: T201
        f"{len(records)} networks of {asked.sampler} in search {search.name}, {len(load_part(config.data, run.split, 'validation'))} images, "
        f"{config.search.calibration_images} for calibration; {memory / 2**30:.1f} GiB of maps; {'processor' if asked.cpu else 'wall-clock'} time; "
        f"{machine.describe(config.threads)}"
    )
    print("\n".join(rows(found, records, costs)))  # noqa: T201


if __name__ == "__main__":
    main()

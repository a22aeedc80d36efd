"""`nas search`: finds sub-networks of high accuracy and few MACs, with inherited weights, on the search-validation images."""

import math
import random
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.baselines import hand_designed
from nas.config import Config, parse_macs
from nas.data import Part
from nas.data.part import MEMORY_LIMIT
from nas.evaluate import evaluate
from nas.log import Progress, say
from nas.memory import explained
from nas.pareto import front
from nas.run import Run, check_budget, open_run
from nas.samplers import Proposer, mirror
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.costs.pieces import cost
from search_spaces.errors import InputError
from supernet.calibration import calibrate
from supernet.seeding import derive_seed
from supernet.supernet import Supernet

EVALUATIONS = "evaluations.jsonl"
STUDY = "study.db"
MAX_TRIALS_PER_EVALUATION = 20
"""Proposals a sampler may make per new architecture before it is stopped: a small space runs out of members."""


class _Validation:
    """The search-validation images in batches, any number of times; kept as they are when they are few."""

    def __init__(self, part: Part, batch_size: int, device: str) -> None:
        self.part, self.batch_size, self.device = part, batch_size, device
        size = 4 * len(part) * part.in_channels * part.resolution**2
        self.kept = list(self._batches()) if size <= MEMORY_LIMIT else None

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return self.part.batches(self.batch_size, device=self.device)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return iter(self.kept) if self.kept is not None else self._batches()


@dataclass(frozen=True)
class Evaluator:
    """Evaluates sub-networks of a trained supernet on search-validation, each with statistics of its own."""

    supernet: Supernet
    calibration: list[torch.Tensor]
    validation: Iterable[tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def of(cls, run: Run) -> "Evaluator":
        """With the run's supernet and images; of the images, only supernet-train and search-validation are opened."""
        settings, device = run.config.search, str(run.device)
        train = run.part("train", limit=settings.calibration_images)
        size = min(settings.batch_size, len(train))
        whole = [x for x, _ in train.batches(size, drop_last=True, device=device)]
        return cls(run.supernet(), whole, _Validation(run.part("validation"), settings.batch_size, device))

    def __call__(self, arch: Architecture) -> dict[str, Any]:
        """What evaluations.jsonl says of an architecture."""
        buffers = calibrate(self.supernet, arch, self.calibration)
        accuracy = evaluate(lambda x: self.supernet(x, arch, buffers), self.validation)
        if not math.isfinite(accuracy.loss):
            raise FloatingPointError(
                f"network {arch.digest} has a loss that is not finite: train anew with a lower train.lr"
            )
        found = cost(arch)
        return {
            "digest": arch.digest,
            "architecture": arch.to_dict(),
            "params": found.params,
            "macs": found.macs,
            "top1": accuracy.top1,
            "loss": accuracy.loss,
            "images": accuracy.images,
        }


class _Search:
    """One run's search: what has been evaluated, and the loop of ask, evaluate, record."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.records = run.store.records(EVALUATIONS)
        self.known = {record["digest"]: record for record in self.records}
        self.done = {(record["sampler"], record["trial"]) for record in self.records}
        self.evaluator: Evaluator | None = None
        self.fresh = 0

    def evaluate(self, sampler: str, trial: int, arch: Architecture) -> dict[str, Any]:
        """The record of an architecture, evaluated unless it has been, and appended unless it is there."""
        record = self.known.get(arch.digest)
        if record is None:
            if self.evaluator is None:
                self.evaluator = Evaluator.of(self.run)
            record = self.evaluator(arch)
            self.fresh += record["images"]
        if (sampler, trial) not in self.done:
            record = {"n": len(self.records), "sampler": sampler, "trial": trial} | {
                key: value for key, value in record.items() if key not in ("n", "sampler", "trial")
            }
            self.run.store.append(EVALUATIONS, record)
            self.records.append(record)
            self.done.add((sampler, trial))
        self.known[arch.digest] = record
        return record

    def sample(self, proposer: Proposer, budget: int | None) -> None:
        """Evaluates as many different architectures as the configuration says; over-budget proposals are repaired first."""
        space, settings = self.run.space, self.run.config.search
        wanted = min(settings.evaluations, space.size)
        seen: set[str] = set()
        progress = Progress(f"search {proposer.name}", wanted)
        for number in range(wanted * MAX_TRIALS_PER_EVALUATION):
            trial, genes = proposer.ask()
            arch = space.decode(genes)
            if budget is not None:
                rng = random.Random(derive_seed(self.run.config.seed, proposer.name, number))
                arch = space.repair(arch, rng, lambda arch: macs(arch) / budget - 1)
            if arch.digest in seen:
                record = self.known[arch.digest]
            else:
                record = self.evaluate(proposer.name, number, arch)
                seen.add(arch.digest)
            proposer.tell(trial, space.encode(arch), arch, record["top1"], record["macs"])
            progress.update(len(seen), self.fresh, top1=record["top1"], macs=record["macs"])
            if len(seen) >= wanted:
                return
        say(f"{proposer.name}: stopped at {len(seen)} different networks, it proposed no new ones")


@explained
def search(config: Config) -> Run:
    """Searches the run's space within its budget, by each sampler on equal numbers of evaluations; goes on where it stopped.

    Raises:
        InputError: no trained supernet, an infeasible budget, or other settings than the search started with.
    """
    run = open_run(config, fixed=("train",))
    run.check_trained()
    budget = parse_macs(config.search.budget)
    if budget is not None:
        check_budget(run.space, budget)
    run.settle("search", run.store.exists(EVALUATIONS), grows=("evaluations",))
    work = _Search(run)
    work.evaluate("smallest", 0, run.space.smallest(macs))
    work.evaluate("largest", 0, run.space.largest(macs))
    proposers = []
    for name in config.search.samplers:
        proposers.append(
            Proposer(
                run.space, name, seed=derive_seed(config.seed, "sampler", name) % 2**32,
                population=config.search.population, budget=budget,
            )
        )  # fmt: skip
        work.sample(proposers[-1], budget)
        copy_study(proposers, run.store.path(STUDY))
    winners = front_of(work.records, budget)
    best = max(winners, key=lambda record: record["top1"])
    plain, earlier = (
        hand_designed(run.space, macs, best["macs"]),
        [r for r in work.records if r["sampler"] == "hand_made"],
    )
    if not earlier or earlier[-1]["digest"] != plain.digest:  # a search that went on may have a winner of other MACs
        work.evaluate("hand_made", len(earlier), plain)
    random_top1 = [record["top1"] for record in candidates(work.records, budget, ("random",))]
    say(
        f"{config.run}: {len(winners)} networks on the front, best top-1 {best['top1']:.1%} on search-validation at "
        f"{best['macs']:,} MACs; median of {len(random_top1)} random networks {statistics.median(random_top1):.1%}"
    )
    return run


def copy_study(proposers: list[Proposer], path: Path) -> None:
    """Writes study.db; when it is damaged, once more from nothing.

    Raises:
        InputError: it cannot be written.
    """
    try:
        mirror(proposers, path)
    except OSError as error:
        say(
            f"{path} could not be brought up to date ({str(error).splitlines()[0]}); it is made anew from evaluations.jsonl"
        )
        for left in (path, path.with_name(f"{path.name}-journal")):
            left.unlink(missing_ok=True)
        try:
            mirror(proposers, path)
        except OSError as again:
            raise InputError(
                f"{path} cannot be written ({str(again).splitlines()[0]})",
                "a disk with free space",
                "free some space, then run the same command again: it continues where it stopped",
            ) from None


def candidates(
    records: list[dict[str, Any]], budget: int | None, samplers: tuple[str, ...] = ("nsga2", "random")
) -> list[dict[str, Any]]:
    """What samplers found within the budget, each architecture once, in order of evaluation."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["sampler"] in samplers and (budget is None or record["macs"] <= budget):
            found.setdefault(record["digest"], record)
    return list(found.values())


def front_of(
    records: list[dict[str, Any]], budget: int | None, samplers: tuple[str, ...] = ("nsga2", "random")
) -> list[dict[str, Any]]:
    """The records that no other candidate beats in both top-1 and MACs, by ascending MACs."""
    found = candidates(records, budget, samplers)
    return [found[index] for index in front([(record["macs"], record["top1"]) for record in found])]

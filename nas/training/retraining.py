"""Training networks alone: one job per network, initialisation and seed, each tested once at its end.

Each job has one thread, so results do not depend on how many run at once, or where.
"""

import math
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, overload

import torch
from torch import nn

from nas import machine
from nas.data import Split, load_part
from nas.executors import Executor
from nas.log import Progress
from nas.plugins import import_plugins
from nas.records import RecordError, Reference, Retraining
from nas.records.shapes import Table, Whole
from nas.runs.checkpoints import load_checkpoint, save_checkpoint
from nas.runs.disk import damaged_file
from nas.runs.scalars import Scalars
from nas.runs.searches import EVALUATED_BY, Search, read_search, search_names
from nas.runs.settings import RETRAIN_FREE, different
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.runs.weights import save_tensors
from nas.searching.evaluation import evaluate
from nas.training.jobs import Job, ReferenceJob
from nas.training.network import Training
from search_spaces.errors import InputError
from supernet.loop import Report
from supernet.optimisation import Optimisation
from supernet.ranks import ALONE, Ranks

AfterPass = Callable[[nn.Module, int], None]
"""Called with the network, and the number of passes over the images that are behind it, after each but the last. It may leave the network
in evaluation mode, and changes nothing else of it.
"""

LOGGED = 10
"""Steps between two scalars of the loss."""


def _same_recipe(search: Search) -> Iterator[Search]:
    """The other searches of the run that retrain by the same recipe."""
    recipe = search.retraining
    for name in search_names(search.store):
        if name == search.name or recipe is None:
            continue
        other = read_search(search.store, name)
        if other.retraining is not None and not different(other.retraining, recipe, RETRAIN_FREE):
            yield other


def retrained_elsewhere(search: Search, jobs: list[Job]) -> Iterator[tuple[Job, Retraining]]:
    """Takes the jobs out of `jobs` that another search of the run has done with the same recipe, and gives their results; their weights
    are copied.

    From inherited weights only where both searches evaluate alike, because the weights carry the statistics of the evaluation.
    """
    for other in _same_recipe(search):
        alike = all(getattr(other.settings, key) == getattr(search.settings, key) for key in EVALUATED_BY)
        done = {(r.digest, r.init, r.seed): r for r in other.retrainings()}
        for job in list(jobs):
            found = done.get((job.digest, job.init, job.seed))
            if found is not None and (alike or job.init == "scratch") and _copied(search, other, job):
                jobs.remove(job)
                yield job, replace(found, roles=job.roles, costs=job.costs)


def references_elsewhere(search: Search, jobs: list[ReferenceJob]) -> Iterator[tuple[ReferenceJob, Reference]]:
    """The same for models of timm."""
    for other in _same_recipe(search):
        done = {(r.model, r.seed): r for r in other.references()}
        for job in list(jobs):
            found = done.get((job.model, job.seed))
            if found is not None and _copied(search, other, job):
                jobs.remove(job)
                yield job, replace(found, costs=job.costs, times=job.times)


def _copied(search: Search, other: Search, job: Job | ReferenceJob) -> bool:
    """Copies the weights of a job that another search has done, if they are there and whole."""
    store, there = search.store, replace(job, search=other.name)
    if not store.exists(f"{there.folder}/{there.weights}"):
        return False
    try:
        there.trained(store)
    except InputError:  # damaged: the network is trained again
        return False
    store.write_bytes(f"{job.folder}/{job.weights}", store.path(f"{there.folder}/{there.weights}").read_bytes())
    return True


@overload
def run_jobs(executor: Executor, jobs: list[Job]) -> Iterator[tuple[Job, Retraining]]: ...
@overload
def run_jobs(executor: Executor, jobs: list[ReferenceJob]) -> Iterator[tuple[ReferenceJob, Reference]]: ...
def run_jobs(executor: Executor, jobs: Any) -> Iterator[tuple[Any, Any]]:
    """The result of each job, in the order of the jobs; within a seed the largest network starts first, so that none is left to run
    alone at the end.
    """
    results = executor.map(nothing, run_job, jobs, weight=lambda job: job.size - job.seed * 10**18)
    yield from zip(jobs, results, strict=True)


def nothing() -> None:
    """What a job needs that it does not bring itself."""


def run_job(_: None, job: Job | ReferenceJob, after_pass: AfterPass | None = None) -> Retraining | Reference:
    """Trains one network, resuming from its checkpoint, and evaluates it on search-validation and, once, on test.

    Args:
        after_pass: may end the training by an exception; its checkpoint stays.

    Raises:
        FloatingPointError: it diverged; nothing of it is kept.
        InputError: this machine, which may be one of a cluster, has no such run.
    """
    config = job.config
    store = RunStore(config.run)
    if not store.exists("run.json"):
        raise InputError(
            f"{socket.gethostname()} has no run {config.run} in {os.getcwd()}, and networks are to be trained there",
            "a run in a folder that all machines of the cluster have under the same path",
            "run=PATH of such a folder, or executor=processes",
        )
    if store.exists(job.work("json")):
        return finished(job, store)
    import_plugins(config)
    return train_and_test(job, store, machine.prepare(1, config.device), after_pass=after_pass)


def finished(job: Job | ReferenceJob, store: RunStore) -> Retraining | Reference:
    """The result of a job that has ended, before its record is written.

    Raises:
        InputError: its file is damaged.
    """
    name = job.work("json")
    try:
        return job.read(store.read_json(name))
    except RecordError as error:
        raise damaged_file(store.path(name), f"at {error}") from None


def train_and_test(
    job: Job | ReferenceJob,
    store: RunStore,
    device: torch.device,
    ranks: Ranks = ALONE,
    after_pass: AfterPass | None = None,
) -> Retraining | Reference:
    """As `run_job`, in the process that writes.

    Args:
        ranks: the processes that train together; the others call `follow_job`.
    """
    config, result, trained = job.config, job.work("json"), job.work("trained.json")
    split = read_split(store)
    if store.exists(trained):  # an earlier command trained it and could not test it
        network = job.trained(store).to(device)
        skipped = store.read_json(trained, shape=Table({"skipped_steps": Whole()}))["skipped_steps"]
    else:
        network, skipped = _train(job, store, split, device, ranks, after_pass)
        # Stored before they are tested: whatever has become of the test images, the training is kept.
        about = {"digest": job.digest, "split": split.digest}
        save_tensors(store, f"{job.folder}/{job.weights}", network.state_dict(), about)
        store.write_json(trained, {"skipped_steps": skipped})
    network.eval()
    scores = [
        evaluate(network, load_part(config.data, split, name).batches(256, device=str(device))) for name in job.parts
    ]
    record = job.record(skipped, *scores)
    left = [trained, job.work("pt")]
    if not math.isfinite(scores[-1].loss):
        for name in (*left, f"{job.folder}/{job.weights}"):  # nothing good comes of them
            store.remove(name)
        raise FloatingPointError(f"{job.name} ended with a loss that is not finite: lower retrain.lr")
    store.write_json(result, record.to_dict())
    for name in left:
        store.remove(name)
    return record


def follow_job(job: Job | ReferenceJob, store: RunStore, device: torch.device, ranks: Ranks) -> None:
    """Trains a shard of the network of a job in a process that writes nothing."""
    training = Training.of(job, store, read_split(store), device, ranks)
    training.fit(Follower(job, store))


def _train(
    job: Job | ReferenceJob,
    store: RunStore,
    split: Split,
    device: torch.device,
    ranks: Ranks,
    after_pass: AfterPass | None,
) -> tuple[nn.Module, int]:
    """Trains the network of a job, resuming from its checkpoint.

    Returns:
        The network, and how many steps were skipped.
    """
    training = Training.of(job, store, split, device, ranks)
    watcher = _Watcher(job, store, training, after_pass)
    optimisation = training.fit(watcher)
    watcher.scalars.close()
    training.recompute_statistics()
    return training.network, optimisation.skipped


class Follower:
    """Watches the training of a job in a process that writes nothing."""

    def __init__(self, job: Job | ReferenceJob, store: RunStore) -> None:
        self.job, self.store = job, store

    def begin(self, optimisation: Optimisation, total: int) -> None:
        load_checkpoint(self.store, self.job.work("pt"), optimisation)

    def report(self, report: Report) -> None:
        """Says nothing."""

    def save(self, optimisation: Optimisation) -> None:
        """Writes nothing."""


class _Watcher:
    """Shows the training of a job, and writes its checkpoints and the scalars of its loss."""

    def __init__(
        self, job: Job | ReferenceJob, store: RunStore, training: Training, after_pass: AfterPass | None
    ) -> None:
        self.job, self.store, self.network, self.after_pass = job, store, training.network, after_pass
        self.per_pass = training.batches().per_epoch

    def begin(self, optimisation: Optimisation, total: int) -> None:
        load_checkpoint(self.store, self.job.work("pt"), optimisation)
        self.optimisation, done = optimisation, optimisation.step_count
        folder = f"retrain/{self.job.search}/{self.job.name}".replace(":", "_")
        self.total = total
        self.progress = Progress(f"retrain {self.job.name}", total, done, every=30)
        self.scalars = Scalars(self.job.config.tensorboard, self.store, folder, done)

    def report(self, report: Report) -> None:
        self.progress.update(report.step, report.images, **report.losses)
        if report.step % LOGGED == 0 or report.step == self.total:
            self.scalars.add(report.step, report.losses)
        if self.after_pass and report.step % self.per_pass == 0 and report.step < self.total:
            self.save(self.optimisation)  # it may end the training
            self.after_pass(self.network, report.step // self.per_pass)

    def save(self, optimisation: Optimisation) -> None:
        self.scalars.flush()
        save_checkpoint(self.store, self.job.work("pt"), optimisation.state_dict())

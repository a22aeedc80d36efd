"""Training networks alone: one job per network, initialisation and seed, each tested once at its end.

Each job has one thread, so results do not depend on how many run at once, or where.
"""

import itertools
import math
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import nn

from nas import machine
from nas.config import Config
from nas.data import Split, load_part
from nas.executors import Executor
from nas.log import Progress
from nas.networks.references import make_reference
from nas.plugins import import_plugins
from nas.records import Reference, Retraining
from nas.runs.scalars import Scalars
from nas.runs.searches import EVALUATED_BY, Search, read_search, search_names
from nas.runs.settings import RETRAIN_FREE, different
from nas.runs.store import RunStore
from nas.runs.weights import load_checkpoint, load_network, load_tensors, save_checkpoint, save_tensors
from nas.searching.evaluation import Accuracy, evaluate
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.network import build
from supernet.calibration import recompute
from supernet.optimisation import Optimisation, Schedule
from supernet.seeding import derive_seed
from supernet.training import autocast

LOGGED = 10
"""Steps between two scalars of the loss."""

RECOMPUTE = 2048
"""Training images behind the running statistics of averaged weights."""


@dataclass(frozen=True)
class Job:
    """One network to train in a search of a run.

    Args:
        config: the run's, with the recipe in `retrain`.
        search: the name of the search.
    """

    config: Config
    search: str
    digest: str
    roles: tuple[str, ...]
    architecture: Architecture
    costs: Mapping[str, float]
    init: str
    seed: int

    @property
    def name(self) -> str:
        """Its key in the search."""
        return f"{self.digest}-{self.init}-{self.seed}"

    @property
    def folder(self) -> str:
        """The network's folder in the run."""
        return f"searches/{self.search}/networks/{self.digest}"

    @property
    def weights(self) -> str:
        """The file of its trained weights in that folder."""
        return f"retrained-{self.init}-{self.seed}.safetensors"

    @property
    def size(self) -> int:
        """MACs: the largest network starts first."""
        return macs(self.architecture)

    def work(self, ending: str) -> str:
        """A file of its own that only an unfinished run has."""
        return f"work/retrain/{self.search}/{self.name}.{ending}"

    def initial(self, store: RunStore, seed: int) -> nn.Module:
        """The network before training.

        Args:
            seed: of fresh weights.
        """
        if self.init == "inherited":
            network = load_network(store.path(self.folder))
        else:
            network = build(self.architecture, derive_seed(seed, self.digest))
        network.set_drop_path(self.config.retrain.drop_path)
        return network

    def trained(self, store: RunStore) -> nn.Module:
        """The network as it was stored behind training."""
        return load_network(store.path(self.folder), self.weights)

    def record(self, skipped: int, validation: Accuracy, test: Accuracy) -> Retraining:
        """What is written down of it.

        Args:
            skipped: steps whose gradients were not finite.
        """
        return Retraining(
            digest=self.digest, roles=self.roles, init=self.init, seed=self.seed, architecture=self.architecture,
            costs=self.costs, epochs=self.config.retrain.epochs, skipped_steps=skipped,
            validation_top1=validation.top1, test_top1=test.top1, test_loss=test.loss, test_images=test.images,
        )  # fmt: skip

    @staticmethod
    def read(line: Any) -> Retraining:
        """The inverse of the record's `to_dict`."""
        return Retraining.from_dict(line)


@dataclass(frozen=True)
class ReferenceJob:
    """One of timm's networks to train from fresh weights in a search of a run, as a `Job` of it is trained.

    Args:
        model: its name in timm.
        times: as of `nas.records.Reference`.
    """

    config: Config
    search: str
    model: str
    costs: Mapping[str, float]
    seed: int
    init: str = "scratch"
    times: Mapping[str, Mapping[str, float | bool]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"timm-{self.model}-{self.seed}"

    @property
    def digest(self) -> str:
        return f"timm/{self.model}"

    @property
    def folder(self) -> str:
        return f"searches/{self.search}/references/{self.model}"

    @property
    def weights(self) -> str:
        return f"retrained-scratch-{self.seed}.safetensors"

    @property
    def size(self) -> int:
        return int(self.costs.get("macs", 0))

    def work(self, ending: str) -> str:
        return f"work/retrain/{self.search}/{self.name}.{ending}"

    def _make(self, store: RunStore) -> nn.Module:
        data = self.config.data
        split = Split.from_dict(store.read_json("split.json"))
        return make_reference(
            self.model, split.in_channels, len(split.classes), data.resolution, self.config.retrain.drop_path
        )

    def initial(self, store: RunStore, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, self.digest))
            return self._make(store)

    def trained(self, store: RunStore) -> nn.Module:
        network = self._make(store)
        load_tensors(store, f"{self.folder}/{self.weights}", network)
        return network

    def record(self, skipped: int, validation: Accuracy, test: Accuracy) -> Reference:
        return Reference(
            model=self.model, seed=self.seed, costs=self.costs, epochs=self.config.retrain.epochs, skipped_steps=skipped,
            validation_top1=validation.top1, test_top1=test.top1, test_loss=test.loss, test_images=test.images, times=self.times,
        )  # fmt: skip

    @staticmethod
    def read(line: Any) -> Reference:
        return Reference.from_dict(line)


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


def run_job(_: None, job: Job | ReferenceJob) -> Retraining | Reference:
    """Trains one network, resuming from its checkpoint, and evaluates it on search-validation and, once, on test.

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
    result, trained = job.work("json"), job.work("trained.json")
    if store.exists(result):
        return job.read(store.read_json(result))
    import_plugins(config)
    device = machine.prepare(1, config.device)
    split = Split.from_dict(store.read_json("split.json"))
    if store.exists(trained):  # an earlier command trained it and could not test it
        network = job.trained(store).to(device)
        skipped = store.read_json(trained)["skipped_steps"]
    else:
        network, skipped = _train(job, store, split, device)
        # Stored before they are tested: whatever has become of the test images, the training is kept.
        save_tensors(store, f"{job.folder}/{job.weights}", network.state_dict(), {"digest": job.digest})
        store.write_json(trained, {"skipped_steps": skipped})
    network.eval()
    validation, test = (
        evaluate(network, load_part(config.data, split, name).batches(256, device=str(device)))
        for name in ("validation", "test")
    )
    record = job.record(skipped, validation, test)
    left = [trained, job.work("pt")]
    if not math.isfinite(record.test_loss):
        for name in (*left, f"{job.folder}/{job.weights}"):  # nothing good comes of them
            store.path(name).unlink(missing_ok=True)
        raise FloatingPointError(f"{job.name} ended with a loss that is not finite: lower retrain.lr")
    store.write_json(result, record.to_dict())
    for name in left:
        store.path(name).unlink(missing_ok=True)
    return record


def _train(job: Job | ReferenceJob, store: RunStore, split: Split, device: torch.device) -> tuple[nn.Module, int]:
    """Trains the network of a job, resuming from its checkpoint.

    Returns:
        The network, and how many steps were skipped.
    """
    config, settings = job.config, job.config.retrain
    part = load_part(config.data, split, "train")
    seed = derive_seed(config.seed, "retrain", job.seed)  # the same images in the same order for every network
    network = job.initial(store, seed).to(device)
    batch_size = min(settings.batch_size, len(part))
    per_epoch = len(part) // batch_size
    total = per_epoch * settings.epochs
    schedule = Schedule(lr=settings.lr, warmup_steps=round(settings.warmup_epochs * per_epoch), total_steps=total)
    optimisation = Optimisation(
        network, schedule, weight_decay=settings.weight_decay, clip=settings.clip, ema=settings.ema
    )
    load_checkpoint(store, job.work("pt"), optimisation)
    progress = Progress(f"retrain {job.name}", total, optimisation.step_count, every=30)
    scalars = Scalars(
        config.tensorboard, store, f"retrain/{job.search}/{job.name}".replace(":", "_"), optimisation.step_count
    )
    seen = 0
    while optimisation.step_count < total:
        epoch, batch = divmod(optimisation.step_count, per_epoch)
        batches = part.batches(
            batch_size,
            seed=seed,
            epoch=epoch,
            first=batch,
            augment=config.data.augment,
            drop_last=True,
            device=str(device),
        )
        for images, labels in batches:
            torch.manual_seed(derive_seed(seed, "step", optimisation.step_count))
            network.train()
            with autocast(device, settings.amp):
                logits = network(images)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
            loss.backward()
            optimisation.step()
            seen += len(labels)
            progress.update(optimisation.step_count, seen, loss=float(loss.detach()))
            if optimisation.step_count % LOGGED == 0 or optimisation.step_count == total:
                scalars.add(optimisation.step_count, {"loss": float(loss.detach())})
            if optimisation.step_count % settings.checkpoint_steps == 0 and optimisation.step_count < total:
                scalars.flush()
                save_checkpoint(store, job.work("pt"), optimisation.state_dict())
    scalars.close()
    if settings.ema:
        optimisation.use_averaged()
        size = min(256, len(part))
        fresh = part.batches(size, seed=seed, epoch=settings.epochs, augment=config.data.augment, device=str(device))
        recompute(
            network, (images for images, _ in itertools.islice(fresh, max(1, RECOMPUTE // size)) if len(images) > 1)
        )
    return network, optimisation.skipped

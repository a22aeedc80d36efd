"""Training networks alone: one job per network, initialisation and seed, each tested once at its end.

Each job has one thread, so results do not depend on how many run at once, or where.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from nas import machine
from nas.config import Config
from nas.data import Split, load_part
from nas.evaluation import evaluate
from nas.executors import Executor
from nas.log import Progress
from nas.plugins import import_plugins
from nas.records import Retraining
from nas.searches import EVALUATED_BY, RETRAIN_FREE, Search, different, read_search, search_names
from nas.store import RunStore
from nas.weights import load_checkpoint, load_network, save_checkpoint, save_tensors
from search_spaces.architecture import Architecture
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from search_spaces.network import Network, build
from supernet.calibration import recompute
from supernet.optimisation import Optimisation, Schedule
from supernet.seeding import derive_seed
from supernet.training import autocast

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

    def work(self, ending: str) -> str:
        """A file of its own that only an unfinished run has."""
        return f"work/retrain/{self.search}/{self.name}.{ending}"


def retrained_elsewhere(search: Search, jobs: list[Job]) -> Iterator[tuple[Job, Retraining]]:
    """Takes the jobs out of `jobs` that another search of the run has done with the same recipe, and gives their results; their weights
    are copied.

    From inherited weights only where both searches evaluate alike, because the weights carry the statistics of the evaluation.
    """
    store = search.store
    others = [read_search(store, name) for name in search_names(store) if name != search.name]
    for other in others:
        recipe = search.retraining
        if recipe is None or other.retraining is None or different(other.retraining, recipe, RETRAIN_FREE):
            continue
        alike = all(getattr(other.settings, key) == getattr(search.settings, key) for key in EVALUATED_BY)
        done = {(r.digest, r.init, r.seed): r for r in other.retrainings()}
        for job in list(jobs):
            found = done.get((job.digest, job.init, job.seed))
            source = other.path(f"networks/{job.digest}/{job.weights}")
            if found is None or not (alike or job.init == "scratch") or not store.exists(source):
                continue
            try:
                load_network(store.path(other.path(f"networks/{job.digest}")), job.weights)
            except InputError:  # damaged: the network is trained again
                continue
            store.write_bytes(f"{job.folder}/{job.weights}", store.path(source).read_bytes())
            jobs.remove(job)
            yield job, replace(found, roles=job.roles, costs=job.costs)


def run_jobs(executor: Executor, jobs: list[Job]) -> Iterator[tuple[Job, Retraining]]:
    """The result of each job, in the order of the jobs; within a seed the largest network starts first, so that none is left to run
    alone at the end.
    """
    results = executor.map(nothing, run_job, jobs, weight=lambda job: macs(job.architecture) - job.seed * 10**18)
    yield from zip(jobs, results, strict=True)


def nothing() -> None:
    """What a job needs that it does not bring itself."""


def run_job(_: None, job: Job) -> Retraining:
    """Trains one network, resuming from its checkpoint, and evaluates it on search-validation and, once, on test.

    Raises:
        FloatingPointError: it diverged; nothing of it is kept.
    """
    config = job.config
    store = RunStore(config.run)
    result, trained = job.work("json"), job.work("trained.json")
    if store.exists(result):
        return Retraining.from_dict(store.read_json(result))
    import_plugins(config)
    device = machine.prepare(1, config.device)
    split = Split.from_dict(store.read_json("split.json"))
    if store.exists(trained):  # an earlier command trained it and could not test it
        network = load_network(store.path(job.folder), job.weights).to(device)
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
    record = Retraining(
        digest=job.digest, roles=job.roles, init=job.init, seed=job.seed, architecture=job.architecture, costs=job.costs,
        epochs=config.retrain.epochs, skipped_steps=skipped, validation_top1=validation.top1, test_top1=test.top1,
        test_loss=test.loss, test_images=test.images,
    )  # fmt: skip
    left = [trained, job.work("pt")]
    if not math.isfinite(record.test_loss):
        for name in (*left, f"{job.folder}/{job.weights}"):  # nothing good comes of them
            store.path(name).unlink(missing_ok=True)
        raise FloatingPointError(f"{job.name} ended with a loss that is not finite: lower retrain.lr")
    store.write_json(result, record.to_dict())
    for name in left:
        store.path(name).unlink(missing_ok=True)
    return record


def _train(job: Job, store: RunStore, split: Split, device: torch.device) -> tuple[Network, int]:
    """Trains the network of a job, resuming from its checkpoint.

    Returns:
        The network, and how many steps were skipped.
    """
    config, settings = job.config, job.config.retrain
    part = load_part(config.data, split, "train")
    seed = derive_seed(config.seed, "retrain", job.seed)  # the same images in the same order for every network
    if job.init == "inherited":
        network = load_network(store.path(job.folder))
    else:
        network = build(job.architecture, derive_seed(seed, job.digest))
    network.to(device)
    network.set_drop_path(settings.drop_path)
    batch_size = min(settings.batch_size, len(part))
    per_epoch = len(part) // batch_size
    total = per_epoch * settings.epochs
    schedule = Schedule(lr=settings.lr, warmup_steps=round(settings.warmup_epochs * per_epoch), total_steps=total)
    optimisation = Optimisation(
        network, schedule, weight_decay=settings.weight_decay, clip=settings.clip, ema=settings.ema
    )
    load_checkpoint(store, job.work("pt"), optimisation)
    progress = Progress(f"retrain {job.name}", total, optimisation.step_count, every=30)
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
            if optimisation.step_count % settings.checkpoint_steps == 0 and optimisation.step_count < total:
                save_checkpoint(store, job.work("pt"), optimisation.state_dict())
    if settings.ema:
        optimisation.use_averaged()
        size = min(256, len(part))
        fresh = part.batches(size, seed=seed, epoch=settings.epochs, augment=config.data.augment, device=str(device))
        recompute(
            network, (images for images, _ in itertools.islice(fresh, max(1, RECOMPUTE // size)) if len(images) > 1)
        )
    return network, optimisation.skipped

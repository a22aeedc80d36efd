"""`nas retrain`: trains winners and baselines as stand-alone networks, all by one recipe, and tests them once at the end.

Each job (network, start, seed) is a process of its own with one thread, so results do not depend on how many run at once.
"""

import itertools
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from nas import machine
from nas.commands.extract import WEIGHTS, load_network, selected
from nas.config import Config
from nas.data import Split, load_part
from nas.evaluate import evaluate
from nas.log import Progress, say
from nas.memory import explained
from nas.run import Run, import_plugins, load_checkpoint, open_run, save_checkpoint, save_tensors
from nas.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.costs.pieces import cost
from search_spaces.errors import InputError
from search_spaces.network import Network, build
from supernet.calibration import recompute
from supernet.optimisation import Optimisation, Schedule
from supernet.seeding import derive_seed
from supernet.training import autocast

RETRAINED = "retrained.jsonl"
RECOMPUTE = 2048
"""Training images behind the running statistics of averaged weights."""


@dataclass(frozen=True)
class Job:
    """One network to train. `name` is its key in the run."""

    config: Config
    digest: str
    roles: tuple[str, ...]
    architecture: dict[str, Any]
    init: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.digest}-{self.init}-{self.seed}"


@explained
def retrain(config: Config) -> Run:
    """Trains the selected networks of a run from each start and seed, and appends what they reach to retrained.jsonl.

    Raises:
        InputError: the run has not been searched, or other settings than retraining started with.
    """
    run = open_run(config)
    done = {f"{r['digest']}-{r['init']}-{r['seed']}" for r in run.store.records(RETRAINED)}
    jobs = [
        Job(run.config, digest, tuple(entry["roles"]), entry["arch"].to_dict(), init, seed)
        for seed in range(config.retrain.seeds)
        for init in config.retrain.inits
        for digest, entry in selected(run).items()
    ]
    missing = [job for job in jobs if not run.store.exists(f"networks/{job.digest}/{WEIGHTS}")]
    if missing:
        raise InputError(
            f"{run.store.folder} has not extracted network {missing[0].digest}", "extracted networks",
            f"nas extract run={config.run}" + (f" digest={config.digest}" if config.digest else ""),
        )  # fmt: skip
    started = run.store.exists(RETRAINED) or any(run.store.path("work/retrain").glob("*"))
    run.settle("retrain", started, grows=("points", "seeds"))
    waiting = [job for job in jobs if job.name not in done]
    if waiting:
        for part in ("validation", "test"):  # which are read at the end only: what is wrong with them shows now
            run.check_images(part)
    if len(waiting) < len(jobs):
        say(f"{config.run}: {len(jobs) - len(waiting)} of {len(jobs)} networks are retrained")
    for job, record in _run_jobs(waiting, run):
        run.store.append(RETRAINED, record)
        say(
            f"{job.name:30}  {record['macs']:>13,} MACs  test top-1 {record['test_top1']:.4f}  "
            f"validation {record['validation_top1']:.4f}  ({', '.join(job.roles)})"
        )
    return run


def _run_jobs(jobs: list[Job], run: Run) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job's record, in the order of the jobs."""
    settings = run.config.retrain
    workers = settings.jobs or (machine.cores() if run.device.type == "cpu" else 1)
    if min(workers, len(jobs)) <= 1:
        for job in jobs:
            yield job, run_job(job)
        return
    if getattr(sys.modules["__main__"], "__file__", None) == "<stdin>":
        raise InputError(
            "the script comes from standard input, and the processes that train networks have to import it",
            "a script in a file",
            "retrain.jobs=1, which starts no processes, or save the script",
        )
    context = multiprocessing.get_context("spawn")
    started = context.Semaphore(0)
    mark = run.store.path(f"work/unguarded-{os.getpid()}").absolute()
    os.environ[machine.UNGUARDED] = str(mark)  # which the workers inherit
    with ProcessPoolExecutor(
        min(workers, len(jobs)), context, initializer=_start_worker, initargs=(os.getpid(), started)
    ) as pool:
        # The longest first within a seed, so that none is left to run alone at the end.
        longest = sorted(jobs, key=lambda job: (job.seed, -cost(Architecture.from_dict(job.architecture)).macs))
        try:
            futures = {job.name: pool.submit(run_job, job) for job in longest}
            for job in jobs:
                yield job, futures[job.name].result()
        except BrokenProcessPool:
            unguarded = mark.exists()
            mark.unlink(missing_ok=True)
            raise machine.unguarded() if unguarded else _ended(run, started.acquire(block=False)) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _ended(run: Run, script_imported: bool) -> InputError:
    """Why a worker ended without a result: the operating system, or a script that no other process can import."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    ours = spec.name == "nas.cli" if spec else Path(file or "nas").name == "nas"
    if not script_imported and not ours:
        return InputError(
            f"the processes that train networks cannot import {file}; their own error stands above, if there is one",
            "a script in a file, whose import succeeds in any process",
            "retrain.jobs=1, which starts no processes, or mend the script",
        )
    return InputError(
        f"{run.store.folder}: a training process was ended from outside, most often because memory ran out",
        "memory for all networks that train at once; what is finished is kept, and the same command resumes",
        "the same command with retrain.jobs=1, or a new run with a smaller retrain.batch_size",
    )


def _start_worker(parent: int, started: Semaphore) -> None:
    """Says that this worker could import the script, and ends it when its parent is gone: a killed run must not go on writing."""
    started.release()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_job(job: Job) -> dict[str, Any]:
    """Trains one network, going on from its checkpoint, and evaluates it on search-validation and, once, on test.

    Raises:
        FloatingPointError: it diverged; nothing of it is kept.
    """
    config = job.config
    store = RunStore(config.run)
    result, trained = f"work/retrain/{job.name}.json", f"work/retrain/{job.name}.trained.json"
    weights = f"networks/{job.digest}/retrained-{job.init}-{job.seed}.safetensors"
    if store.exists(result):
        return store.read_json(result)
    import_plugins(config)
    device = machine.prepare(1, config.device)
    split = Split.from_dict(store.read_json("split.json"))
    arch = Architecture.from_dict(job.architecture)
    if store.exists(trained):  # an earlier command trained it and could not test it
        network = load_network(store.path(f"networks/{job.digest}"), Path(weights).name).to(device)
        skipped = store.read_json(trained)["skipped_steps"]
    else:
        network, skipped = _train(job, store, split, device)
        # Stored before they are tested: whatever has become of the test images, the training is kept.
        save_tensors(store, weights, network.state_dict(), {"digest": job.digest})
        store.write_json(trained, {"skipped_steps": skipped})
    network.eval()
    validation, test = (
        evaluate(network, load_part(config.data, split, name).batches(256, device=str(device)))
        for name in ("validation", "test")
    )
    found = cost(arch)
    record = {
        "digest": job.digest,
        "roles": list(job.roles),
        "init": job.init,
        "seed": job.seed,
        "architecture": job.architecture,
        "params": found.params,
        "macs": found.macs,
        "epochs": config.retrain.epochs,
        "skipped_steps": skipped,
        "validation_top1": validation.top1,
        "test_top1": test.top1,
        "test_loss": test.loss,
        "test_images": test.images,
    }
    left = [trained, _checkpoint(job)]
    if not all(math.isfinite(v) for v in record.values() if isinstance(v, float)):
        for name in (*left, weights):  # nothing good comes of them
            store.path(name).unlink(missing_ok=True)
        raise FloatingPointError(f"{job.name} ended with a loss that is not finite: lower retrain.lr")
    store.write_json(result, record)
    for name in left:
        store.path(name).unlink(missing_ok=True)
    return record


def _checkpoint(job: Job) -> str:
    return f"work/retrain/{job.name}.pt"


def _train(job: Job, store: RunStore, split: Split, device: torch.device) -> tuple[Network, int]:
    """Trains the network of a job, going on from its checkpoint.

    Returns:
        The network, and how many steps were skipped.
    """
    config, settings = job.config, job.config.retrain
    part = load_part(config.data, split, "train")
    seed = derive_seed(config.seed, "retrain", job.seed)  # the same images in the same order for every network
    if job.init == "inherited":
        network = load_network(store.path(f"networks/{job.digest}"))
    else:
        network = build(Architecture.from_dict(job.architecture), derive_seed(seed, job.digest))
    network.to(device)
    network.set_drop_path(settings.drop_path)
    batch_size = min(settings.batch_size, len(part))
    per_epoch = len(part) // batch_size
    total = per_epoch * settings.epochs
    schedule = Schedule(lr=settings.lr, warmup_steps=round(settings.warmup_epochs * per_epoch), total_steps=total)
    optimisation = Optimisation(
        network, schedule, weight_decay=settings.weight_decay, clip=settings.clip, ema=settings.ema
    )
    load_checkpoint(store, _checkpoint(job), optimisation)
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
                save_checkpoint(store, _checkpoint(job), optimisation.state_dict())
    if settings.ema:
        optimisation.use_averaged()
        size = min(256, len(part))
        fresh = part.batches(size, seed=seed, epoch=settings.epochs, augment=config.data.augment, device=str(device))
        recompute(
            network, (images for images, _ in itertools.islice(fresh, max(1, RECOMPUTE // size)) if len(images) > 1)
        )
    return network, optimisation.skipped

"""`nas retrain`: trains winners and baselines as stand-alone networks, all by one recipe, and tests them once at the end."""

from contextlib import closing

from nas import machine
from nas.budget import worded
from nas.config import Config
from nas.executors import Executor, Words, make_executor
from nas.log import say
from nas.memory import explained
from nas.records import Retraining
from nas.retraining import Job, retrained_elsewhere, run_jobs
from nas.run import Run, open_run
from nas.searches import Search, chosen_searches, settle_retraining
from nas.selection import selected
from nas.weights import WEIGHTS
from search_spaces.errors import InputError


@explained
def retrain(config: Config) -> Run:
    """Trains the selected networks of a search, or of all searches of the run, from each initialisation and seed.

    What another search of the run has trained with the same recipe is taken over.

    Raises:
        InputError: no finished search, networks that are not extracted, or another recipe than retraining started with.
    """
    run = open_run(config)
    work = [_waiting(run, search) for search in chosen_searches(run.store, config.search)]
    if any(jobs for _, jobs in work):
        for part in ("validation", "test"):  # which are read at the end only: what is wrong with them shows now
            run.check_images(part)
    workers = config.retrain.jobs or (machine.cores() if run.device.type == "cpu" else 1)
    most = max(len(jobs) for _, jobs in work)
    ended = (
        f"{run.store.folder}: a training process was ended from outside, most often because memory ran out",
        "memory for all networks that train at once; what is finished is kept, and the same command resumes",
        "the same command with retrain.jobs=1, or a new run with a smaller retrain.batch_size",
    )
    words = Words(doing="train networks", single="retrain.jobs=1", ended=ended)
    with closing(make_executor(config.executor, min(workers, max(1, most)), words=words)) as executor:
        for search, jobs in work:
            _retrain(run, search, jobs, executor)
    return run


def _waiting(run: Run, search: Search) -> tuple[Search, list[Job]]:
    """A search with its recipe settled, and its jobs that are not done."""
    config = run.config
    done = {(r.digest, r.init, r.seed) for r in search.retrainings()}
    chosen = selected(search, config.retrain.points, config.digest, config.run)
    missing = [digest for digest in chosen if not run.store.exists(search.path(f"networks/{digest}/{WEIGHTS}"))]
    if missing:
        raise InputError(
            f"search {search.name} of {run.store.folder} has not extracted network {missing[0]}", "extracted networks",
            f"nas extract run={config.run} search={search.name}" + (f" digest={config.digest}" if config.digest else ""),
        )  # fmt: skip
    started = bool(done) or any(run.store.path(f"work/retrain/{search.name}").glob("*"))
    search = settle_retraining(search, config.retrain, started)
    return search, [
        Job(config, search.name, digest, entry.roles, entry.arch, dict(entry.record.costs), init, seed)
        for seed in range(config.retrain.seeds)
        for init in config.retrain.inits
        for digest, entry in chosen.items()
        if (digest, init, seed) not in done
    ]  # fmt: skip


def _retrain(run: Run, search: Search, jobs: list[Job], executor: Executor) -> None:
    for job, record in retrained_elsewhere(search, jobs):
        _keep(run, search, job, record, "taken over from another search: ")
    if not jobs:
        say(f"{run.config.run}: the selected networks of search {search.name} are retrained")
    for job, record in run_jobs(executor, jobs):
        _keep(run, search, job, record, "")


def _keep(run: Run, search: Search, job: Job, record: Retraining, how: str) -> None:
    run.store.append(search.path("retrained.jsonl"), record.to_dict())
    words = ", ".join(worded(name, record.costs[name]) for name in search.shown if name in record.costs)
    say(
        f"{job.name:30}  {words}  test top-1 {record.test_top1:.4f}  "
        f"validation {record.validation_top1:.4f}  ({how}{', '.join(job.roles)})"
    )

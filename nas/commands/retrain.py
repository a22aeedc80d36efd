"""`nas retrain`: trains winners and baselines as stand-alone networks, all by one recipe, and tests them once at the end."""

from collections.abc import Mapping
from contextlib import closing

from nas import machine
from nas.budget import worded
from nas.config import Config
from nas.delivery import targets_of
from nas.executors import Executor, Words, make_executor
from nas.log import say
from nas.memory import explained
from nas.records import Reference, Retraining
from nas.references import reference_costs, reference_latencies, reference_model
from nas.retraining import Job, ReferenceJob, references_elsewhere, retrained_elsewhere, run_jobs
from nas.run import Run, open_run
from nas.searches import Search, chosen_searches, settle_retraining
from nas.selection import selected
from nas.weights import WEIGHTS
from search_spaces.errors import InputError


@explained
def retrain(config: Config) -> Run:
    """Trains the selected networks of a search, or of all searches of the run, from each initialisation and seed.

    What another search of the run has trained with the same recipe is taken over. Models of timm in `retrain.references` are
    trained after them, from fresh weights.

    Raises:
        InputError: no finished search, networks that are not extracted, another recipe than retraining started with, or a
            reference that timm does not know or that does not work on images of this size.
    """
    run = open_run(config)
    references = _references(run)
    work = [_waiting(run, search) for search in chosen_searches(run.store, config.search)]
    if references or any(jobs for _, jobs in work):
        for part in ("validation", "test"):  # which are read at the end only: what is wrong with them shows now
            run.check_images(part)
    workers = config.retrain.jobs or (machine.cores() if run.device.type == "cpu" else 1)
    most = max(len(jobs) for _, jobs in work)
    most = max(most, len(references) * config.retrain.seeds)
    ended = (
        f"{run.store.folder}: a training process was ended from outside, most often because memory ran out",
        "memory for all networks that train at once; what is finished is kept, and the same command resumes",
        "the same command with retrain.jobs=1, or a new run with a smaller retrain.batch_size",
    )
    words = Words(doing="train networks", single="retrain.jobs=1", ended=ended)
    with closing(make_executor(config.executor, min(workers, max(1, most)), words=words)) as executor:
        for search, jobs in work:
            _retrain(run, search, jobs, executor)
            _train_references(run, search, references, executor)
    return run


def _references(run: Run) -> dict[str, dict[str, float]]:
    """What each model of timm costs that is to be trained, by its name in timm."""
    size = (run.split.in_channels, len(run.split.classes), run.config.data.resolution)
    models = dict.fromkeys(map(reference_model, run.config.retrain.references))
    return {model: reference_costs(model, *size) for model in models}


def _train_references(run: Run, search: Search, references: dict[str, dict[str, float]], executor: Executor) -> None:
    done = {(reference.model, reference.seed) for reference in search.references()}
    wanted = [
        (model, seed) for seed in range(run.config.retrain.seeds) for model in references if (model, seed) not in done
    ]
    costs = _with_latencies(run, search, {model: references[model] for model, _ in wanted})
    jobs = [ReferenceJob(run.config, search.name, model, costs[model], seed) for model, seed in wanted]
    for job, record in references_elsewhere(search, jobs):
        _keep(run, search, job, record, "taken over from another search")
    for job, record in run_jobs(executor, jobs):
        _keep(run, search, job, record, "reference")


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
        _keep(run, search, job, record, f"taken over from another search: {', '.join(job.roles)}")
    if not jobs:
        say(f"{run.config.run}: the selected networks of search {search.name} are retrained")
    for job, record in run_jobs(executor, jobs):
        _keep(run, search, job, record, ", ".join(job.roles))


def _with_latencies(
    run: Run, search: Search, references: dict[str, dict[str, float]]
) -> Mapping[str, Mapping[str, float]]:
    """The costs of references, with their times on the devices of the search that are this machine."""
    goals = [objective.name for objective in search.objectives if objective.is_cost]
    size = (run.split.in_channels, len(run.split.classes), run.config.data.resolution)
    found: dict[str, dict[str, float]] = {model: dict(costs) for model, costs in references.items()}
    for target in targets_of(search.settings, search.budget, goals) if references else ():
        if target.here and target.setting is not None:
            measured = reference_latencies([*references], *size, target.setting, run.config.search.noisy)
            for model, ms in measured.items():
                found[model] |= dict.fromkeys(target.costs, ms)
    return found


def _keep(run: Run, search: Search, job: Job | ReferenceJob, record: Retraining | Reference, how: str) -> None:
    file = "references.jsonl" if isinstance(record, Reference) else "retrained.jsonl"
    run.store.append(search.path(file), record.to_dict())
    words = ", ".join(worded(name, record.costs[name]) for name in search.shown if name in record.costs)
    say(f"{job.name:30}  {words}  test top-1 {record.test_top1:.4f}  validation {record.validation_top1:.4f}  ({how})")

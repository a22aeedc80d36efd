"""`nas retrain`: trains winners and baselines as stand-alone networks with one recipe, and tests them once at the end."""

from contextlib import closing
from dataclasses import replace

from nas import machine
from nas.config import Config
from nas.executors import Executor, Words, make_executor, workers_of
from nas.goals.selection import asked, selected
from nas.log import say
from nas.machine.memory import explained
from nas.measuring.targets import targets_of
from nas.networks.references import reference_costs, reference_latencies, reference_model
from nas.networks.renewing import renew
from nas.runs.run import Run, open_run
from nas.runs.scalars import check_scalars
from nas.runs.searches import Search, chosen_searches
from nas.training.estimate import estimates, say_estimates
from nas.training.jobs import Job, ReferenceJob
from nas.training.planning import check_one_process, check_recipe, keep, take_over, waiting, write_scalars
from nas.training.ranks import Launched, launched, launched_group
from nas.training.retraining import references_elsewhere, run_jobs
from nas.training.teachers import settled, write_teacher
from nas.training.together import agreed, check_number, run_job_together
from supernet.ranks import Ranks


@explained
def retrain(config: Config) -> Run:
    """Trains the selected networks of a search, or of all searches of the run, from each initialisation and seed.

    Results of other searches of the run with the same recipe are reused. Models of timm in `retrain.references` are
    trained after them, from fresh weights.

    Raises:
        InputError: no finished search, networks that are not extracted, another recipe than retraining started with, or a
            reference that timm does not know or that does not work on images of this size.
        NoisyMachine: references are to be measured on this device, and something disturbs it.
    """
    check_scalars(config)
    config = settled(config)
    if config.retrain.estimate:
        return _estimate(config)
    one = launched()
    if one is not None and one.size > 1:
        return _retrain_launched(config, one)
    check_one_process(config)
    run = open_run(config)
    references = _references(run)
    for search in chosen_searches(run.store, config.search):
        search.set_damage_aside("retrain")
    searches = _searches(run)
    work = [waiting(run, search) for search in searches]
    check_recipe(run, work)
    # References are measured before anything is trained: the machine is quiet, and if it is not, that shows now.
    trained = {search.name: _reference_jobs(run, search, references) for search, _ in work}
    if references or any(jobs for _, jobs in work):
        for part in ("validation", "test"):  # which are read at the end only: what is wrong with them shows now
            run.check_images(part)
    gpus = run.device.type != "cpu"
    workers = workers_of(config.executor, config.retrain.jobs, cores=machine.cores(), gpus=gpus)
    most = max(len(jobs) for _, jobs in work)
    most = max(most, len(references) * config.retrain.seeds)
    ended = (
        f"{run.store.folder}: a training process was ended from outside, most often because memory ran out",
        "memory for all networks that train at once; what is finished is kept, and the same command resumes",
        "the same command with retrain.jobs=1, or a new run with a smaller retrain.batch_size",
    )
    words = Words(doing="train networks", single="retrain.jobs=1", ended=ended)
    workers = min(workers, max(1, most))
    with closing(make_executor(config.executor, workers, words=words, gpus=gpus)) as executor:
        for search, jobs in work:
            _retrain(run, search, jobs, executor)
            _train_references(run, search, trained[search.name], executor)
            renew(run, search)
            write_scalars(run, search)
    return run


def _searches(run: Run) -> list[Search]:
    """Those whose networks are trained: of a digest, those that evaluated it."""
    return [search for search, _ in asked(chosen_searches(run.store, run.config.search), run.config.digest)]


def _estimate(config: Config) -> Run:
    """Prints how long retraining takes. Nothing is trained and nothing settled."""
    run = open_run(config)
    references = _references(run)
    for search in _searches(run):
        write_teacher(run, search)
        chosen = selected(search, config.retrain.points, config.digest, config.run)
        jobs: list[Job | ReferenceJob] = [
            Job(config, search.name, digest, entry.roles, entry.arch, dict(entry.record.costs), "scratch", 0)
            for digest, entry in chosen.items()
        ]
        jobs += [ReferenceJob(config, search.name, model, costs, 0) for model, costs in references.items()]
        say_estimates(estimates(jobs, run.store, run.split, run.device), config.retrain, run.device)
    return run


def _retrain_launched(config: Config, one: Launched) -> Run:
    """The part of this process in retraining by several that were started from outside. That of rank 0 writes."""
    check_number(config, one.size)
    device = machine.prepare(1, config.device)
    if device.type == "cuda" and device.index is None:
        device = machine.prepare(1, f"cuda:{one.local}")
    own = replace(config, device=str(device), retrain=replace(config.retrain, processes=one.size))
    with launched_group(one, device) as ranks:
        if ranks.rank:
            ranks.wait()
        run = open_run(own, writes=not ranks.rank)
        if not ranks.rank:
            for search in chosen_searches(run.store, own.search):
                search.set_damage_aside("retrain")
        searches = _searches(run)
        references = _references(run)
        work = [waiting(run, search) for search in searches]
        trained = {search.name: _reference_jobs(run, search, references, measured=not ranks.rank) for search, _ in work}
        if not ranks.rank:
            check_recipe(run, work)
            ranks.wait()  # now the others plan, and find the recipes that are settled
        ranks.wait()
        for search, jobs in work:
            _together(run, search, jobs, trained[search.name], ranks)
            if not ranks.rank:
                renew(run, search)
                write_scalars(run, search)
        ranks.wait()
    return run


def _together(run: Run, search: Search, jobs: list[Job], references: list[ReferenceJob], ranks: Ranks) -> None:
    """Trains the jobs of a search one after the other, each in all processes."""
    todo: list[Job | ReferenceJob] = [*jobs, *references]
    if ranks.rank == 0:
        take_over(run, search, jobs)
        for job, record in references_elsewhere(search, references):
            keep(run, search, job, record, "taken over from another search")
    for job in agreed(todo, [*jobs, *references], run.device):
        record = run_job_together(job, run.store, run.device, ranks)
        if record is not None:
            keep(run, search, job, record, "reference" if isinstance(job, ReferenceJob) else ", ".join(job.roles))


def _references(run: Run) -> dict[str, dict[str, float]]:
    """What each model of timm costs that is to be trained, by its name in timm."""
    size = (run.split.in_channels, len(run.split.classes), run.config.data.resolution)
    models = dict.fromkeys(map(reference_model, run.config.retrain.references))
    return {model: reference_costs(model, *size, run.config.retrain.drop_path) for model in models}


def _reference_jobs(
    run: Run, search: Search, references: dict[str, dict[str, float]], *, measured: bool = True
) -> list[ReferenceJob]:
    """The references of a search that are not trained, measured where this machine is a device of the search.

    Args:
        measured: false in a process that writes nothing, which needs no times.
    """
    done = {(reference.model, reference.seed) for reference in search.references()}
    wanted = [
        (model, seed) for seed in range(run.config.retrain.seeds) for model in references if (model, seed) not in done
    ]
    models = list(dict.fromkeys(model for model, _ in wanted))
    times = _times(run, search, models) if measured else {model: {} for model in models}
    return [
        ReferenceJob(
            run.config, search.name, model, references[model] | {cost: float(time["ms"]) for cost, time in times[model].items()}, seed,
            times=times[model],
        )
        for model, seed in wanted
    ]  # fmt: skip


def _train_references(run: Run, search: Search, jobs: list[ReferenceJob], executor: Executor) -> None:
    for job, record in references_elsewhere(search, jobs):
        keep(run, search, job, record, "taken over from another search")
    for job, record in run_jobs(executor, jobs):
        keep(run, search, job, record, "reference")


def _retrain(run: Run, search: Search, jobs: list[Job], executor: Executor) -> None:
    take_over(run, search, jobs)
    if not jobs:
        say(f"{run.config.run}: the selected networks of search {search.name} are retrained")
    for job, record in run_jobs(executor, jobs):
        keep(run, search, job, record, ", ".join(job.roles))


def _times(run: Run, search: Search, models: list[str]) -> dict[str, dict[str, dict[str, float | bool]]]:
    """By model and cost, the times of references on the devices of the search that are this machine: see `nas.records.Reference`."""
    goals = [objective.name for objective in search.objectives if objective.is_cost]
    size = (run.split.in_channels, len(run.split.classes), run.config.data.resolution)
    found: dict[str, dict[str, dict[str, float | bool]]] = {model: {} for model in models}
    for target in targets_of(search.settings, search.budget, goals) if models else ():
        if target.here and target.setting is not None:
            measured = reference_latencies(models, *size, target.setting, run.config.search.noisy)
            for model, (timing, noisy) in measured.items():
                time = {
                    "ms": timing.ms,
                    "low": timing.low,
                    "high": timing.high,
                    "rounds": timing.rounds,
                    "noisy": noisy,
                }
                found[model] |= dict.fromkeys(target.costs, time)
    return found

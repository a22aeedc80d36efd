"""What comes before and after the training of networks: which ones are to be trained, whether the recipe works, and what is recorded."""

from nas.config import Config
from nas.config.recipes import check_fits
from nas.data.transforms import Transforms
from nas.goals.budget import worded
from nas.goals.selection import selected
from nas.log import say
from nas.records import Reference, Retraining
from nas.runs.beginning import settle_retraining
from nas.runs.run import Run
from nas.runs.scalars import Scalars
from nas.runs.searches import REFERENCES, RETRAINED, Search
from nas.runs.weights import WEIGHTS
from nas.training.jobs import Job, ReferenceJob
from nas.training.pieces import check_optimizer
from nas.training.retraining import retrained_elsewhere
from nas.training.steps import check_backend
from nas.training.teachers import teacher_of, write_teacher
from search_spaces.errors import InputError


def waiting(run: Run, search: Search) -> tuple[Search, list[Job]]:
    """A search with its recipe settled, and its jobs that are not done.

    Raises:
        InputError: a network is not extracted, or retraining started with another recipe.
    """
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


def check_recipe(run: Run, work: list[tuple[Search, list[Job]]]) -> None:
    """Makes the parts of the recipe once, so that what is wrong with them shows before a process is started; and writes the teacher.

    Raises:
        InputError: it is not made for the images; or see `nas.training.pieces`, `nas.training.steps` and `nas.training.teachers`.
    """
    recipe = run.config.retrain
    check_fits(recipe.recipe, run.config.data.resolution)
    check_optimizer(recipe)
    check_backend(recipe)
    if recipe.augment == "timm":
        Transforms.of(recipe)
    for search, jobs in work:
        if jobs or recipe.references:
            write_teacher(run, search)
            teacher_of(run.config, run.store, search.name, run.split, run.device)


def keep(run: Run, search: Search, job: Job | ReferenceJob, record: Retraining | Reference, how: str) -> None:
    """Appends the result of a job to the records of its search.

    Args:
        how: where it comes from, for the line that is said.
    """
    file = REFERENCES if isinstance(record, Reference) else RETRAINED
    run.store.append(search.path(file), record.to_dict())
    words = ", ".join(worded(name, record.costs[name]) for name in search.shown if name in record.costs)
    say(f"{job.name:30}  {words}  test top-1 {record.test_top1:.4f}  validation {record.validation_top1:.4f}  ({how})")


def take_over(run: Run, search: Search, jobs: list[Job]) -> None:
    """Records what another search of the run has trained by the same recipe, and takes it out of `jobs`."""
    for job, record in retrained_elsewhere(search, jobs):
        keep(run, search, job, record, f"taken over from another search: {', '.join(job.roles)}")


def check_one_process(config: Config) -> None:
    """
    Raises:
        InputError: the recipe trains each network in several processes, and torchrun has not started them.
    """
    if config.retrain.processes > 1:
        number = config.retrain.processes
        raise InputError(
            f"retrain.processes is {number}, and this process was started alone", "processes that torchrun starts",
            f"torchrun --nproc-per-node={number} -m nas.cli retrain run={config.run}, or retrain.processes=1",
        )  # fmt: skip


def write_scalars(run: Run, search: Search) -> None:
    """The results of retraining for TensorBoard, if it is asked for."""
    if run.config.tensorboard and (retrained := search.retrainings()):
        scalars = Scalars(True, run.store, f"retrain/{search.name}/results")
        for step, record in enumerate(retrained):
            for key in ("validation_top1", "test_top1", "test_loss"):
                scalars.add(step, {f"{record.init}/{key}": getattr(record, key)})
        scalars.close()

"""`nas ablate`: named networks trained by one recipe with several seeds, and the table that a paper prints of them."""

from contextlib import closing
from dataclasses import replace
from typing import Any, cast

from nas import machine
from nas.ablation.asked import Asked
from nas.ablation.folder import RESULTS, Ablation, begin
from nas.ablation.table import Line, lines_of
from nas.ablation.training import Result, RowJob, TimmRowJob, job_of
from nas.ablation.writing import conditions, notes, text, write
from nas.data import load_part
from nas.executors import Words, make_executor, workers_of
from nas.log import Progress, say
from nas.runs.scalars import check_scalars
from nas.searching.evaluation import evaluate
from nas.training.retraining import run_jobs

AnyJob = RowJob | TimmRowJob


def ablate(asked: Asked) -> list[Line]:
    """Trains what is not trained yet, prints the table and writes it into the folder. The same command resumes.

    Returns:
        The table.

    Raises:
        InputError: a row does not exist or does not fit, or the folder holds results of other rows, images or another recipe.
        FloatingPointError: a training diverged; nothing of it is kept.
    """
    check_scalars(asked.config)
    ablation = begin(asked)
    seeds, tests = ablation.config.retrain.seeds, asked.options.reads_test
    done = ablation.results()
    jobs = {
        (row.name, seed): job_of(ablation.config, row, ablation.numbers[row.name], seed, tests)
        for seed in range(seeds)
        for row in ablation.rows
    }
    missing = [job for key, job in jobs.items() if key not in done]
    untested = tests and any(key in done and done[key].test_top1 is None for key in jobs)
    for part in ("validation", "test"):
        if missing or (untested and part == "test"):
            if part == "test" and not tests:
                continue
            ablation.check_images(part)
    _train(ablation, missing, len(jobs))
    if tests:
        _test(ablation, jobs)
    lines = lines_of(ablation.rows, ablation.results(), seeds, asked.options.part, asked.options.against)
    say("\n".join(text(lines)))
    say("\n" + "\n\n".join(notes(ablation, lines, asked.options.part)))
    say("\n".join(f"{key}: {value}" for key, value in conditions(ablation, asked.options.part, seeds).items()))
    say(f"written to {', '.join(map(str, write(ablation, lines, asked.options.part, seeds)))}")
    return lines


def _train(ablation: Ablation, jobs: list[AnyJob], total: int) -> None:
    """Trains the networks that are missing, as many at once as the configuration says."""
    if not jobs:
        return
    config, gpus = ablation.config, ablation.device.type != "cpu"
    workers = min(len(jobs), workers_of(config.executor, config.retrain.jobs, cores=machine.cores(), gpus=gpus))
    ended = (
        f"{ablation.store.folder}: a training process was ended from outside, most often because memory ran out",
        "memory for all networks that train at once; what is finished is kept, and the same command resumes",
        "the same command with retrain.jobs=1",
    )
    words = Words(doing="train networks", single="retrain.jobs=1", ended=ended)
    done = total - len(jobs)
    progress = Progress("ablation, trained networks", total, done)
    with closing(make_executor(config.executor, workers, words=words, gpus=gpus)) as executor:
        for job, result in run_jobs(executor, cast(Any, jobs)):
            ablation.store.append(RESULTS, result.to_dict())
            done += 1
            say(f"{job.row}, seed {job.seed}: {_words(result)}")
            progress.update(done)


def _words(result: Result) -> str:
    """The scores of a trained network in words."""
    validation = f"validation top-1 {result.validation_top1:.4f}"
    return validation if result.test_top1 is None else f"test top-1 {result.test_top1:.4f}, {validation}"


def _test(ablation: Ablation, jobs: dict[tuple[str, int], AnyJob]) -> None:
    """Reads the test images for networks that an earlier command trained with part=val."""
    results = ablation.results()
    waiting = [job for key, job in jobs.items() if results[key].test_top1 is None]
    if not waiting:
        return
    device = ablation.device
    part = load_part(ablation.config.data, ablation.split, "test")
    progress = Progress("ablation, tested networks", len(waiting))
    for number, job in enumerate(waiting, 1):
        network = job.trained(ablation.store).to(device).eval()
        found = evaluate(network, part.batches(256, device=str(device)))
        result = replace(
            results[job.row, job.seed], test_top1=found.top1, test_loss=found.loss, test_images=found.images
        )
        ablation.store.append(RESULTS, result.to_dict())
        progress.update(number)

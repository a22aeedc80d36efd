"""Retraining of a run's networks as trials of Ray Tune, whose scheduler may stop those that fall behind: see `nas.tuning`."""

from collections.abc import Callable
from typing import Any, Self

from torch import nn

from nas.config.effective import configure
from nas.data import load_part
from nas.executors import check_ray
from nas.networks.renewing import renew
from nas.records import Retraining
from nas.runs.run import Run, open_run
from nas.runs.scalars import check_scalars
from nas.runs.searches import Search, chosen_searches
from nas.runs.splits import read_split
from nas.runs.store import RunStore
from nas.searching.evaluation import evaluate
from nas.training.jobs import Job
from nas.training.pieces import passes_of
from nas.training.planning import check_one_process, check_recipe, keep, take_over, waiting, write_scalars
from nas.training.retraining import finished, run_job
from nas.training.teachers import settled
from search_spaces.errors import InputError
from search_spaces.textfiles import expanded


class TunedRetraining:
    """The networks that `nas retrain` would train, for Ray Tune. Use it in a `with` block: at its end, what was trained is recorded.

    A trial is one network from one initialisation and seed. After each pass over the images it reports `epoch`, the passes behind it, and
    `top1` on search-validation with the weights as they are then. A trial that is not stopped ends as `nas retrain` would: with averaged
    weights, tested once, and with the same result, whose `top1` is its last report. One that is stopped leaves its checkpoint.

    trainable: for `Tuner(...)`.
    param_space: for `Tuner(param_space=...)`, a trial for each network.
    epochs: passes of a whole training, for `ASHAScheduler(time_attr="epoch", max_t=...)`.

    Args:
        run: the folder of a run whose networks are extracted. On a cluster all nodes need it at the same path.
        settings: as after `nas retrain`, such as "search=tight" or "epochs=30".

    Raises:
        InputError: what `nas retrain` would refuse; several searches, models of timm, or nothing to train; Ray is not installed.
    """

    def __init__(self, run: str, *settings: str) -> None:
        check_ray("nas.tuning: executor")
        from nas.tuning.trainable import trainable_of_jobs

        again = "".join(f', "{setting}"' for setting in settings)
        configs = configure("retrain", [f"run={expanded(run).absolute()}", *settings])
        if len(configs) > 1:
            raise InputError(
                f"nas.tuning: {run} has {len(configs)} searches",
                "one of them",
                f'TunedRetraining("{run}", "search={configs[0].search.name}"{again})',
            )
        config = settled(configs[0])
        if config.retrain.references or config.retrain.estimate:
            wrong = "references" if config.retrain.references else "estimate"
            raise InputError(
                f"nas.tuning: retrain.{wrong} is set, and trials train networks of a search",
                "neither models of timm nor an estimate, which nas retrain has",
                f'TunedRetraining("{run}"{again}, "{wrong}={"" if config.retrain.references else "false"}")',
            )
        check_one_process(config)
        check_scalars(config)
        opened = open_run(config)
        [search] = chosen_searches(opened.store, config.search)
        search.set_damage_aside("retrain")
        search, jobs = waiting(opened, search)
        take_over(opened, search, jobs)
        if not jobs:
            raise InputError(
                f"nas.tuning: the selected networks of search {search.name} are retrained",
                "more seeds, another search, or more points, once `nas extract` has extracted them",
                f'TunedRetraining("{run}"{again}, "seeds={config.retrain.seeds + 1}")',
            )
        check_recipe(opened, [(search, jobs)])
        for part in ("validation", "test"):
            opened.check_images(part)
        self.epochs = passes_of(config.retrain)
        self.param_space: dict[str, Any] = {"job": {"grid_search": [job.name for job in jobs]}}
        self.trainable: Any = trainable_of_jobs(
            train, {job.name: job for job in jobs}, gpus=opened.device.type != "cpu"
        )
        self._open: tuple[Run, Search, list[Job]] | None = opened, search, jobs

    def close(self) -> None:
        """Records the networks that have been trained to their end, and gives up the run. The others resume under `nas retrain`."""
        if self._open is None:
            return
        run, search, jobs = self._open
        self._open = None  # a run is held until nothing refers to it
        for job in jobs:
            if run.store.exists(job.work("json")):
                record = finished(job, run.store)
                assert isinstance(record, Retraining)
                keep(run, search, job, record, ", ".join(job.roles))
        renew(run, search)
        write_scalars(run, search)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def train(job: Job, report: Callable[[dict[str, Any]], None]) -> None:
    """One trial.

    Args:
        report: takes a mapping, after every pass but the last, and at the end.
    """
    store = RunStore(job.config.run)
    kept: list[Any] = []

    def after_pass(network: nn.Module, passes: int) -> None:
        if not kept:
            kept.append(load_part(job.config.data, read_split(store), "validation"))
        accuracy = evaluate(network.eval(), kept[0].batches(256, device=str(next(network.parameters()).device)))
        report({"epoch": passes, "top1": accuracy.top1})

    record = run_job(None, job, after_pass)
    report({"epoch": passes_of(job.config.retrain), "top1": record.validation_top1})

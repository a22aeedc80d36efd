"""`nas search`: finds accurate sub-networks of a trained supernet within a budget."""

import statistics
from contextlib import closing
from dataclasses import replace

from nas import machine
from nas.config import Config
from nas.executors import Words, make_executor, workers_of
from nas.goals.budget import worded
from nas.goals.roles import RANDOM, best_of, eligible_of, front_of
from nas.log import say
from nas.machine.memory import explained
from nas.records import eligible
from nas.records.device_times import latest
from nas.runs.run import Run, open_run
from nas.runs.scalars import check_scalars
from nas.runs.searches import CLOSED, Search
from nas.runs.settings import absolute
from nas.searching.conduct import conduct
from nas.training.losses import say_at_chance

PATIENCE = 12.0
"""Seconds of evaluation in this process before others start. Two of them need about six seconds to start on a quiet machine."""


@explained
def search(config: Config) -> Search:
    """Searches the run's space within a budget, each sampler with an equal number of networks; resumes where it stopped.

    Raises:
        InputError: no trained supernet, an infeasible budget, an unknown cost or sampler, or other settings than the search of
            this name has results with.
    """
    check_scalars(config)
    run = open_run(replace(config, search=absolute(config.search)))
    run.check_trained()
    say_at_chance(run.store, run.config.run)
    gpus = run.device.type != "cpu"
    workers = workers_of(config.executor, run.config.search.jobs, cores=machine.cores(), gpus=gpus)
    words = Words(doing="evaluate networks", single="search.jobs=1")
    with closing(make_executor(config.executor, workers, words=words, patience=PATIENCE, gpus=gpus)) as executor:
        found = conduct(run, executor)
    _tell(run, found)
    return found


def _tell(run: Run, search: Search) -> None:
    evaluations, budget, objectives = search.evaluations(), search.budget, search.objectives
    refuted = search.refuted()
    winners = eligible(evaluations, budget, objectives, refuted)
    best = best_of(winners, objectives)
    drawn = eligible_of(evaluations, RANDOM, budget, objectives, refuted, estimates=True)
    median = f"; median of {len(drawn)} random networks {statistics.median(r.top1 for r in drawn):.1%}" if drawn else ""
    costs = ", ".join(worded(name, best.costs[name]) for name in search.shown if name in best.costs)
    times = [m for (digest, _), m in latest(search.measurements()).items() if digest == best.digest]
    costs += "".join(f", {worded(m.cost, m.measured)} measured" for m in times if m.measured is not None)
    dropped = sum(record.is_estimate for record in evaluations)
    estimated = f"; {dropped} of {len(evaluations)} evaluations are estimates of dropped candidates" if dropped else ""
    say(
        f"{run.config.run}: search {search.name} {'was closed' if search.state == CLOSED else 'has finished'}: "
        f"{len(front_of(winners, objectives))} networks on the Pareto front, the best with top-1 {best.top1:.1%} and loss {best.loss:.4g} on "
        f"search-validation at {costs}{median}{estimated}"
    )

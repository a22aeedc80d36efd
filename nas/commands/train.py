"""`nas train`: trains the supernet of a run, or resumes its training."""

import os
from dataclasses import replace

from nas import machine
from nas.config import Config
from nas.goals.limiting import costs_of_training
from nas.images import lines
from nas.log import say
from nas.machine.memory import explained
from nas.runs.inputs import SUPERNET
from nas.runs.run import Run, open_run, start_run
from nas.runs.scalars import check_scalars
from nas.training.initial import lines as lines_of_initial
from nas.training.losses import say_at_chance
from nas.training.ranks import Launched, launched, launched_group, started_group
from nas.training.supernet import follow, train_supernet
from search_spaces.counting import worded
from search_spaces.errors import InputError
from supernet.ranks import Ranks


def say_images(run: Run) -> None:
    """Prints which images the run has, as they were read when it was made; nothing for a run of an older version."""
    identity = run.store.identity()
    if "images" in identity:
        root = f" in {run.config.data.root}" if run.config.data.root else ""
        say(f"{run.config.run}: data set {run.split.name}{root}, {len(run.split.classes):,} classes")
        for line in lines(identity["images"], run.split.classes):
            say(line)


def say_narrowing(run: Run) -> None:
    """Prints how much of the space the budget of training has left; nothing for a run without one."""
    identity = run.store.identity()
    if "whole_space" in identity:
        whole, left = identity["whole_space"]["size"], identity["space_size"]
        say(
            f"{run.config.run}: train.budget={run.config.train.budget} leaves {worded(left)} of the {worded(whole)} networks of space "
            f"{run.space.name}"
        )


def say_initial(run: Run) -> None:
    """Prints which weights the training starts from, as they were read when the run was made; nothing for fresh ones."""
    found = run.store.identity().get("init")
    if found:
        first, *rest = lines_of_initial(found)
        say(f"{run.config.run}: {first}")
        for line in rest:
            say(line)


@explained
def train(config: Config) -> Run:
    """Trains the supernet of `config.run` on its supernet-train images; resumes from the last checkpoint if there is one.

    Raises:
        InputError: another run in the folder, unusable data or space, a damaged checkpoint, or a process that has ended.
    """
    check_scalars(config)
    one = launched()
    if one is not None and one.size > 1:
        return _train_launched(config, one)
    run = start_run(config)
    if _is_trained(run):
        return run
    size, threads = run.config.train.processes, machine.shared(config.threads, run.config.train.processes)
    others = replace(run.config, threads=threads, device=str(run.device))
    with started_group(size, run.device, follow, others) as ranks:
        if size > 1:
            machine.prepare(threads, str(run.device))
        with costs_of_training(run.config):
            train_supernet(run, ranks)
    return run


def _is_trained(run: Run) -> bool:
    """Prints the images, the space and the initial weights of the run, and returns whether it is trained."""
    say_images(run)
    say_narrowing(run)
    say_initial(run)
    trained = run.store.exists(SUPERNET)
    if trained:
        say(f"{run.config.run}: the supernet is trained")
        say_at_chance(run.store, run.config.run)
    return trained


def _train_launched(config: Config, one: Launched) -> Run:
    """The part of this process in a training by several that were started from outside. The one of rank 0 makes the run."""
    threads = machine.shared(config.threads, int(os.environ.get("LOCAL_WORLD_SIZE", one.size)))
    device = machine.prepare(threads, config.device)
    if device.type == "cuda" and device.index is None:
        device = machine.prepare(threads, f"cuda:{one.local}")
    own = replace(config, device=str(device), threads=threads)
    with launched_group(one, device) as ranks:
        if ranks.rank:
            ranks.wait()
            run = open_run(own, writes=False)
            trained = run.store.exists(SUPERNET)
        else:
            run = start_run(own)
            trained = _is_trained(run)
            ranks.wait()
        if not trained:
            _check_number(run, ranks)
            with costs_of_training(run.config):
                train_supernet(run, ranks)
        ranks.wait()  # whoever leaves first may find a run that is trained
    return run


def _check_number(run: Run, ranks: Ranks) -> None:
    """
    Raises:
        InputError: the run was begun with another number of processes than are here.
    """
    begun = run.config.train.processes
    if begun != ranks.size:
        raise InputError(
            f"run {run.config.run} was begun with train.processes={begun}, and {ranks.size} processes train here",
            "the same number: sums and batch norms depend on it",
            f"torchrun --nproc-per-node={begun} -m nas.cli train run={run.config.run}",
        )

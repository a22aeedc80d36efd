"""A search of a run from its first evaluation to its last: checks, baselines, samplers, and the end."""

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

from nas.config.search import SearchConfig
from nas.executors import Executor
from nas.goals.budget import Budget
from nas.goals.costing import (
    check_feasible,
    excess_of,
    known_everywhere,
    measured_costs,
    needed,
    or_else,
    prepare_costs,
    refusal,
    sparse_costs,
    violations_of,
)
from nas.goals.limiting import budget_of, check_search, limits_of
from nas.goals.objectives import parse_objectives, principal_cost
from nas.goals.roles import best_of
from nas.latency.profiles import check_covered
from nas.log import say
from nas.measuring.targets import about_devices, check_races
from nas.runs.beginning import start_search
from nas.runs.run import Run
from nas.runs.searches import CLOSED, FINISHED, Search, evaluated_before, read_search, search_names, sound_searches
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, read_architecture
from nas.samplers import storage
from nas.samplers.database import place_of
from nas.searching.baselines import hand_designed
from nas.searching.proposers import proposers_of
from nas.searching.searching import STUDY, Searching, setup_of
from nas.searching.sources import Listed, Within
from nas.searching.starting import keep_starts, space_of, starts_of
from search_spaces.architecture import Architecture
from search_spaces.costs import cost_named, cost_names, temporary_costs
from search_spaces.errors import InputError, OutsideBudget
from search_spaces.limits import outside
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded


def cost_infos() -> tuple[Mapping[str, str], ...]:
    """Name, unit and meaning of every registered cost."""
    return tuple({"name": c.name, "unit": c.unit, "about": c.about} for c in map(cost_named, cost_names()))


def conduct(run: Run, executor: Executor) -> Search:
    """Begins or resumes the search that the configuration describes, and finishes it.

    With `close=true` nothing more is proposed: the search is finished with its present evaluations.

    Raises:
        InputError: an unknown cost, an infeasible budget, candidates that are raced under a limit that is measured here, other settings
            than the search has results with, or a search that is closed before anything within its budget was evaluated, or with
            damaged records.
    """
    begun = run.config.search.title in search_names(run.store)
    if begun:
        there = read_search(run.store, run.config.search.title)
        if run.config.search.close:  # closing makes no damaged record again, so it refuses them
            there.evaluations()
            there.measurements()
        else:
            there.set_damage_aside("search")
    with temporary_costs():  # costs from files belong to one search
        check_races(run.config.search, begun)
        if run.config.search.close:
            read_search(run.store, run.config.search.title)  # or the error that says which searches there are
            return _finish(Searching(run, start_search(run.store, run.config, ()), executor), closed=True)
        return _conduct(run, executor)


def _conduct(run: Run, executor: Executor) -> Search:
    settings, store = run.config.search, run.store
    run.check_files()
    space = space_of(run)
    listed = prepare_costs(settings)
    budget, objectives = Budget.parse(settings.budget), parse_objectives(settings.objectives)
    check_covered(space, needed(budget, objectives))
    check_search(budget_of(run.config.train), budget)
    sparse = sparse_costs(budget, objectives)
    violations, source = violations_of(budget, sparse), space
    check_feasible(space, budget)
    if set(sparse) & measured_costs(settings):
        # Only architectures are reused here, which depend neither on the way of evaluation nor on the supernet.
        others = evaluated_before(store, replace(settings, evaluation="exact"), any_supernet=True)
        known = (evaluation.architecture for evaluation in others.values())
        source = Listed(space, [*listed, *known], excess_of(violations))
        if not source.feasible:
            raise refusal(space, budget, source.nearest, sparse)
    elif budget and all(map(known_everywhere, needed(budget, objectives))):
        source = Within(space, budget)
    if sparse and not isinstance(source, Listed):
        try:
            source.sample(random.Random(0), excess_of(violations))
        except OutsideBudget as error:
            raise refusal(space, budget, error.nearest, sparse) from None
    # Whatever can fail comes before the first file of a new search is written.
    constrained = tuple(dict.fromkeys((*budget.names, *sparse)))
    for proposer in proposers_of(run, constrained, source):
        proposer.probe()
    given = given_networks(settings, run.space)
    starts = starts_of(run, space, excess_of(violations))
    setup = None if settings.title in search_names(store) else setup_of(run)
    work = Searching(run, keep_starts(start_search(store, run.config, cost_infos()), starts), executor, setup)
    principal = cost_named(principal_cost(objectives))
    work.baseline("smallest", space.smallest(or_else(principal, math.inf)))
    work.baseline("largest", largest_of(run, space, or_else(principal, -math.inf)))
    work.given(given)
    try:
        work.sample(source, proposers_of(run, constrained, source), violations, [start.arch for start in starts])
    except OutsideBudget as error:
        raise refusal(space, budget, error.nearest, sparse) from None
    return _finish(work, closed=False)


def largest_of(run: Run, space: SearchSpace, cost: Callable[[Architecture], float]) -> Architecture:
    """The most expensive network, by coordinate ascent. If the supernet was trained for a budget, the most expensive one within it, because
    larger ones were not trained.
    """
    budget = budget_of(run.config.train)
    if not budget:
        return space.largest(cost)
    excess = outside(limits_of(budget))

    def within(arch: Architecture) -> float:
        """The cost within the budget; outside, minus the excess, so that the ascent moves towards the budget."""
        beyond = excess(arch)
        return cost(arch) if beyond <= 0 else -beyond

    return space.largest(within)


def _finish(work: Searching, closed: bool) -> Search:
    """Measures possible winners if this device is one of the search, evaluates the hand-designed network at the winner's cost, writes that
    the search has finished, and writes study.db.
    """
    run, search = work.run, work.search
    work.delivery.deliver(work.records)
    work.delivery.check_any(work.records)
    found = work.eligible()
    if not found:
        raise InputError(
            f"search {search.name} has evaluated no network within its budget",
            "a search with results",
            f"nas search run={run.config.run} search={search.name}, or rm -r {run.store.path(search.folder)}, which discards it",
        )
    best, name = best_of(found, search.objectives), principal_cost(search.objectives)
    if name not in cost_names() or name in measured_costs(search.settings):  # known for almost no network
        name = "macs"
    size = or_else(cost_named(name), math.inf)
    work.baseline("hand_designed", hand_designed(space_of(run), size, best.costs[name]))
    work.delivery.deliver(work.records)
    complete = all(count >= search.settings.evaluations for count in work.counts().values())
    conditions = dict(work.search.conditions)
    if work.delivery.targets:
        conditions["devices"] = about_devices(work.delivery.targets)
    search = work.search.write(state=CLOSED if closed and not complete else FINISHED, conditions=conditions)
    for line in work.delivery.summary():
        say(f"search {search.name}: {line}")
    copy_studies(run.store, run.space)
    return search


def given_networks(settings: SearchConfig, space: SearchSpace) -> list[tuple[str, Architecture]]:
    """The networks given by the user, each with its file.

    Raises:
        InputError: a file is missing or not an architecture, or a network is not in the space.
    """
    found = []
    for name in settings.networks:
        path = expanded(name)
        if not path.is_file():
            raise InputError(f"search.networks: {path} is no file", "arch.json files", f"search.networks=FOLDER/{ARCH}")
        arch = complete(read_architecture(path))
        space.encode(arch)  # raises if the network is not in the space
        found.append((name, arch))
    return found


def copy_studies(store: RunStore, space: SearchSpace) -> None:
    """Writes study.db from the records of all searches.

    Raises:
        InputError: it cannot be written.
    """
    path = place_of(store, STUDY)
    try:
        told = [storage.Search(s.name, s.objectives, s.budget, evaluations) for s, evaluations in sound_searches(store)]
        storage.write_studies(path, space, told)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({str(error).splitlines()[0]})",
            "a disk with free space, and no other program that holds the file",
            "free some space, or close what has it open, then run the same command again: it resumes where it stopped",
        ) from None

"""What the searches of a run found: their evaluations and retrainings as one value, with Pareto fronts and the networks that matter."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.goals.budget import Budget
from nas.goals.objectives import Objective, principal_cost
from nas.goals.roles import RANDOM, ROLES, axes, best_of, eligible_of, front_of, roles_of
from nas.records import INITS, SAMPLER, Evaluation, Reference, Retraining, eligible
from nas.records.device_times import DeviceTime, latest, refuted
from nas.reporting.words import plain
from search_spaces.architecture import Architecture


@dataclass(frozen=True, slots=True)
class CostInfo:
    """A cost that networks of the run have.

    unit: empty where it has none. about: what it is, in a sentence.
    """

    name: str
    unit: str = ""
    about: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchView:
    """A search as the report is given it.

    folder_name: in the run folder, such as searches/small. settings: its [search] section. evaluations: oldest first.
    finished: it has evaluated all that it was to. closed: ended by hand before that. extracted: digests of the networks that lie
    in its folder. measurements: times of networks on devices, oldest first. devices: per cost that is a time on a device, what search.json
    says of that device.
    """

    name: str
    folder_name: str
    settings: Mapping[str, Any]
    budget: Budget
    objectives: tuple[Objective, ...]
    evaluations: Sequence[Evaluation]
    retrainings: Sequence[Retraining] = ()
    references: Sequence[Reference] = ()
    finished: bool = True
    closed: bool = False
    extracted: frozenset[str] = frozenset()
    measurements: Sequence[DeviceTime] = ()
    devices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The retrainings of one network from one start, by rising seed; there is at least one."""

    repeats: tuple[Retraining | Reference, ...]

    @property
    def tests(self) -> list[float]:
        return [repeat.test_top1 for repeat in self.repeats]

    @property
    def losses(self) -> list[float]:
        return [repeat.test_loss for repeat in self.repeats]

    @property
    def mean(self) -> float:
        """Mean test top-1 over the seeds."""
        return math.fsum(self.tests) / len(self.tests)

    @property
    def mean_loss(self) -> float:
        """Mean test loss over the seeds."""
        return math.fsum(self.losses) / len(self.losses)

    @property
    def validation(self) -> float:
        """Mean search-validation top-1 over the seeds: what a choice between results may look at."""
        return math.fsum(repeat.validation_top1 for repeat in self.repeats) / len(self.repeats)

    @property
    def images(self) -> int:
        return self.repeats[0].test_images

    @property
    def costs(self) -> Mapping[str, float]:
        return self.repeats[0].costs

    @property
    def error(self) -> float:
        """Binomial standard error of a test top-1 of `mean`, in units of top-1; seeds do not make it smaller."""
        return math.sqrt(self.mean * (1 - self.mean) / self.images)

    def __str__(self) -> str:
        if len(self.tests) == 1:
            return f"{self.mean:.3f} (1 seed)"
        return f"{self.mean:.3f} (mean of {len(self.tests)} seeds, {min(self.tests):.3f} to {max(self.tests):.3f})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network that the report has a row for, with everything known about it.

    inherited: its evaluation, if it has one. results: per init that it was retrained from.
    """

    digest: str
    roles: tuple[str, ...]
    architecture: Architecture
    costs: Mapping[str, float]
    inherited: Evaluation | None
    results: dict[str, Result]

    @property
    def on_front(self) -> bool:
        return "front" in self.roles


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchFindings:
    """What one search found.

    costs: every cost of the run, by name.
    candidates: per sampler, in order of their first evaluations and random search last, its evaluations, within the budget or not.
    fronts: per sampler, the Pareto front of its candidates that may win.
    front: that of all of them, by rising principal cost; without a cost among the objectives, the best first.
    networks: the front, then baselines and the rest, by the order of `ROLES` and rising principal cost.
    measured: by digest and cost, the time of a network on a device.
    refuted: digests of the networks that were found over the budget when they were measured.
    """

    view: SearchView
    costs: Mapping[str, CostInfo]
    candidates: dict[str, tuple[Evaluation, ...]]
    fronts: dict[str, tuple[Evaluation, ...]]
    front: tuple[Evaluation, ...]
    networks: tuple[Network, ...]
    measured: Mapping[tuple[str, str], DeviceTime]
    refuted: frozenset[str]

    @property
    def name(self) -> str:
        return self.view.name

    @property
    def budget(self) -> Budget:
        return self.view.budget

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.view.objectives

    @property
    def score(self) -> Objective:
        """The first that is measured on images: what "best" means."""
        return self.objectives[axes(self.objectives)[0]]

    @property
    def cost(self) -> str:
        """What "large" and "small" mean: the first cost among the objectives, else the first limited one, else MACs."""
        limited = self.budget.names
        if any(objective.is_cost for objective in self.objectives) or "macs" in limited or not limited:
            return principal_cost(self.objectives)
        return limited[0]

    @property
    def trials(self) -> Sequence[Evaluation]:
        """All evaluations, oldest first."""
        return self.view.evaluations

    @property
    def best(self) -> Evaluation | None:
        """Of the Pareto front, the best in the first score, with inherited weights."""
        return best_of(self.front, self.objectives) if self.front else None

    @property
    def retrained_best(self) -> tuple[Network, str] | None:
        """The network of the Pareto front, and its initialisation, that is best on validation after retraining. Test results are not used."""
        choices = [(network, init) for network in self.networks if network.on_front for init in network.results]
        return max(choices, key=lambda choice: choice[0].results[choice[1]].validation, default=None)

    @property
    def inits(self) -> list[str]:
        """The starts that anything was retrained from."""
        return [init for init in INITS if any(init in network.results for network in self.networks)]

    @property
    def state(self) -> str:
        return "finished" if self.view.finished else "closed by hand" if self.view.closed else "unfinished"

    @property
    def references(self) -> dict[str, Result]:
        """The models of timm that were trained by the recipe of retraining, by their names, with the results of their seeds."""
        own = {(reference.model, reference.seed): reference for reference in self.view.references}
        models = dict.fromkeys(reference.model for reference in self.view.references)
        return {model: Result(tuple(own[key] for key in sorted(own) if key[0] == model)) for model in models}

    @property
    def matters(self) -> list[CostInfo]:
        """The costs that tables have columns of: those of the objectives and of the budget, then MACs and params."""
        names = [objective.name for objective in self.objectives if objective.is_cost]
        names += [*self.budget.names, *(name for name in ("macs", "params") if name in self.costs)]
        return [self.costs.get(name, CostInfo(name)) for name in dict.fromkeys(names)]

    def may_win(self, trial: Evaluation) -> bool:
        """Whether it is within the budget, as far as is known, and has a value of every objective."""
        return bool(eligible([trial], self.budget, self.objectives, self.refuted))

    def within(self, network: Network | Evaluation) -> bool:
        """Whether a network keeps the budget by its counted and predicted costs, and no measurement says otherwise."""
        return self.budget.allows(network.costs) and network.digest not in self.refuted

    @property
    def overturned(self) -> frozenset[str]:
        """Digests of the networks that were predicted to be within the budget and are not when they are measured."""
        return frozenset(t.digest for t in self.trials if t.digest in self.refuted and self.budget.allows(t.costs))

    def tolerance(self, cost: str) -> float | None:
        """Mean relative error of the predictions of a cost on networks that its model had not seen; None where it is not predicted."""
        return self.view.devices.get(cost, {}).get("held_out", {}).get("mape")


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the searches of a run found.

    run: run.json. costs: every cost of the run, in the order of run.json. warnings: reasons to doubt the results.
    """

    run: Mapping[str, Any]
    costs: tuple[CostInfo, ...]
    searches: tuple[SearchFindings, ...]
    warnings: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        return len(self.searches) > 1

    @property
    def title(self) -> str:
        return plain(f"Space {self.run['space_name']}, data {self.run['config']['data']['name']}")

    @property
    def architectures(self) -> list[Architecture]:
        """Of all networks that anything is known about."""
        known = (network for search in self.searches for network in (*search.trials, *search.networks))
        return list({network.digest: network.architecture for network in known}.values())


def collect(run: Mapping[str, Any], searches: Sequence[SearchView], warnings: Sequence[str] = ()) -> Findings:
    """What is reported of a run and of the given searches of it; they may have evaluated anything or nothing yet.

    Of several retrainings of one network with one init and seed, the last counts.

    Args:
        run: run.json as a mapping. "costs" lists the costs of the run as {"name", "unit", "about"}.
        warnings: reasons to doubt the results; sentences that begin in small letters and have no full stop.
    """
    costs = {entry["name"]: CostInfo(entry["name"], entry["unit"], entry["about"]) for entry in run.get("costs", ())}
    seen = {name for view in searches for known in (*view.evaluations, *view.retrainings) for name in known.costs}
    limited = {name for view in searches for name in view.budget.names}
    wanted = {objective.name for view in searches for objective in view.objectives if objective.is_cost}
    for name in sorted((seen | limited | wanted) - costs.keys()):
        costs[name] = CostInfo(name)
    found = tuple(_search(view, costs) for view in searches)
    return Findings(run=run, costs=tuple(costs.values()), searches=found, warnings=tuple(warnings))


def _search(view: SearchView, costs: Mapping[str, CostInfo]) -> SearchFindings:
    trials, budget, objectives = view.evaluations, view.budget, view.objectives
    names = dict.fromkeys(trial.origin.name for trial in trials if trial.origin.kind == SAMPLER)
    samplers = sorted(names, key=lambda name: name == RANDOM)
    own = {name: tuple(t for t in trials if t.origin.kind == SAMPLER and t.origin.name == name) for name in samplers}
    over = refuted(view.measurements, budget)
    return SearchFindings(
        view=view,
        costs=costs,
        candidates=own,
        fronts={n: tuple(front_of(eligible_of(own[n], n, budget, objectives, over), objectives)) for n in samplers},
        front=tuple(front_of(eligible(trials, budget, objectives, over), objectives)),
        networks=_networks(view, over),
        measured=latest(view.measurements),
        refuted=over,
    )


def _networks(view: SearchView, over: frozenset[str]) -> tuple[Network, ...]:
    retrained = list({(r.digest, r.init, r.seed): r for r in view.retrainings}.values())
    roles = roles_of(view.evaluations, view.budget, view.objectives, over)
    for known in retrained:
        roles.setdefault(known.digest, ("chosen" if "chosen" in known.roles else "retrained",))
    # An estimate is no accuracy of a network: one that was dropped for a sampler may have been validated in full as a baseline.
    evaluated = {trial.digest: trial for trial in reversed(view.evaluations) if not trial.is_estimate}
    # Of several evaluations of one network, the one that may win stands for it.
    evaluated |= {trial.digest: trial for trial in eligible(view.evaluations, view.budget, view.objectives, over)}
    networks = []
    for digest, names in roles.items():
        own = sorted((r for r in retrained if r.digest == digest), key=lambda r: r.seed)
        source = evaluated.get(digest) or own[0]
        networks.append(
            Network(
                digest=digest,
                roles=names,
                architecture=source.architecture,
                costs=source.costs,
                inherited=evaluated.get(digest),
                results={init: Result(of) for init in INITS if (of := tuple(r for r in own if r.init == init))},
            )
        )
    order, cost = list(roles), principal_cost(view.objectives)

    def key(network: Network) -> tuple[int, float, int]:
        """By the first role; the Pareto front in its own order."""
        first = list(ROLES).index(network.roles[0])
        size = 0.0 if network.on_front else network.costs.get(cost, math.inf)
        return first, size, order.index(network.digest)

    return tuple(sorted(networks, key=key))


def shared(searches: Sequence[SearchFindings]) -> dict[tuple[str, str], list[SearchFindings]]:
    """By first score and principal cost of any search, the searches that one chart of the two can show: those whose front is known on both.

    So a search under MACs and one under milliseconds stand beside each other on either axis.
    """
    keys = dict.fromkeys((search.score.name, search.cost) for search in searches)
    return {
        (score, cost): [
            search
            for search in searches
            if search.score.name == score
            and (search.cost == cost or any(cost in trial.costs for trial in search.front))
        ]
        for score, cost in keys
    }

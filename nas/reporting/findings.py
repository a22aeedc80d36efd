"""What a run found: run.json, evaluations.jsonl and retrained.jsonl as one value, with the front."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from nas.config import parse_macs
from nas.pareto import front
from nas.reporting.words import plain
from nas.store import RunStore
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

ROLES = {
    "front": "no evaluated sub-network within the budget has fewer MACs and an equal or higher search-validation top-1",
    "random_best": "the best search-validation top-1 that random search found within the budget",
    "smallest": "the smallest network of the space",
    "hand_made": "a network drawn by hand",
    "largest": "the largest network of the space; the budget does not apply to it",
    "retrained": "retrained earlier; not on the front of the evaluations as they are now",
}
"""Why a network is in the report, in the order in which roles are printed."""

BASELINES = ("smallest", "hand_made", "largest")
"""Values of `sampler` in evaluations.jsonl that are no search: such networks are shown, and never enter a front."""

INITS = {"scratch": "fresh weights", "inherited": "weights extracted from the supernet"}
"""Where retraining starts from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A line of evaluations.jsonl: a sub-network's search-validation score with inherited weights."""

    n: int
    sampler: str
    trial: int
    digest: str
    architecture: Architecture
    params: int
    macs: int
    top1: float
    loss: float
    images: int

    @property
    def error(self) -> float:
        """Binomial standard error of `top1`, in units of top-1."""
        return math.sqrt(self.top1 * (1 - self.top1) / self.images)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retraining:
    """A line of retrained.jsonl: one network trained by itself, from one start, with one seed."""

    digest: str
    init: str
    seed: int
    architecture: Architecture
    params: int
    macs: int
    epochs: int
    validation_top1: float
    test_top1: float
    test_images: int


@dataclass(frozen=True, slots=True)
class Result:
    """The retrainings of one network from one start, by rising seed; there is at least one."""

    repeats: tuple[Retraining, ...]

    @property
    def tests(self) -> list[float]:
        return [repeat.test_top1 for repeat in self.repeats]

    @property
    def mean(self) -> float:
        """Mean test top-1 over the seeds."""
        return math.fsum(self.tests) / len(self.tests)

    @property
    def validation(self) -> float:
        """Mean search-validation top-1 over the seeds: what a choice between results may look at."""
        return math.fsum(repeat.validation_top1 for repeat in self.repeats) / len(self.repeats)

    @property
    def images(self) -> int:
        return self.repeats[0].test_images

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
    params: int
    macs: int
    inherited: Trial | None
    results: dict[str, Result]

    @property
    def on_front(self) -> bool:
        return "front" in self.roles


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a run found.

    run: run.json.
    budget: MACs, or None.
    trials: all evaluations, oldest first.
    candidates: per sampler (NSGA-II first), its evaluations, whether within the budget or not.
    fronts: per sampler, the front of its candidates within the budget.
    front: the front of all candidates within the budget, by rising MACs.
    networks: the front, then the baselines and the rest, by the order of `ROLES` and rising MACs.
    """

    run: Mapping[str, Any]
    budget: int | None
    trials: tuple[Trial, ...]
    candidates: dict[str, tuple[Trial, ...]]
    fronts: dict[str, tuple[Trial, ...]]
    front: tuple[Trial, ...]
    networks: tuple[Network, ...]

    def within(self, macs: int) -> bool:
        """Whether the budget allows so many MACs."""
        return self.budget is None or macs <= self.budget

    @property
    def inits(self) -> list[str]:
        """The starts that anything was retrained from."""
        return [init for init in INITS if any(init in network.results for network in self.networks)]

    @property
    def best(self) -> tuple[Network, str] | None:
        """The network of the front, and its init, that is best on validation after retraining. The test has no say."""
        choices = [(network, init) for network in self.networks if network.on_front for init in network.results]
        return max(choices, key=lambda choice: choice[0].results[choice[1]].validation, default=None)

    @property
    def title(self) -> str:
        return plain(f"Space {self.run['space_name']}, data {self.run['config']['data']['name']}")


Record = TypeVar("Record", Trial, Retraining)


def _records(store: RunStore, name: str, kind: type[Record], known: dict[str, Architecture]) -> tuple[Record, ...]:
    """The lines of a file. Lines of one digest share one Architecture, kept in `known`."""
    found = []
    for number, line in enumerate(store.records(name), 1):
        try:
            if line["digest"] not in known:
                known[line["digest"]] = Architecture.from_dict(line["architecture"])
            values: dict[str, Any] = {field.name: line[field.name] for field in fields(kind)}
        except (KeyError, TypeError) as error:
            raise InputError(
                f"line {number} of {store.path(name)} is not a record of this version (at {error})",
                "lines as nas wrote them",
                "a copy of the file, or a new folder: run=runs/new",
            ) from None
        values["architecture"] = known[line["digest"]]
        found.append(kind(**values))
    return tuple(found)


def _front(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    trials = tuple(trials)
    return tuple(trials[index] for index in front([(trial.macs, trial.top1) for trial in trials]))


def collect(store: RunStore) -> Findings:
    """Reads a run that has been searched; retraining may or may not have happened.

    Of several lines of retrained.jsonl with one digest, init and seed, the last counts.

    Raises:
        InputError: nothing has been evaluated yet, or a file is damaged.
    """
    run = store.read_json("run.json")
    known: dict[str, Architecture] = {}
    trials = _records(store, "evaluations.jsonl", Trial, known)
    if not trials:
        given = f"{store.folder} has no evaluations to report"
        raise InputError(given, "a run that has been searched", f"nas search run={store.folder}")
    retrained = {(r.digest, r.init, r.seed): r for r in _records(store, "retrained.jsonl", Retraining, known)}
    budget = parse_macs(run["config"]["search"]["budget"])

    samplers = sorted({t.sampler for t in trials} - set(BASELINES), key=lambda name: (name != "nsga2", name))
    candidates = {name: tuple(t for t in trials if t.sampler == name) for name in samplers}
    allowed = [t for t in trials if t.sampler in candidates and (budget is None or t.macs <= budget)]
    fronts = {name: _front(t for t in allowed if t.sampler == name) for name in samplers}
    whole = _front(allowed)

    roles: dict[str, set[str]] = {trial.digest: {"front"} for trial in whole}
    if fronts.get("random"):
        roles.setdefault(fronts["random"][-1].digest, set()).add("random_best")
    for trial in trials:
        if trial.sampler in BASELINES:
            roles.setdefault(trial.digest, set()).add(trial.sampler)
    for digest, _, _ in retrained:
        roles.setdefault(digest, {"retrained"})

    evaluated = {trial.digest: trial for trial in (*reversed(trials), *whole)}
    networks = []
    for digest, names in roles.items():
        own = sorted((r for r in retrained.values() if r.digest == digest), key=lambda r: r.seed)
        source = evaluated.get(digest) or own[0]
        networks.append(
            Network(
                digest=digest,
                roles=tuple(role for role in ROLES if role in names),
                architecture=source.architecture,
                params=source.params,
                macs=source.macs,
                inherited=evaluated.get(digest),
                results={init: Result(of) for init in INITS if (of := tuple(r for r in own if r.init == init))},
            )
        )
    networks.sort(key=lambda network: (list(ROLES).index(network.roles[0]), network.macs, network.digest))
    return Findings(
        run=run,
        budget=budget,
        trials=trials,
        candidates=candidates,
        fronts=fronts,
        front=whole,
        networks=tuple(networks),
    )

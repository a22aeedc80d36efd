"""A search at work: what nobody has evaluated is evaluated, and a line per network and origin is appended to its records."""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from nas.executors import Executor
from nas.goals.costing import (
    Violations,
)
from nas.goals.roles import RANDOM
from nas.goals.standing import Standing, box_of
from nas.log import Progress, say
from nas.measuring.delivery import Delivery
from nas.measuring.targets import targets_of
from nas.records import BASELINE, GIVEN, SAMPLER, Evaluation, Origin, eligible
from nas.runs.run import Run
from nas.runs.scalars import Followed, Scalars
from nas.runs.searches import (
    EVALUATIONS,
    RUNNING,
    Search,
    evaluated_before,
)
from nas.samplers import storage
from nas.samplers.database import place_of
from nas.samplers.live import LiveStudies
from nas.samplers.proposer import Proposer
from nas.searching.engine import Proposal, Space, Tally, run_search
from nas.searching.evaluation import Accuracy, EvaluatorSetup, Raced, raced, score
from nas.searching.races import Job, Races
from nas.searching.sources import Listed
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of
from search_spaces.costs.macs import macs
from search_spaces.errors import InputError
from supernet.seeding import derive_seed

STUDY = "study.db"


class Searching:
    """The work on one search: evaluates what nobody has evaluated, and appends a line per network and origin."""

    def __init__(self, run: Run, search: Search, executor: Executor, setup: EvaluatorSetup | None = None) -> None:
        self.run, self.search, self.executor = run, search, executor
        self._setup = setup
        self.records = search.evaluations()
        self.done = {(record.origin, record.trial): record for record in self.records}
        self.races = None
        if search.settings.evaluation == "fast":  # whose results depend on this search's own networks alone
            split = run.split
            self.races = Races(run.store, search, len(split.parts["validation"]), split.in_channels, split.resolution)
        # A race may know no more than it knew before an interruption, so there it is filled as samplers are told.
        self.known: dict[str, Evaluation] = {}
        if self.races is None:
            self.known = {**evaluated_before(run.store, search.settings), **{r.digest: r for r in self.records}}
        self._numbers = {record.n for record in self.records}
        # Of the next record: a damaged line that was set aside has left its number free.
        self._next = least_free(self._numbers)
        self.fresh = 0
        objectives = [objective.name for objective in search.objectives if objective.is_cost]
        targets = targets_of(search.settings, search.budget, objectives)
        self.delivery = Delivery(search, targets, noisy=run.config.search.noisy)

    @property
    def setup(self) -> EvaluatorSetup:
        """One object for all evaluations, so that executors keep what they make of it. The supernet is read when it is needed."""
        if self._setup is None:
            self._setup = setup_of(self.run)
        return self._setup

    def evaluate(self, wanted: Sequence[tuple[Origin, int, Architecture]]) -> Iterator[Evaluation]:
        """The record of each network, in order; it is appended unless it is there."""
        if self.races:
            self.races.begin()
        new: dict[tuple[str, Origin | None], tuple[Origin, Architecture]] = {}
        for origin, trial, arch in wanted:
            done = self.done.get((origin, trial))
            if done is not None and done.digest != arch.digest:
                raise self._another(origin, trial, arch)
            if done is None and arch.digest not in self.known:
                new.setdefault(self._one_of(origin, arch), (origin, arch))
        results = self._results(list(new.values())) if new else iter(())
        found: dict[tuple[str, Origin | None], Raced] = {}
        for origin, trial, arch in wanted:
            key = self._one_of(origin, arch)
            if key in new:
                found[key] = next(results)
                del new[key]
                self.fresh += found[key].accuracy.images
            yield self._record(origin, trial, arch, found.get(key))
        next(results, None)  # so that the executor knows that no more is wanted

    def _one_of(self, origin: Origin, arch: Architecture) -> tuple[str, Origin | None]:
        """What is evaluated once: a network, and in races a network per sampler, whose own networks it is compared with."""
        return arch.digest, origin if self.races else None

    def _results(self, wanted: Sequence[tuple[Origin, Architecture]]) -> Iterator[Raced]:
        if self.races is None:
            archs = [arch for _, arch in wanted]
            return map(Raced, self.executor.map(self.setup, score, archs, weight=macs))
        return self._race(self.races.jobs(wanted, self._race))

    def _race(self, jobs: list[Job]) -> Iterator[Raced]:
        return iter(self.executor.map(self.setup, raced, jobs, weight=_macs_of)) if jobs else iter(())

    def _record(self, origin: Origin, trial: int, arch: Architecture, result: Raced | None) -> Evaluation:
        """The record of a network: that which is there, or one of the result or of what is known, which is appended."""
        record = self.done.get((origin, trial))
        if record is None:
            if result is None:
                before = self.known[arch.digest]
                result = Raced(Accuracy(before.top1, before.loss, before.images))
            record = self._append(origin, trial, arch, result)
        if self.races is None:
            self.known[arch.digest] = record
        elif origin.kind == SAMPLER and not record.is_estimate:
            self.known[arch.digest] = record
            self.races.told(record)
        return record

    def _append(self, origin: Origin, trial: int, arch: Architecture, result: Raced) -> Evaluation:
        top1, loss, images = result.accuracy
        record = Evaluation(
            n=self._next, origin=origin, trial=trial, digest=arch.digest, architecture=arch, costs=costs_of(arch),
            top1=top1, loss=loss, images=images, against=result.against if self.races else None,
        )  # fmt: skip
        if self.races and origin.kind == SAMPLER and result.outcome is not None:
            self.races.keep(arch, result.outcome)
        if self.search.state != RUNNING:
            self.search = self.search.write(state=RUNNING)
        self.run.store.append(self.search.path(EVALUATIONS), record.to_dict())
        self._numbers.add(record.n)
        self._next = least_free(self._numbers, self._next)
        # Its number, not the time of this call, says where it belongs: ties are broken in favour of the earliest record.
        bisect.insort(self.records, record, key=lambda known: known.n)
        self.done[origin, trial] = record
        return record

    def _another(self, origin: Origin, trial: int, arch: Architecture) -> InputError:
        """The error of a search whose replay proposes other networks than it proposed before."""
        search = self.search.name
        return InputError(
            f"search {search} does not replay: proposal {trial} of {origin.name} was {self.done[origin, trial].digest} and is now {arch.digest}, so "
            "a cost, a file of measured values, a sampler or a version has changed",
            "what it was begun with, or another search, which takes over what has been evaluated",
            f"search.name=another, or nas search run={self.run.config.run} search={search} close=true",
        )

    def baseline(self, name: str, arch: Architecture) -> None:
        """Evaluates a baseline, unless the last one of this name is the same network."""
        earlier = [record for record in self.records if record.origin == Origin(BASELINE, name)]
        if not earlier or earlier[-1].digest != arch.digest:
            # A search that is raised may have another winner, and so another network of equal cost; the ends of the space do not move.
            trial = least_free(record.trial for record in earlier) if name == "hand_designed" else 0
            list(self.evaluate([(Origin(BASELINE, name), trial, arch)]))

    def given(self, networks: Sequence[tuple[str, Architecture]]) -> None:
        """Evaluates networks that the user gave, each once."""
        for path, arch in networks:
            earlier = [record for record in self.records if record.origin.kind == GIVEN]
            if arch.digest not in {record.digest for record in earlier}:
                list(self.evaluate([(Origin(GIVEN, path), least_free(record.trial for record in earlier), arch)]))

    def eligible(self) -> list[Evaluation]:
        """The networks that may win."""
        return eligible(self.records, self.search.budget, self.search.objectives, self.delivery.refuted)

    def counts(self) -> dict[str, int]:
        """Different networks that each sampler has evaluated."""
        digests: dict[str, set[str]] = {name: set() for name in self.search.settings.samplers}
        for record in self.records:
            if record.origin.kind == SAMPLER:
                digests.setdefault(record.origin.name, set()).add(record.digest)
        return {name: len(found) for name, found in digests.items()}

    def _ends(self, source: Space) -> dict[str, float]:
        """The box that samplers' hypervolume is a share of. A measured cost ends at the largest network that was measured."""
        largest = [record for record in self.records if record.origin == Origin(BASELINE, "largest")][-1]
        objectives, known = self.search.objectives, [largest.costs]
        if isinstance(source, Listed):
            names = [objective.name for objective in objectives if objective.is_cost]
            known += [costs_of(arch, names) for arch in source.feasible]
        return box_of(objectives, self.search.budget, known, len(self.run.split.classes))

    def _followed(self, sampler: str, ends: dict[str, float]) -> Followed:
        scalars = Scalars(True, self.run.store, f"search/{self.search.name}/{sampler}")
        return Followed(Standing(self.search.objectives, self.search.budget, ends), scalars)

    def sample(
        self,
        source: Space,
        proposers: Sequence[Proposer],
        violations: Violations,
        starts: Sequence[Architecture] = (),
    ) -> None:
        """Lets samplers propose members of `source`, until each has its evaluations.

        Args:
            starts: what each of them but random search proposes first.
        """
        search, settings = self.search, self.search.settings
        objectives = search.objectives
        self.fresh = 0  # the images of baselines tell nothing of the samplers' time
        total = min(settings.evaluations, source.size) * len(proposers)
        ends = self._ends(source)
        progress, standing = Progress(f"search {search.name}", total), Standing(objectives, search.budget, ends)
        live = LiveStudies(
            place_of(self.run.store, STUDY), self.run.space, storage.Search(search.name, objectives, search.budget, ())
        )
        done: dict[str, int] = {}
        followed = {name: self._followed(name, ends) for name in settings.samplers if self.run.config.tensorboard}
        if len(objectives) > 1:
            say(f"search {search.name}: hypervolume is a share of the box {standing.about()}")

        def scores(proposals: Sequence[Proposal]) -> Iterator[list[float]]:
            for record in self.evaluate([(Origin(SAMPLER, p.sampler), p.trial, p.arch) for p in proposals]):
                standing.add(record)
                if record.origin.name in followed:
                    followed[record.origin.name].add(record)
                yield [cast(float, objective.of(record)) for objective in objectives]

        def tell(tally: Tally) -> None:
            done[tally.sampler] = tally.scored
            scored = sum(done.values())
            if not self.fresh:
                progress.resume(scored)
            if progress.due(scored):
                progress.update(scored, self.fresh, **standing.shown())
            live.update(self.records)

        tallies = run_search(
            source, proposers, evaluations=settings.evaluations, batch=settings.batch,
            seed=derive_seed(self.run.config.seed, "search", settings.seed), violations=violations, score=scores, progress=tell,
            starts={name: starts for name in settings.samplers if name != RANDOM},
        )  # fmt: skip
        for follower in followed.values():
            follower.close()
        for tally in tallies:
            if tally.scored < settings.evaluations:
                say(
                    f"{tally.sampler}: stopped at {tally.scored} different networks, as it found no others within the budget"
                )


def least_free(taken: Iterable[int], first: int = 0) -> int:
    """The least number from `first` on that is not taken."""
    used = taken if isinstance(taken, set) else set(taken)
    return next(number for number in itertools.count(first) if number not in used)


def _macs_of(job: Job) -> float:
    return macs(job[0])


def setup_of(run: Run) -> EvaluatorSetup:
    """What evaluates sub-networks of a run.

    Raises:
        InputError: the supernet is not trained yet, or its file is damaged.
    """
    return EvaluatorSetup(run.config, run.space, run.split, dict(run.supernet().state_dict()))

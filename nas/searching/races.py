"""The races of one search: who is compared with whom, and what each network that was validated in full answered on each image.

    searches/NAME/outcomes.jsonl     one line per network: the answers that later candidates are compared with

The records of a search are the truth. These lines only spare evaluations: a network whose line is missing or damaged is evaluated once
more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, cast

from nas.goals.objectives import SCORES
from nas.log import say
from nas.records import SAMPLER, Evaluation, Origin
from nas.records.shapes import A_DIGEST
from nas.runs.disk import DamagedFile
from nas.runs.searches import Search
from nas.runs.store import RunStore
from nas.searching.evaluation import Raced, are_kept
from nas.searching.racing import WARM_UP, Contest, Outcome, Race, Rival
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of

OUTCOMES = "outcomes.jsonl"

Job: TypeAlias = "tuple[Architecture, Race | None]"


class Races:
    """
    Args:
        images: of search-validation.
        channels, resolution: of the images.
    """

    def __init__(self, store: RunStore, search: Search, images: int, channels: int, resolution: int) -> None:
        self._store, self._path, self._images = store, search.path(OUTCOMES), images
        self._costs = [objective.name for objective in search.objectives if objective.is_cost]
        scores = [objective.name for objective in search.objectives if objective.name in SCORES]
        ordered = are_kept(images, channels, resolution)
        self._contest = Contest(images, search.settings.batch_size, scores, ordered)
        self._told: list[tuple[Evaluation, bool]] = []
        self._known: set[str] = set()
        self._ordered = False
        self._outcomes: dict[str, Outcome] | None = None

    def begin(self) -> None:
        """A batch of proposals begins: what is told from now on is not known to them."""
        self._ordered = len(self._known) >= WARM_UP

    def told(self, record: Evaluation) -> None:
        """A network that was validated in full and that its sampler was told of: later candidates are compared with it."""
        self._told.append((record, self._ordered))
        self._known.add(record.digest)

    def jobs(
        self, wanted: Sequence[tuple[Origin, Architecture]], evaluate: Callable[[list[Job]], Iterable[Raced]]
    ) -> list[Job]:
        """What an executor is given for these networks. Only samplers' candidates are raced.

        Args:
            evaluate: does jobs; for networks whose outcomes have been lost.
        """
        if any(origin.kind == SAMPLER for origin, _ in wanted):  # lost outcomes are evaluated for a race alone
            self._catch_up(evaluate)
        return [
            (arch, self._contest.race(origin.name, self._known_costs(arch)) if origin.kind == SAMPLER else None)
            for origin, arch in wanted
        ]

    def keep(self, arch: Architecture, outcome: Outcome) -> None:
        """Writes down what a network answered, before its record is written."""
        known = self._read()
        if arch.digest not in known:
            self._store.append(self._path, {"digest": arch.digest, **outcome.to_dict()})
            known[arch.digest] = outcome

    def _catch_up(self, evaluate: Callable[[list[Job]], Iterable[Raced]]) -> None:
        """Makes all that was told part of the contest."""
        for ordered in (False, True):  # which networks of the second kind were raced against, follows from the first
            told = [record for record, raced in self._told if raced == ordered]
            whole = self._contest.whole() if ordered else None
            lost = {r.digest: r.architecture for r in told if r.digest not in self._read()}
            results = evaluate([(arch, whole) for arch in lost.values()])
            for arch, found in zip(lost.values(), results, strict=True):
                self.keep(arch, cast(Outcome, found.outcome))
            for record in told:
                rival = Rival(record.origin.name, record.digest, record.top1, record.loss)
                self._contest.add(rival, self._known_costs(record.architecture), self._read()[record.digest])
        self._told.clear()

    def _known_costs(self, arch: Architecture) -> list[float]:
        costs = costs_of(arch, self._costs)
        return [costs[name] for name in self._costs]

    def _read(self) -> dict[str, Outcome]:
        if self._outcomes is None:
            self._outcomes = dict(self._lines())
        return self._outcomes

    def _lines(self) -> Iterator[tuple[str, Outcome]]:
        """By digest, what every sound line says. Damage costs the networks of its own lines only."""
        path, again = self._store.path(self._path), "evaluated once more when they are needed"
        try:
            lost = len(self._store.set_aside(self._path))
            lines = self._store.each_record(self._path, alike=False)
        except DamagedFile as error:
            say(f"{error.given}: its networks are {again}")
            self._store.remove(self._path)
            return
        for line in lines:
            try:
                digest, outcome = line["digest"], Outcome.from_dict(line)
            except (ValueError, KeyError, TypeError):
                lost += 1
                continue
            if A_DIGEST.fault(digest, "digest"):
                lost += 1
                continue
            if len(outcome.hits) == self._images:
                yield digest, outcome
        if lost:
            say(f"{path} has {lost} damaged line{'s' * (lost > 1)}, whose networks are {again}")

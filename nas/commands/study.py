"""`nas study`: searched winners against scaled families, random networks and the fixed ratio, as one command that resumes."""

from dataclasses import replace
from pathlib import Path

import nas
from nas.ablation.asked import Ablated, Asked, RowText
from nas.ablation.folder import Ablation, begin
from nas.ablation.study.asked import LATENCY, Studied, title_of
from nas.ablation.study.networks import Compared, check_families, check_same, drawn_of, hand_designed, winners_of
from nas.ablation.study.table import entries_of
from nas.ablation.study.timing import Clock, was_noisy
from nas.ablation.study.writing import LEGEND, Comparison, text, write
from nas.ablation.table import said_of_guessing
from nas.ablation.writing import conditions
from nas.config import Config
from nas.config.keys import typed
from nas.config.search import SearchConfig
from nas.goals.budget import Budget
from nas.log import say
from nas.runs.run import Run
from nas.runs.searches import Search
from nas.runs.settings import kept
from nas.runs.store import RunStore
from search_spaces.errors import InputError

SUPERNET, PROFILE = "supernet", "profile.json"


def study(asked: Studied, config: Config) -> list[Path]:
    """Trains a supernet, searches it under each budget, trains what is compared, and writes the tables. The same command resumes.

    Returns:
        The files that were written.

    Raises:
        InputError: something cannot be used, or the folder holds results of other settings.
        NoisyMachine: a budget of latency is to be kept, and something disturbs the machine.
        FloatingPointError: a training diverged; nothing of it is kept.
    """
    check_families(asked.families)
    store = RunStore(config.run)
    own = replace(config, run=str(store.path_to_write(SUPERNET)))
    say("study: supernet")
    run = nas.train(replace(own, search=SearchConfig(budget=own.train.budget)))  # each budget has a search of its own
    compared = [_Compared(asked, own, budget, store, run) for budget in asked.limits]
    for one in compared:
        one.prepare()
    for one in compared:  # first without the test, which is read when nothing is left to train
        one.train("val")
    if asked.part == "test":
        for one in compared:
            one.train("test")
    comparisons = [one.comparison() for one in compared]
    for comparison in comparisons:
        say("\n".join(text(comparison)))
    say(f"\n{LEGEND}")
    files = write(store, comparisons)
    say(f"written to {', '.join(map(str, files))}")
    return files


class _Compared:
    """The comparison under one budget.

    Args:
        config: of the supernet's run.
        store: the folder of the study.
    """

    def __init__(self, asked: Studied, config: Config, budget: Budget, store: RunStore, run: Run) -> None:
        self.asked, self.config, self.budget, self.store, self.run = asked, config, budget, store, run
        self.title = title_of(budget)
        self.clock = Clock.of(config, asked.noisy)
        self.networks: list[Compared] = []
        self.times: dict[str, float] = {}

    @property
    def _limits_latency(self) -> bool:
        return self.budget.names == (LATENCY,)

    @property
    def _images(self) -> tuple[int, int, int]:
        split = self.run.split
        return split.in_channels, len(split.classes), split.resolution

    def prepare(self) -> None:
        """Searches, extracts the winners, scales the families, and measures all networks side by side."""
        say(f"study: {self.title}")
        search = self._search()
        winners = winners_of(search, self.asked.winners, self.asked.differ)
        drawn = drawn_of(search, self.asked.winners)
        if len(winners) < self.asked.winners or len(drawn) < self.asked.winners:
            alike = self.asked.differ > 0 and len(winners) < self.asked.winners
            apart = f" that differ from the better ones in {self.asked.differ:g} of their parts" * alike
            raise InputError(
                f"search {search.name} has {len(winners)} networks within the budget{apart}, and {len(drawn)} of random search",
                f"{self.asked.winners} of each, as winners asks",
                f"a larger search.evaluations, or winners={max(1, min(len(winners), len(drawn)))}"
                + ", or differ=0" * alike,
            )
        place = f"{self.title}/networks"
        check_same(self.store, place, [*winners, *drawn], self.asked.differ)
        for winner in winners:
            nas.extract(replace(self.config, digest=winner.arch.digest, search=search.settings))
        families = hand_designed(
            self.store, place, self.asked.families, self.budget, self._images, self.clock.of_candidate
        )
        self.networks = [*winners, *families, *drawn]
        for one in self.networks:
            if not self.store.exists(f"{place}/{one.file}"):
                self.store.write_text(f"{place}/{one.file}", one.arch.to_json(indent=1) + "\n")
        unique = {one.arch.digest: str(self.store.path(f"{place}/{one.file}")) for one in self.networks}
        self.times = self.clock.of_all(self.store, unique, self._times, self._limits_latency)

    @property
    def _times(self) -> str:
        return f"{self.title}/latency.csv"

    @property
    def _objectives(self) -> tuple[str, ...]:
        """Those of the configuration; where it leaves them as they are, top-1 and what the budget limits."""
        given = self.config.search.objectives
        return ("top1", *self.budget.names) if given == SearchConfig().objectives else given

    def _search(self) -> Search:
        """The search under the budget; under one of latency, with a profile of this device."""
        settings = replace(
            self.config.search,
            budget=str(Budget.parse(self.config.train.budget) | self.budget),  # which no search may exceed
            name=self.title,
            objectives=self._objectives,
            noisy=self.asked.noisy or self.config.search.noisy,
        )
        if self._limits_latency:
            channels, classes, resolution = self._images
            profile = replace(
                self.config.profile, out=str(self.store.path_to_write(PROFILE)), name="here", channels=channels, classes=classes,
                resolution=resolution, noisy=self.asked.noisy or self.config.profile.noisy,
            )  # fmt: skip
            nas.profile(replace(self.config, profile=profile, threads=self.clock.threads))
            settings = replace(settings, profiles=(profile.out,))
        return nas.search(replace(self.config, search=settings))

    def _ablated(self, part: str) -> Asked:
        rows = [RowText(one.name, str(self.store.path(f"{self.title}/networks/{one.file}"))) for one in self.networks]
        config = replace(self.config, run=str(self.store.path_to_write(f"{self.title}/trained")))
        return Asked(tuple(rows), Ablated(part=part), config)

    def train(self, part: str) -> None:
        """Trains every network with every seed, or reads the test part for those that are trained."""
        say(f"study: {self.title}, {'training' if part == 'val' else 'test'}")
        nas.ablate(self._ablated(part))

    def comparison(self) -> Comparison:
        """The results with their conditions."""
        part = self.asked.part
        ablation = begin(self._ablated(part))
        named = {one.name: one for one in self.networks}
        networks = [(named[row.name], row.identity, row.costs) for row in ablation.rows]
        entries = entries_of(networks, ablation.results(), self.times, self.config.retrain.seeds)
        noisy = bool(self.times) and was_noisy(self.store, self._times)
        scores = {one.name: one.top1(part) for one in entries}
        guessing = said_of_guessing(scores, ablation.labels(part), "retrain.warmup_epochs")
        return Comparison(self.title, part, entries, noisy, self._conditions(ablation), guessing)

    def _conditions(self, ablation: Ablation) -> dict[str, str]:
        trained = self.run.config.to_dict()["train"]
        search = {
            key: value
            for key, value in kept(self.config.search).items()
            if key in ("samplers", "evaluations", "objectives", "population", "seed", "options", "calibration_images")
        }
        return {
            "budget": str(self.budget),
            "latency": self.clock.describe(),
            "space": f"{self.run.space.name} {self.run.space.digest}",
            "supernet": ", ".join(f"{key}={typed(value)}" for key, value in trained.items()),
            "search": ", ".join(f"{key}={typed(value)}" for key, value in search.items()),
            "winners": f"{self.asked.winners}, differ={self.asked.differ:g}",
            **conditions(ablation, self.asked.part, self.config.retrain.seeds),
        }

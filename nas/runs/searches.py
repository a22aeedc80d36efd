"""The searches of a run: each has a name, settings, records, networks and retrainings of its own.

    searches/NAME/search.json        settings, costs, conditions, and whether it has finished
    searches/NAME/evaluations.jsonl  one line per evaluated network: the truth of the search
    searches/NAME/measured.jsonl     one line per network and device: its time, predicted and measured
    searches/NAME/retrained.jsonl    one line per retrained network
    searches/NAME/references.jsonl   one line per trained model of timm
    searches/NAME/*.damaged          damaged lines that were set aside, unread
    searches/NAME/networks/DIGEST/   an extracted network: see `nas.networks.folder`

All searches of a run share its supernet. What one has evaluated, another with equal settings of evaluation takes over.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nas.config import Config, RetrainConfig
from nas.config.parsing import values_of
from nas.config.search import SearchConfig, is_search_name
from nas.goals.budget import Budget
from nas.goals.objectives import Objective, parse_objectives
from nas.log import say
from nas.records import Evaluation, RecordError, Reference, Retraining
from nas.records.device_times import DeviceTime, refuted
from nas.records.shapes import ANY_NUMBER, MOST, Entries, Items, Maybe, Named, OneOf, Plain, Table, Text, Whole
from nas.runs.disk import DamagedLine
from nas.runs.identity import CONDITIONS, FILES
from nas.runs.inputs import supernet_digest
from nas.runs.settings import RETRAIN_FREE, kept
from nas.runs.store import OLDER_FOLDER, RunStore
from search_spaces.architecture import Architecture
from search_spaces.costs import is_cost_name
from search_spaces.errors import InputError, unknown

FOLDER = "searches"

TAKEN_FROM = {"plain": ("plain",), "exact": ("plain", "exact"), "fast": ("plain", "exact")}
"""By the evaluation of a search, that of the searches whose results it may take over: plain is what the others are compared with."""

EVALUATED_BY = ("calibration_images", "batch_size")
"""Settings that the result of an evaluation depends on."""

RUNNING, FINISHED, CLOSED = "running", "finished", "closed"

Record = TypeVar("Record", Evaluation, Retraining, Reference, DeviceTime)

EVALUATIONS, MEASURED, RETRAINED, REFERENCES = (
    "evaluations.jsonl",
    "measured.jsonl",
    "retrained.jsonl",
    "references.jsonl",
)

MADE_BY = {EVALUATIONS: "search", MEASURED: "search", RETRAINED: "retrain", REFERENCES: "retrain"}
"""The verb that writes each file of records, and makes a record again that is damaged."""


@dataclass(frozen=True)
class Search:
    """A search of a run, as it stands on the disk when it is read.

    Args:
        settings: those that it was started with; `evaluations` and `networks` as they were last asked for.
        retraining: the recipe that its networks are retrained with, once retraining has started.
        state: running (or interrupted), finished, or closed before it had all evaluations.
        costs: name, unit and meaning of every cost that its records have.
    """

    store: RunStore
    name: str
    number: int
    settings: SearchConfig
    retraining: RetrainConfig | None
    state: str
    costs: tuple[Mapping[str, str], ...]
    conditions: Mapping[str, Any]

    @property
    def folder(self) -> str:
        return f"{FOLDER}/{self.name}"

    @property
    def shown(self) -> tuple[str, ...]:
        """The costs that matter to it: objectives and limits, or else MACs."""
        names = (*(objective.name for objective in self.objectives if objective.is_cost), *self.budget.names)
        return tuple(dict.fromkeys(names)) or ("macs",)

    def over(self, base: Config) -> Config:
        """A run's configuration with the settings and plugins of this search."""
        plugins = tuple(dict.fromkeys((*base.plugins, *self.conditions.get("plugins", ()))))
        asked = {
            key: getattr(base.retrain, key) for key in RETRAIN_FREE
        }  # how much is retrained is asked for each time
        recipe = replace(self.retraining, **asked) if self.retraining else base.retrain
        return replace(base, search=self.settings, retrain=recipe, plugins=plugins)

    @property
    def budget(self) -> Budget:
        return Budget.parse(self.settings.budget)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return parse_objectives(self.settings.objectives)

    @property
    def finished(self) -> bool:
        """Whether it can be extracted from."""
        return self.state in (FINISHED, CLOSED)

    def path(self, name: str) -> str:
        """`name` in the search's folder, as its store takes it."""
        return f"{self.folder}/{name}"

    def evaluations(self) -> list[Evaluation]:
        """By their numbers, which is the order of evaluation; a record that was made again lies at the end of the file.

        Raises:
            InputError: a line is damaged, or of another version.
        """
        return sorted(self._records(EVALUATIONS, Evaluation.from_dict), key=lambda evaluation: evaluation.n)

    def retrainings(self) -> list[Retraining]:
        """
        Raises:
            InputError: a line is damaged, or of another version.
        """
        return self._records(RETRAINED, Retraining.from_dict)

    def references(self) -> list[Reference]:
        """
        Raises:
            InputError: a line is damaged, or of another version.
        """
        return self._records(REFERENCES, Reference.from_dict)

    def measurements(self) -> list[DeviceTime]:
        """Times of networks on devices, oldest first.

        Raises:
            InputError: a line is damaged, or of another version.
        """
        return self._records(MEASURED, DeviceTime.from_dict)

    def refuted(self) -> frozenset[str]:
        """Digests of the networks that were found over the budget when they were measured."""
        return refuted(self.measurements(), self.budget)

    def _records(self, name: str, read: Callable[[Any, dict[str, Architecture]], Record]) -> list[Record]:
        known: dict[str, Architecture] = {}
        found = []
        for number, line in enumerate(self._lines(name), 1):
            try:
                found.append(read(line, known))
            except (RecordError, InputError, TypeError, RecursionError) as error:
                raise InputError(
                    f"line {number} of {self.store.path(self.path(name))} is not a record of this version (at {error})",
                    "lines as nas wrote them",
                    f"a copy of the file, or rm -r {shlex.quote(str(self.store.path(self.folder)))}, which discards this search",
                ) from None
        return found

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        try:
            yield from self.store.each_record(self.path(name))
        except DamagedLine as error:
            verb = f"nas {MADE_BY[name]} run={self.store.folder} search={self.name}"
            instead = f"{verb}, which sets it aside and makes its record again; or a copy of the file"
            raise InputError(error.given, error.allowed, instead) from None

    def set_damage_aside(self, verb: str) -> None:
        """Moves damaged lines of the files that a verb writes out of its way, and says so. What they said is then unknown, and made again.

        Raises:
            InputError: the disk is full, or a file cannot be read or written. Nothing is lost.
        """
        for name in (name for name, writer in MADE_BY.items() if writer == verb):
            path = self.path(name)
            if numbers := self.store.set_aside(path):
                several = len(numbers) > 1
                say(
                    f"line{'s' * several} {', '.join(map(str, numbers))} of {self.store.path(path)} {'are' if several else 'is'} damaged: set "
                    f"aside in {self.store.path(path).name}.damaged. Every sound record is kept, and what is missing is made again"
                )

    def write(self, **changes: Any) -> "Search":
        """Itself with other fields, written to search.json where they differ from what is there."""
        search = replace(self, **changes)
        about = {
            "number": search.number,
            "state": search.state,
            "search": kept(search.settings),
            "retrain": None if search.retraining is None else kept(search.retraining),
            "costs": list(map(dict, search.costs)),
            **search.conditions,
        }
        path = search.path("search.json")
        if not search.store.exists(path) or search.store.read_json(path) != about:
            search.store.write_json(path, about)
        return search

    def check_finished(self, run: str) -> None:
        """
        Raises:
            InputError: it has not finished.
        """
        if not self.finished:
            raise InputError(
                f"search {self.name} of {run} has not finished",
                "a search that has finished, or was closed as it stood",
                f"nas search run={shlex.quote(str(run))} search={self.name}, which resumes it, or the same with close=true",
            )


def search_names(store: RunStore) -> list[str]:
    """The names of a run's searches, oldest first."""
    folder = store.path(FOLDER)
    names = [path.parent.name for path in folder.glob("*/search.json")] if folder.is_dir() else []
    names = [name for name in names if is_search_name(name)]  # nas makes no folder of another name
    return sorted(names, key=lambda name: (number_of(store, name), name))


def number_of(store: RunStore, name: str) -> int:
    try:
        about = store.read_json(f"{FOLDER}/{name}/search.json")
    except InputError:  # which is said to whoever asks for this search
        return 0
    number = about.get("number") if isinstance(about, dict) else 0
    return number if type(number) is int and 0 <= number <= MOST else 0


def read_search(store: RunStore, name: str) -> Search:
    """
    Raises:
        InputError: the run has no search of this name, or its search.json is damaged.
    """
    path = f"{FOLDER}/{name}/search.json"
    if not is_search_name(name) or not store.exists(path):
        names = search_names(store)
        if not names:
            raise no_search(store)
        raise unknown(f"search of {store.folder}:", name, names, "search={}")
    discard = f"a copy of it, or rm -r {shlex.quote(str(store.path(path).parent))}, which discards this search"
    try:
        about = store.read_json(path)
    except InputError as error:
        raise InputError(error.given, error.allowed, discard) from None
    try:
        if wrong := _SHAPE.fault(about, ""):
            raise KeyError(wrong)
        return Search(
            store=store,
            name=name,
            number=about["number"],
            settings=SearchConfig(**values_of(SearchConfig, about["search"], "search."), name=name),
            retraining=None if about["retrain"] is None else RetrainConfig(**values_of(RetrainConfig, about["retrain"], "retrain.")),
            state=about["state"],
            costs=tuple(about["costs"]),
            conditions={key: about[key] for key in about if key not in ("number", "state", "search", "retrain", "costs")},
        )  # fmt: skip
    except (KeyError, TypeError, InputError) as error:
        raise InputError(
            f"{store.path(path)} is damaged (at {error})",
            "the file as nas wrote it",
            discard,
        ) from None


_SHAPE = Table({
    "number": Whole(), "state": OneOf((RUNNING, FINISHED, CLOSED)), "search": Entries(Plain()), "retrain": Maybe(Entries(Plain())),
    "costs": Items(Table({"name": Named(is_cost_name), "unit": Text(200), "about": Text()})), **CONDITIONS,
}, {
    "files": FILES, "plugins": Items(Text(200)), "supernet": Text(12, re.compile("([0-9a-f]{12})?")),
    "starts": Items(Table({"source": Text(), "architecture": Entries(Plain())})),
    "devices": Entries(Table({}, {
        "device": Text(200), "held_out": Entries(Maybe(ANY_NUMBER)), "fingerprint": Entries(Plain()),
    }), Named(is_cost_name)),
})  # fmt: skip


def no_search(store: RunStore) -> InputError:
    """The error of a verb that needs a search, in a run without one."""
    if store.exists("evaluations.jsonl") or store.exists(f"{OLDER_FOLDER}/evaluations.jsonl"):
        return InputError(
            f"{store.folder} was searched by an older version of nas, whose records are laid out otherwise",
            "searches of this version, in searches/",
            f"nas search run={shlex.quote(str(store.folder))}, which takes the trained supernet and moves the old search into {OLDER_FOLDER}/",
        )
    return InputError(
        f"{store.folder} has no search", "a searched run", f"nas search run={shlex.quote(str(store.folder))}"
    )


def chosen_searches(store: RunStore, settings: SearchConfig, every: bool = False) -> list[Search]:
    """The search that the settings name, or whose settings they are; with settings that nobody has changed, all searches of the run.

    Args:
        every: all of them, whatever the settings.

    Raises:
        InputError: the run has no search, or none of the given name.
    """
    names = search_names(store)
    if not names or (not every and (settings.name or settings != SearchConfig())):
        return [read_search(store, settings.title)]
    return [read_search(store, name) for name in names]


def evaluated_before(store: RunStore, settings: SearchConfig, any_supernet: bool = False) -> dict[str, Evaluation]:
    """By digest, what the searches of a run have evaluated with equal settings of evaluation; nothing of those that race candidates, or of
    which it is not known that they had the supernet that is there now.

    A search with evaluation=plain takes over nothing that was evaluated with shared maps, so that a comparison of the two is one.

    Args:
        any_supernet: also of others; for those who want the architectures alone.
    """
    found: dict[str, Evaluation] = {}
    now = supernet_digest(store)
    for search, evaluations in sound_searches(store):
        if (
            (any_supernet or search.conditions.get("supernet") == now)
            and search.settings.evaluation in TAKEN_FROM[settings.evaluation]
            and all(getattr(search.settings, key) == getattr(settings, key) for key in EVALUATED_BY)
        ):
            for evaluation in evaluations:
                found.setdefault(evaluation.digest, evaluation)
    return found


def sound_searches(store: RunStore) -> list[tuple[Search, list[Evaluation]]]:
    """The searches of a run whose evaluations can be read, with them. Damage in one is said, and does not keep others from working."""
    found = []
    for name in search_names(store):
        try:
            search = read_search(store, name)
            found.append((search, search.evaluations()))
        except InputError as error:
            say(f"search {name} is left out: {error.given}")
    return found

"""Known starts of a search: networks that its samplers propose first, and the part of the architecture that is held fixed.

Starts are resolved once, when the search begins, and kept in search.json: a search that is resumed has those it began with, whatever has
become of the files and of the searches that they were taken from.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.config.search import FRONT, PAPERS, SearchConfig
from nas.goals.budget import worded
from nas.goals.roles import RANDOM, front_of
from nas.log import say
from nas.records import eligible
from nas.runs.run import Run
from nas.runs.searches import EVALUATIONS, Search, read_search, search_names
from nas.runs.store import RunStore
from nas.runs.weights import ARCH, read_architecture
from search_spaces.architecture import Architecture
from search_spaces.canonical import for_resolution
from search_spaces.costs import costs_of
from search_spaces.errors import InputError, unknown
from search_spaces.fixing import fixed
from search_spaces.registry import complete
from search_spaces.space import SearchSpace
from search_spaces.textfiles import expanded

KEY = "search.starts"


@dataclass(frozen=True)
class Start:
    """A network that is proposed first.

    Args:
        source: the file, the paper's network or the search that it comes from.
    """

    source: str
    arch: Architecture

    def to_dict(self) -> dict[str, Any]:
        return {"source": self.source, "digest": self.arch.digest, "architecture": self.arch.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Start":
        """The inverse of `to_dict`."""
        return cls(data["source"], Architecture.from_dict(data["architecture"]))


def space_of(run: Run) -> SearchSpace:
    """The space that the run's search is in: that of the supernet, or the part of it that has what `search.fix` holds fixed.

    Raises:
        InputError: the space has no such choice or value.
    """
    return fixed(run.space, run.config.search.fix, "search.fix")


def starts_of(run: Run, space: SearchSpace, excess: Callable[[Architecture], float]) -> list[Start]:
    """The starts of the run's search, each network once: those that it began with, or, before it has results, those that its settings name.

    Args:
        space: of the search.
        excess: not above 0 for a network within its budget.

    Raises:
        InputError: a file is none or does not fit the space or the budget, there is no such search, or only random search is to start.
    """
    settings, store = run.config.search, run.store
    if not settings.starts:
        return []
    if settings.title in search_names(store):
        search = read_search(store, settings.title)
        if store.exists(search.path(EVALUATIONS)):
            return [Start.from_dict(start) for start in search.conditions.get("starts", ())]
    if set(settings.samplers) == {RANDOM}:
        raise InputError(
            f"{KEY} is {', '.join(settings.starts)}, and random search stays uniform",
            "a sampler beside random search, which proposes the starts first",
            "search.samplers=nsga2,random",
        )
    found: dict[str, Start] = {}
    for name in settings.starts:
        if name == PAPERS:
            new = _fitting(_papers(space), space, excess, "papers' networks")
        elif name.startswith(FRONT):
            new = _fitting(_front(store, settings, name.removeprefix(FRONT)), space, excess, f"networks of {name}")
        else:
            new = [_file(name, space, excess)]
        for start in new:
            found.setdefault(start.arch.digest, start)
    return list(found.values())


def keep_starts(search: Search, starts: Sequence[Start]) -> Search:
    """Writes the starts of a search that has just begun into its search.json, and says which they are."""
    wanted = [start.to_dict() for start in starts]
    if search.conditions.get("starts", []) == wanted:
        return search
    if starts:
        say(
            f"search {search.name} starts with {len(starts)} known networks: {', '.join(dict.fromkeys(s.source for s in starts))}"
        )
    evaluations = search.settings.evaluations
    if len(starts) > evaluations:
        say(
            f"search.evaluations={evaluations} is less than {len(starts)} starts: the last {len(starts) - evaluations} are left out"
        )
    return search.write(conditions={**search.conditions, "starts": wanted})


def _papers(space: SearchSpace) -> list[Start]:
    """The papers' networks for the images and classes of a space."""
    from search_spaces.papers import paper_networks  # a second of tables that most searches do not need

    def fitted(arch: Architecture) -> Architecture:
        made = for_resolution(complete(arch), space.resolution)
        return replace(made, in_channels=space.in_channels, num_classes=space.num_classes)

    return [Start(network.name, fitted(network.arch)) for network in paper_networks()]


def _front(store: RunStore, settings: SearchConfig, name: str) -> list[Start]:
    """The Pareto front of another search of the run."""
    if name == settings.title:
        others = [other for other in search_names(store) if other != name]
        raise InputError(
            f"{KEY} has {FRONT}{name}, which is this search itself",
            ", ".join(f"{FRONT}{other}" for other in others) or "another search of the run",
            f"{KEY}={FRONT}{others[-1]}" if others else "search.name=another",
        )
    names = search_names(store)
    if names and name not in names:
        raise unknown(f"search of {store.folder} in {KEY}:", name, names, f"{KEY}={FRONT}{{}}")
    search = read_search(store, name)
    winners = eligible(search.evaluations(), search.budget, search.objectives, search.refuted())
    return [Start(f"{FRONT}{name}", record.architecture) for record in front_of(winners, search.objectives)]


def _fitting(
    starts: Iterable[Start], space: SearchSpace, excess: Callable[[Architecture], float], what: str
) -> list[Start]:
    """Those that are members of the space and within the budget; what is left out is said."""
    starts = list(starts)
    members = [Start(s.source, space.decode(space.encode(s.arch))) for s in starts if space.contains(s.arch)]
    found = [start for start in members if excess(start.arch) <= 0]
    others, over = len(starts) - len(members), len(members) - len(found)
    reasons = [f"{others} are not of space {space.name}"] * (others > 0) + [f"{over} are outside the budget"] * (
        over > 0
    )
    if reasons:
        say(f"{KEY}: {len(found)} of {len(starts)} {what} are taken; {' and '.join(reasons)}")
    return found


def _file(name: str, space: SearchSpace, excess: Callable[[Architecture], float]) -> Start:
    path = expanded(name)
    if not path.is_file():
        raise InputError(
            f"{KEY}: {path} is no file",
            f"arch.json files, {PAPERS}, or {FRONT}SEARCH with a search of this run",
            f"{KEY}=FOLDER/{ARCH}",
        )
    arch = complete(read_architecture(path))
    try:
        arch = space.decode(space.encode(arch))
    except InputError as error:
        raise InputError(f"{KEY}: {path}: {error.given}", error.allowed, error.instead) from None
    if excess(arch) > 0:
        costs = ", ".join(worded(cost, value) for cost, value in costs_of(arch).items())
        raise InputError(
            f"{KEY}: the network of {path} is outside the budget of the search ({costs})",
            "networks within search.budget",
            f"search.networks={name}, which evaluates it beside the search, or a looser search.budget",
        )
    return Start(name, arch)

"""The networks that are compared under one budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from nas.ablation.study.asked import LATENCY
from nas.goals.budget import Budget
from nas.goals.objectives import Objective
from nas.goals.roles import RANDOM
from nas.log import say
from nas.measuring.noise import NoisyMachine
from nas.records import SAMPLER, Evaluation, eligible
from nas.runs.searches import Search
from nas.runs.store import RunStore
from nas.runs.weights import read_architecture
from search_spaces.architecture import Architecture
from search_spaces.costs import costs_of
from search_spaces.errors import InputError, unknown
from search_spaces.scaling import FAMILIES, FIXED_RATIO, scaled
from search_spaces.units import units

WINNER, FAMILY, DRAWN, FIXED = "winner", "family", "random", "fixed ratio"

KINDS = {
    WINNER: "the best of the search by search-validation top-1 with inherited weights, or the best that differs from every better winner in the share `differ` of its parts",
    FAMILY: "a paper's family, scaled to the budget by its own rule",
    DRAWN: "drawn uniformly from the networks of the space within the budget: the first that random search evaluated",
    FIXED: "TransXNet's block with the fixed ratio 0.5 in every block, scaled to the budget",
}

TITLES = {
    "emsnet": "EMSNet",
    "mat": "MAT",
    "partialformer": "PartialFormer",
    "hat_net": "HAT-Net",
    "linglo": "LinGlo",
    "transxnet": "TransXNet",
}


@dataclass(frozen=True)
class Compared:
    """A network of the comparison.

    Args:
        name: in the table.
        kind: a key of `KINDS`.
        inherited: top-1 on search-validation with the supernet's weights, in [0, 1]; None for a network that is not of the space.
    """

    name: str
    kind: str
    arch: Architecture
    inherited: float | None = None

    @property
    def file(self) -> str:
        """Of its architecture, beside those of the others."""
        return file_of(self.name)


def file_of(name: str) -> str:
    """The file of a network in the folder of networks: winner-1.json."""
    return f"{name.lower().replace(' ', '-').replace('.', '_')}.json"


def winners_of(search: Search, count: int, differ: float = 0.0) -> list[Compared]:
    """The best networks of a search, best first; of equal top-1 those of less loss, then the earliest.

    Args:
        differ: the least `difference` of a winner from every better one. The best networks of a search are often siblings, and to train
            siblings is to train one network with more seeds. There may be fewer than `count`.
    """
    found = eligible(search.evaluations(), search.budget, _accuracy(search), search.refuted())
    found.sort(key=lambda one: (-one.top1, one.loss, one.n))
    kept: list[Evaluation] = []
    for one in found:
        if len(kept) < count and all(difference(one.architecture, other.architecture) >= differ for other in kept):
            kept.append(one)
    return [Compared(f"winner {number}", WINNER, one.architecture, one.top1) for number, one in enumerate(kept, 1)]


def check_same(store: RunStore, place: str, chosen: Sequence[Compared], differ: float) -> None:
    """Checks that what was chosen of a search is what the folder was begun with.

    Args:
        place: of the networks' files in the store.
        differ: that of `winners_of`.

    Raises:
        InputError: one of them is another network.
    """
    for one in chosen:
        path = f"{place}/{one.file}"
        before = read_architecture(store.path(path)).digest if store.exists(path) else one.arch.digest
        if before != one.arch.digest:
            raise InputError(
                f"{one.name} of {store.path(path)} is network {before}, and with differ={differ:g} it would be {one.arch.digest}",
                "the settings that the folder was begun with; studies of earlier versions have differ=0",
                "differ=0, or run=runs/new" if differ and one.kind == WINNER else "run=runs/new",
            )


def difference(one: Architecture, other: Architecture) -> float:
    """The share of places that differ, in [0, 1]. A place is an embedding, a position encoding, a branch of a block or the head of either
    network; it differs if only one of them has it, or if the unit there has another part, another option or another width.
    """
    ours, theirs = dict(units(one)), dict(units(other))
    places = ours.keys() | theirs.keys()
    return sum(ours.get(place) != theirs.get(place) for place in places) / len(places)


def drawn_of(search: Search, count: int) -> list[Compared]:
    """The first different networks within the budget that random search drew. What they scored plays no part."""
    own = [record for record in search.evaluations() if record.origin.kind == SAMPLER and record.origin.name == RANDOM]
    own.sort(key=lambda record: record.trial)
    found: dict[str, Evaluation] = {}
    refuted = search.refuted()
    for record in own:
        if search.budget.allows(record.costs) and record.digest not in refuted:
            found.setdefault(record.digest, record)
    return [
        Compared(f"random {number}", DRAWN, one.architecture, one.top1)
        for number, one in enumerate(list(found.values())[:count], 1)
    ]


def _accuracy(search: Search) -> list[Objective]:
    return [objective for objective in search.objectives if not objective.is_cost]


def hand_designed(
    store: RunStore,
    place: str,
    families: tuple[str, ...],
    budget: Budget,
    images: tuple[int, int, int],
    timed: Callable[[Architecture], float],
) -> list[Compared]:
    """The scaled families and the network of the fixed ratio, each written as soon as it is found. Those that are in the folder already are
    kept: times differ from day to day.

    Args:
        place: of their files in the store.
        families: as `check_families` takes them.
        images: channels, classes and resolution.
        timed: measures the latency of a network in milliseconds, for a budget of latency.

    Raises:
        InputError: a family has no network within the budget.
    """
    [name] = budget.names
    limit = budget.limit(name)
    assert limit is not None  # `Studied` has checked it

    def counted(arch: Architecture) -> float:
        return costs_of(arch, [name])[name]

    cost = cache(timed if name == LATENCY else counted)  # a time that was measured again would be another one
    found = []
    for family in [*(families or FAMILIES), FIXED_RATIO]:
        kind, title = (FIXED, "fixed ratio 0.5") if family == FIXED_RATIO else (FAMILY, TITLES[family])
        path = f"{place}/{file_of(title)}"
        if store.exists(path):
            found.append(Compared(title, kind, read_architecture(store.path(path))))
            continue
        try:
            arch = scaled(family, limit, *images, cost)
        except InputError as error:
            instead = error.instead if isinstance(error, NoisyMachine) else _other(error.instead, family, families)
            raise InputError(f"{title}: {error.given}", error.allowed, instead) from None
        say(f"{title} scaled to {budget}: {name} {cost(arch):,.4g}")
        store.write_text(path, arch.to_json(indent=1) + "\n")
        found.append(Compared(title, kind, arch))
    return found


def check_families(families: tuple[str, ...]) -> None:
    """Checks names, before anything is trained.

    Raises:
        InputError: there is no such family.
    """
    for family in families:
        if family not in FAMILIES:
            raise unknown("family", family, FAMILIES, "families={}")


def _other(instead: str, family: str, families: tuple[str, ...]) -> str:
    """What to do where a family has no network within the budget: what the error says, or the same without this family."""
    rest = [other for other in families or FAMILIES if other != family]
    return f"{instead}, or families={','.join(rest)} without it" if family in FAMILIES and rest else instead

"""A search that is begun or resumed, and its retraining: what is asked for now agrees with what there are results of."""

from collections.abc import Mapping
from dataclasses import replace

from nas import machine
from nas.config import Config, RetrainConfig
from nas.runs.inputs import check_supernet, check_unchanged, digests_of, supernet_digest
from nas.runs.searches import EVALUATIONS, FOLDER, RUNNING, Search, number_of, read_search, search_names
from nas.runs.settings import FREE, RETRAIN_FREE, Differing, different, told
from nas.runs.store import RunStore
from search_spaces.errors import InputError


def start_search(store: RunStore, config: Config, costs: tuple[Mapping[str, str], ...]) -> Search:
    """The search that a configuration names, made if the run does not have it.

    Raises:
        InputError: it has results with other settings, or with another supernet.
    """
    settings = config.search
    name = settings.title
    files = {} if settings.close else digests_of(settings)  # a search that is closed reads none
    supernet = supernet_digest(store)
    if not store.exists(f"{FOLDER}/{name}/search.json"):
        store.renew()
        number = max((number_of(store, other) + 1 for other in search_names(store)), default=0)
        conditions = {
            "plugins": list(config.plugins),
            "versions": machine.versions(), "machine": machine.describe(config.threads), "commit": machine.commit(), "command": machine.command(),
            "files": files, "supernet": supernet,
        }  # fmt: skip
        search = Search(store, name, number, replace(settings, name=name), None, RUNNING, costs, conditions)
        return search.write()
    search = read_search(store, name)
    differing = different(search.settings, settings, FREE)
    if differing and store.exists(search.path(EVALUATIONS)):
        raise otherwise(search, differing)
    if store.exists(search.path(EVALUATIONS)):
        who = f"search {name} of {store.folder}"
        check_unchanged(search.conditions.get("files"), files, who, _ended_or_another(name))
        check_supernet(search.conditions.get("supernet"), supernet, store, who)
    elif not settings.close:
        search = replace(search, conditions={**search.conditions, "files": files, "supernet": supernet})
    if differing:  # nothing has come out yet that depends on them
        search = replace(search, settings=replace(settings, name=name), costs=costs)
    known = {cost["name"] for cost in search.costs}
    more = tuple(cost for cost in costs if cost["name"] not in known)
    return search.write(
        settings=replace(search.settings, evaluations=settings.evaluations, networks=settings.networks),
        costs=(*search.costs, *more),
    )


def _ended_or_another(name: str) -> str:
    return f"the same command with close=true, which ends search {name} with what it has, or with search.name=another"


def otherwise(search: Search, differing: Differing) -> InputError:
    """The error of settings that are not those that a search has results with."""
    words, instead = told(differing, "search.")
    return InputError(
        f"search {search.name} of {search.store.folder} has {words}",
        "the same settings, to resume it, or another search of the same supernet",
        f"{instead}, or search.name=another",
    )


def settle_retraining(search: Search, recipe: RetrainConfig, started: bool) -> Search:
    """Records the recipe of a search's retraining, or checks it against the one that it started with.

    Args:
        started: whether any network is trained, or being trained.

    Raises:
        InputError: another recipe than retraining started with.
    """
    if started and search.retraining and (differing := different(search.retraining, recipe, RETRAIN_FREE)):
        words, instead = told(differing, "retrain.")
        raise InputError(
            f"search {search.name} of {search.store.folder} has networks retrained with {words}",
            "the same recipe, to resume it, or another search",
            instead,
        )
    return search.write(retraining=recipe)

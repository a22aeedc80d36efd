"""Which configuration a command has: what was typed, over the settings of the search that it is about, over those of the run.

Standard library only.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from nas.config import SECTIONS, Config
from nas.config.parsing import load_config, recorded_config
from nas.config.recipes import check_fits
from nas.goals.picking import Picks
from nas.goals.selection import asked
from nas.log import say
from nas.plugins.remembered import check_given
from nas.runs.beginning import otherwise
from nas.runs.searches import read_search, search_names
from nas.runs.settings import FREE, absolute, different
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.named import space_file


def configure(verb: str, arguments: list[str]) -> list[Config]:
    """The configuration of a command: the run's own where there is one, then its search's, then the file, then the overrides.

    A recipe that was typed, or that training starts with, is checked against the images of the run.

    Returns:
        One configuration; for `extract` and `retrain` without a search, one for each search of the run.

    Raises:
        InputError: see `nas.config.parsing.load_config`; also when a verb that needs a run is given a folder without one, or a recipe does
            not fit.
    """
    found = _configure(verb, arguments)
    for config in found if verb in ("train", "retrain", "demo") else ():
        check_fits(config.retrain.recipe, config.data.resolution)
    return found


def _configure(verb: str, arguments: list[str]) -> list[Config]:
    """As `configure`, without the check of recipes."""
    file = None
    if arguments and "=" not in arguments[0]:
        file, *arguments = arguments
        if not file.endswith(".toml"):
            raise InputError(f"argument {file!r}", "a config file ending in .toml, then key=value", f"run={file}")
    own = any(argument.startswith(("data", "space")) for argument in arguments)
    if verb == "demo" and file is None and not own:
        file = str(Path(__file__).parent.with_name("demo.toml"))
    section = verb if verb in SECTIONS else None
    asked = load_config(file, arguments, section=section)
    if verb == "train" and RunStore(asked.run).exists("run.json"):  # whose settings need not be typed again
        base = run_config(RunStore.open(asked.run), asked.run)
        asked = load_config(file, arguments, section=section, base=base)
    if verb in ("train", "demo"):
        space_file(asked.space)
        found = [asked]
    else:
        store = RunStore.open(asked.run)
        found = layered(store, verb, asked.run, lambda base: load_config(file, arguments, section=section, base=base))
    for config in found:
        check_given(config, verb, [file, *arguments] if file else arguments)
    return found


def run_config(store: RunStore, run: str) -> Config:
    """The configuration of a run, with the defaults of keys that are newer.

    Args:
        run: its folder as it was typed.
    """
    return recorded_config(store.identity(), run)


def layered(store: RunStore, verb: str, run: str, load: Callable[[Config], Config]) -> list[Config]:
    """The configurations of a command on a run: what was typed, over the settings of the search that it is about, over the run's.

    Args:
        run: its folder as it was typed.
        load: adds what was typed to a configuration.

    Raises:
        InputError: no such search, or settings that are not the search's.
    """
    base = run_config(store, run)
    config, names = load(base), search_names(store)
    title = absolute(config.search).title  # as the search was named, wherever this command is typed
    if verb == "search":
        if config.search.name not in names:
            return [config]
        search = read_search(store, config.search.name)
        return [load(search.over(base))]
    if config.search.name or different(absolute(base.search), absolute(config.search), FREE):
        wanted = [title]
    else:
        wanted = [] if verb == "report" else _finished(store, names)
    found = []
    for name in wanted:
        search = read_search(store, name)
        settled = load(search.over(base))
        settled = replace(settled, search=absolute(settled.search))
        if differing := different(search.settings, settled.search, FREE):
            raise otherwise(search, differing)
        # A report of one search is asked for by its name alone: without it the page shows all searches of the run.
        named = name if verb != "report" else config.search.name
        found.append(replace(settled, search=replace(settled.search, name=named)))
    if len(found) > 1 and (config.digest or config.extract.pick):
        found = _that_know(store, found)
    return found or [config]


def _that_know(store: RunStore, configs: list[Config]) -> list[Config]:
    """Those whose searches evaluated a network that is asked for by its digest; each picks only digests that its search knows."""
    picks = Picks.parse(configs[0].extract.pick)
    own = {
        search.name: of
        for search, of in asked([read_search(store, c.search.name) for c in configs], configs[0].digest, picks)
    }
    return [
        replace(
            config, extract=replace(config.extract, pick=_without(config.extract.pick, picks, own[config.search.name]))
        )
        for config in configs
        if config.search.name in own
    ]


def _without(items: Sequence[str], picks: Picks, own: Picks) -> tuple[str, ...]:
    """Items of `extract.pick` but for the digests that are not among the own ones."""
    return tuple(item for item in items if item not in picks.digests or item in own.digests)


def _finished(store: RunStore, names: list[str]) -> list[str]:
    """Those of several searches that have finished; what is left out is said. One search, or none that has finished, as they are."""
    found = [name for name in names if read_search(store, name).finished]
    if len(names) < 2 or not found:
        return names
    for name in names:
        if name not in found:
            say(f"search {name} has not finished, and is left out")
    return found

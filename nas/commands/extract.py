"""`nas extract`: writes networks of the Pareto front as stand-alone files and checks that they equal the evaluated ones."""

import shlex
from pathlib import Path

from nas.config import Config
from nas.goals.selection import selected
from nas.log import say
from nas.machine.memory import explained
from nas.networks.cards import card_of
from nas.networks.extraction import Extraction
from nas.runs.disk import offering
from nas.runs.run import open_run
from nas.runs.searches import chosen_searches
from nas.runs.store import RunStore
from search_spaces.errors import InputError


@explained
def extract(config: Config) -> dict[str, Path]:
    """Writes the selected networks of a search, or of all searches of the run, each compared with the supernet on a batch and with
    its recorded accuracy.

    Returns:
        Their folders by digest; of a network that several searches selected, the folder of the last.

    Raises:
        InputError: no finished search, files are missing or damaged, or the outputs of a network differ from those that were evaluated.
    """
    if config.extract.merge and not config.extract.out:
        raise InputError(
            "merge=true without out", "a folder for networks that are not retrained", "out=models merge=true"
        )
    out = config.extract.out
    store = RunStore(out or config.run)
    # Networks that go elsewhere, and checks, only read the run: it may be in use, or in a folder that cannot be written.
    within = store.folder.resolve().is_relative_to(RunStore(config.run).folder.resolve())
    chosen_one = f" digest={config.digest}" if config.digest else ""
    elsewhere = "out=PATH of such a folder" if out else f"nas extract run={shlex.quote(config.run)}{chosen_one} out=DIR"
    with offering(elsewhere):
        run = open_run(config, writes=within and not config.extract.verify)
    searches = chosen_searches(run.store, config.search)
    chosen = {search.name: selected(search, config.retrain.points, config.digest, config.run) for search in searches}
    folders: dict[str, Path] = {}
    extraction = None
    for search in searches:
        if extraction is None or not extraction.serves(search):
            extraction = Extraction.of(run, search)
        for digest, entry in chosen[search.name].items():
            folder = digest if out else search.path(f"networks/{digest}")
            if not config.extract.verify:
                with offering(elsewhere):
                    card = card_of(search, entry)
                    extraction.write(store, folder, entry.arch, card, merge=config.extract.merge)
            again = f"nas extract run={config.run} search={search.name} digest={digest}"
            again += f" out={out}" * bool(out) + " merge=true" * config.extract.merge
            say(extraction.check(store.path(folder), entry.record, again, search.shown, merged=config.extract.merge))
            folders[digest] = store.path(folder)
    return folders

"""`nas extract`: writes networks of the Pareto front as stand-alone files and checks that they equal the evaluated ones."""

import json
import shlex
from pathlib import Path

from nas.config import Config
from nas.goals.picking import Picks
from nas.goals.selection import asked, selected
from nas.log import say
from nas.machine.memory import explained
from nas.networks.extraction import Extraction
from nas.runs.disk import offering
from nas.runs.run import open_run
from nas.runs.searches import chosen_searches
from nas.runs.store import RunStore
from search_spaces.errors import InputError
from search_spaces.textfiles import resolved


@explained
def extract(config: Config) -> dict[str, Path]:
    """Writes the selected networks of a search, or of all searches of the run, each compared with the supernet and, as `Folders.check` says, with
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
    within = resolved(store.folder).is_relative_to(resolved(RunStore(config.run).folder))
    if config.digest and config.extract.pick:
        raise InputError("digest and pick", "one of them", f"pick={','.join((config.digest, *config.extract.pick))}")
    chosen_one = f" digest={config.digest}" if config.digest else ""
    chosen_one += "".join(f" {shlex.quote(f'pick={item}')}" for item in [",".join(config.extract.pick)] if item)
    elsewhere = "out=PATH of such a folder" if out else f"nas extract run={shlex.quote(config.run)}{chosen_one} out=DIR"
    with offering(elsewhere):
        run = open_run(config, writes=within and not config.extract.verify)
    every, picks = chosen_searches(run.store, config.search), Picks.parse(config.extract.pick)
    chosen = [
        (search, selected(search, config.retrain.points, config.digest, config.run, own))
        for search, own in asked(every, config.digest, picks)
    ]
    folders: dict[str, Path] = {}
    extraction = None
    for search, entries in chosen:
        if extraction is None or not extraction.serves(search):
            extraction = Extraction.of(run, search)
        made = extraction.of_search(search, store, merge=config.extract.merge, license=config.extract.license)
        for digest, entry in entries.items():
            folder = digest if out else search.path(f"networks/{digest}")
            again = f"nas extract run={config.run} search={search.name} digest={digest}"
            again += f" out={out}" * bool(out) + " merge=true" * config.extract.merge
            with offering(elsewhere):
                if not config.extract.verify:
                    made.write(folder, entry)
                say(made.check(folder, entry, again, search.shown, write=not config.extract.verify))
            folders[digest] = store.path(folder)
    if not config.extract.verify:
        first = json.dumps(f"local-dir:{next(iter(folders.values()), store.folder)}")
        say(f"load one: import search_spaces, timm; timm.create_model({first}, pretrained=True)")
    return folders

"""Modules of the user: those that a run remembers and the user has to give again, and the user's own file of them. Standard library only."""

import shlex
from collections.abc import Sequence

from nas.config import Config
from nas.config.parsing import read_table
from nas.dotted import is_dotted
from nas.plugins.given import OWN_FILE, PLUGINS, check_modules, is_given, own_folder
from search_spaces.errors import InputError


def own_plugins() -> tuple[str, ...]:
    """The modules that the user's own file allows; none where there is no such file.

    Raises:
        InputError: the file cannot be read, or has anything but the names of modules.
    """
    folder = own_folder()
    path = folder / OWN_FILE if folder else None
    if path is None or not path.exists():
        return ()
    table = read_table(path)
    names = table.pop(PLUGINS, [])
    if table or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path} has more than the names of modules", "one list of texts", 'plugins = ["my_package"]')
    check_modules(names)
    return tuple(names)


def check_given(config: Config, verb: str, arguments: Sequence[str]) -> None:
    """Whether the user gave the modules that a verb imports for a run, before any of them is imported.

    Args:
        config: with what the run remembers.
        arguments: of the verb, as they were typed.

    Raises:
        InputError: some are missing; all of them are named, and what to type.
    """
    if verb == "report":  # it only reads records, and imports sections that were typed
        return
    classes = {
        "train": (config.data.name, config.train.strategy),
        "search": (config.data.name, *config.search.samplers),
    }
    named = [name.rpartition(".")[0] for name in classes.get(verb, (config.data.name,)) if is_dotted(name)]
    missing = [name for name in dict.fromkeys((*config.plugins, *named)) if not is_given(name)]
    if not missing:
        return
    typed = [item for word in arguments if word.startswith(f"{PLUGINS}=") for item in word.partition("=")[2].split(",")]
    others = [word for word in arguments if not word.startswith(f"{PLUGINS}=")]
    words = [*others, f"{PLUGINS}={','.join(dict.fromkeys([*typed, *missing]))}"]
    raise InputError(
        f"{config.run} needs the module{'s' * (len(missing) > 1)} {', '.join(missing)}, which you did not give: a run only says what it "
        "needs, because importing a module runs it",
        f"modules that you trust, typed, or listed in {OWN_FILE} in your folder of configurations",
        f"nas {verb} {shlex.join(words)}",
    )

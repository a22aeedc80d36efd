"""Which modules may be imported because of a name: those that the user gave, and none that only data name.

A run, a profile or a space may come from somebody else, and importing a module runs it. What the user gives: words of the command line, the
configuration file that stands there, and `OWN_FILE` of the user. A file there is chosen, and not a variable of the environment or entry
points of installed packages: a folder cannot bring it along, and no package adds itself to it.

A program that calls the functions of `nas` names its own modules, so that nothing is refused outside of `only_given`. Standard library only.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from search_spaces.errors import InputError

OWN_FILE = "hybrid-mixer-nas/plugins.toml"
"""In $XDG_CONFIG_HOME, or else in ~/.config: `plugins = ["my_package"]`."""

CLASSES = frozenset(
    {"data", "data.name", "train.strategy", "executor", "search.samplers", "report.sections", "profile.runtime", "runtime", "format"}
)  # fmt: skip
"""Keys whose values may be dotted paths of classes."""

PLUGINS = "plugins"

MOST_PLUGINS = 100

MOST_CHARACTERS = 200
"""Of the name of a module."""

_given: set[str] | None = None
_read_own: Callable[[], Iterable[str]] = tuple


@contextmanager
def only_given(own: Callable[[], Iterable[str]]) -> Iterator[None]:
    """Inside it, only modules that the user gives are imported because of a name.

    Args:
        own: reads the names of the user's own file; called when a module is needed that was not typed.
    """
    global _given, _read_own
    before = _given, _read_own
    _given, _read_own = set(), own
    try:
        yield
    finally:
        _given, _read_own = before


def give(key: str, value: Any) -> None:
    """The user has typed this value of a key; the modules that it names may be imported. A value of a wrong type names none."""
    if _given is None or (key != PLUGINS and key not in CLASSES):
        return
    for name in [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []:
        module = name if key == PLUGINS else str(name).rpartition(".")[0]
        if module:
            _given.add(str(module))


def is_given(module: str) -> bool:
    """Whether a module may be imported: the user gave it, or a package that it is in.

    Raises:
        InputError: the user's own file cannot be read.
    """
    return _given is None or _is_in(module, _given) or _is_in(module, _read_own())


def _is_in(module: str, names: Iterable[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


def not_given(where: str, *modules: str) -> InputError:
    """The error for modules that only data name.

    Args:
        where: the key and the value that name them.
    """
    return InputError(
        f"{where} needs {', '.join(modules)}, which a file names and you did not: importing a module runs it",
        f"modules of plugins=, or of {OWN_FILE} in your folder of configurations",
        f"plugins={','.join(modules)} behind the same command, if you trust that",
    )


def check_modules(names: Iterable[str]) -> None:
    """Whether names have the form of modules; imports nothing.

    Raises:
        InputError: one has not, or there are too many.
    """
    for number, name in enumerate(names):
        if number == MOST_PLUGINS:
            raise InputError(
                f"plugins has more than {MOST_PLUGINS} names", f"at most {MOST_PLUGINS} modules", "plugins=my_package"
            )
        if len(name) > MOST_CHARACTERS or not all(map(str.isidentifier, name.split("."))):
            raise InputError(
                f"plugins has {name[:80]!r}",
                f"names of modules of at most {MOST_CHARACTERS} characters",
                "plugins=my_package.my_module",
            )


def own_folder() -> Path | None:
    """The folder that the user's own file lies in; None where there is no home folder. As the specification of XDG says, a relative path
    in the environment is ignored: it would be in the present folder.
    """
    named = os.environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(named):
        return Path(named)
    home = os.path.expanduser("~")
    return Path(home, ".config") if os.path.isabs(home) else None

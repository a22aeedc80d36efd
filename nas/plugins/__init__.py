"""Modules of the user that register parts and costs when they are imported.

    given.py       which modules may be imported because of a name
    remembered.py  those that a run needs, and the user's own file of them

What imports torch is imported where it is used: names are checked before.
"""

import importlib
import importlib.util
import traceback
from typing import TYPE_CHECKING

from nas.plugins.given import is_given, not_given
from search_spaces.errors import InputError

if TYPE_CHECKING:
    from nas.config import Config


def _source(module: str) -> str:
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ""
    return (found and found.origin) or ""


def import_plugins(config: "Config") -> None:
    """Imports the modules whose parts register themselves.

    Raises:
        InputError: one was not given by the user, or cannot be imported.
    """
    missing = [name for name in config.plugins if not is_given(name)]
    if missing:
        raise not_given(config.run, *missing)
    if config.plugins:
        from search_spaces.registry import parts

        parts(
            "mixer"
        )  # the project's own parts first, so that a plugin that takes one of their names is the one to be told
    for name in config.plugins:
        _import(name)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"plugin {name!r} cannot be imported ({error})",
            "an importable module",
            f"PYTHONPATH=FOLDER nas ... plugins={name}",
        ) from None
    except SyntaxError as error:
        raise InputError(
            f"plugin {name!r} is not Python: {error.filename}, line {error.lineno}: {error.msg}",
            "an importable module",
            f"fix line {error.lineno}",
        ) from None
    except (
        Exception,
        SystemExit,
    ) as error:  # what a module does when it is imported, and what `register` finds wrong with a part
        frames = traceback.extract_tb(error.__traceback__)
        last = next((frame for frame in reversed(frames) if frame.filename == _source(name)), frames[-1])
        raise InputError(
            f"plugin {name!r} fails ({last.filename}, line {last.lineno}: {type(error).__name__}: {error})",
            "a module that can be imported, with parts that keep the contract of search_spaces/README.md",
            f"fix line {last.lineno}",
        ) from error

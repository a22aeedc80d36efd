"""Strategies of supernet training, one file each; names are file names. `supernet.strategy` has the contract.

Standard library only: the file of a strategy, and with it torch, is imported when its class is asked for.
"""

import importlib
import pkgutil
from typing import Any

NAMES = tuple(module.name for module in pkgutil.iter_modules(__path__))
"""The strategies that come with the project, sorted."""


def class_of(name: str) -> Any:
    """The class of a strategy: `single_path` is `SinglePath` in single_path.py.

    Args:
        name: one of `NAMES`.
    """
    module = importlib.import_module(f"{__name__}.{name}")
    return getattr(module, "".join(word.capitalize() for word in name.split("_")))

"""What can be built: architectures, parts, search spaces, networks, cost.

Where timm is imported too, before or after, the papers' networks are models of timm (timm_models.py).
"""

import importlib
from types import ModuleType

from wrapt import when_imported


@when_imported("timm.models")
def _register_timm_models(_: ModuleType) -> None:
    importlib.import_module("search_spaces.timm_models")

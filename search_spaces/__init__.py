"""What can be built: architectures, parts, search spaces, networks, cost.

Where timm is imported too, before or after, the papers' networks are models of timm (timm_models.py), and folders of searched networks
are loaded by its `local-dir:` and `hf-hub:` (timm_searched.py). timm looks for models in no other
package by itself, and this package may not import timm, which takes seconds and most of its users do without; hence a hook on its import.
"""

import importlib
from types import ModuleType

from wrapt import when_imported


@when_imported("timm.models")
def _register_timm_models(_: ModuleType) -> None:
    importlib.import_module("search_spaces.timm_models")

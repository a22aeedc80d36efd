"""Shape annotations are checked while tests run: `Float[Tensor, "b c h w"]` becomes an assertion on every call."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import jaxtyping
import torch

CHECKER = 'beartype.beartype(conf=__import__("beartype").BeartypeConf(is_pep484_tower=True))'
"""An int is a float, as in every type checker; beartype has to be told."""


def checked_modules() -> list[str]:
    """Everything that handles tensors: search_spaces' folders of parts, its layers, networks and models, and all of supernet.

    But for the laws (`testing`), whose assertions pytest rewrites.
    """
    root = Path(__file__).parent.parent
    folders = {path.parent.name for path in (root / "search_spaces").glob("*/__init__.py")} - {"space", "testing"}
    training = {path.stem for path in (root / "supernet").iterdir()} - {"__init__", "__pycache__", "testing"}
    first = ("layers", "network", "dynamic_convs", "timm_models")
    names = [f"search_spaces.{name}" for name in (*first, *sorted(folders))]
    return names + [f"supernet.{name}" for name in sorted(training)]


# Counts of parts are remembered on disk, but not in the user's folder; commands that tests start inherit this.
cache = tempfile.mkdtemp(prefix="hybrid-mixer-nas-")
atexit.register(shutil.rmtree, cache, ignore_errors=True)
os.environ["HYBRID_MIXER_NAS_CACHE"] = cache

# Before anything of the project is imported; the value types need no check (and typing.Self cannot be checked by method).
early = [name for name in sys.modules if name.startswith(("search_spaces.", "supernet."))]
if early:
    raise RuntimeError(f"{early[0]} is imported before its shape checks are installed")
jaxtyping.install_import_hook(checked_modules(), CHECKER)
torch.set_num_threads(1)  # the networks are small, and bitwise laws hold for any one number of threads

"""What runtimes make of modules, such as exported files, kept in a folder: made once, it is read in milliseconds by later processes.

kept = Artefacts(folder, versions)
key = kept.key(module, inputs)
file = kept.read(key)
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from nas.runs.disk import offering
from nas.runs.store import RunStore


class Artefacts:
    """A folder of files, each under a key that says what it was made of.

    Args:
        folder: of the files; it is made when the first is written.
        about: what else they depend on, such as versions of libraries.
    """

    def __init__(self, folder: Path, about: Mapping[str, str]) -> None:
        self._store, self._about = RunStore(folder), json.dumps(dict(about), sort_keys=True)

    def key(self, module: nn.Module, inputs: Sequence[Tensor]) -> str:
        """A digest of the module's structure, its weights and the shapes of its inputs.

        Options that a module keeps as plain attributes are no part of its printed form, so the unit or the architecture that it is made
        of counts too.
        """
        made_of = getattr(module, "unit", None) or getattr(module, "arch", None)
        shapes = [(tuple(x.shape), str(x.dtype)) for x in inputs]
        digest = hashlib.sha256(repr((self._about, str(made_of), repr(module), shapes)).encode())
        for name, value in module.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().numpy().tobytes())
        return digest.hexdigest()[:32]

    def has(self, key: str) -> bool:
        """Whether there is a file under the key."""
        return self._store.exists(key)

    def read(self, key: str) -> bytes | None:
        """The file under a key; None where there is none."""
        return self._store.path(key).read_bytes() if self.has(key) else None

    def write(self, key: str, file: bytes) -> None:
        """Keeps a file, which appears whole or not at all: a process that is killed leaves no half of one.

        Raises:
            InputError: the folder cannot be written.
        """
        with offering("out=PATH in a folder with more space"):
            self._store.write_bytes(key, file)

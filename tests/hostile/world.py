"""Where a case happens: the folder of a user, with a run from a stranger and files that nobody may touch.

desk/R            the run from the stranger; commands are typed in desk
desk/net          a network's folder from the stranger
desk/notes.md     a file of the user beside it
outside/          a folder of the user, with files
home/             the user's home
"""

import functools
import hashlib
import json
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.command_line import SPACE, make_images
from tests.fuzzing.targets.runs import SEARCH, base, heavy

MARKER = "marker"
"""A file in `outside` that code from a stranger would write. It is never there before."""

ON_IMAGES = (
    "train", "run=new", "space=space.toml", "data=folder", "data.root=images", "train.batch_size=2", "epochs=1", "random_paths=0",
)  # fmt: skip
"""A training on the images of `with_images`, which they are enough for. It lacks `data.resolution`."""


class World:
    """A folder with all that a case needs."""

    def __init__(self, root: Path) -> None:
        self.root, self.desk, self.outside, self.home = root, root / "desk", root / "outside", root / "home"
        for folder in (self.desk, self.outside / "folder", self.home):
            folder.mkdir(parents=True)
        (self.outside / "precious.txt").write_text("years of work\n")
        (self.outside / "folder" / "thesis.tex").write_text("the only copy\n")
        (self.outside / "folder" / ".thesis.999999.tmp").write_text("half of it\n")
        (self.home / ".profile").write_text("export EDITOR=vi\n")
        (self.desk / "notes.md").write_text("# Notes\n")
        self._given = self._listed(self.desk)
        self.env = {"HOME": str(self.home)}

    @property
    def run(self) -> Path:
        return self.desk / "R"

    @property
    def search(self) -> Path:
        return self.run / SEARCH

    @property
    def precious(self) -> Path:
        return self.outside / "precious.txt"

    @property
    def marker(self) -> Path:
        return self.outside / MARKER

    # What is in it

    def with_run(self) -> "World":
        """With a finished run, whose networks are not extracted, and the space that it was made with."""
        put(self.desk / "tiny.toml", SPACE.encode())
        for name, content in (base() | heavy()).items():
            put(self.run / name, content)
        return self._harmless()

    def with_network(self) -> "World":
        """With a network's folder."""
        shutil.copytree(_network(), self.desk / "net")
        return self._harmless()

    def with_space(self, text: str = SPACE) -> "World":
        if text != SPACE:
            put(self.desk / "space.toml", text.encode())
            return self
        put(self.desk / "space.toml", text.encode())
        return self._harmless()

    def with_images(self) -> "World":
        """With small images of four classes."""
        make_images(self.desk / "images", each=6)
        return self._harmless()

    def _harmless(self) -> "World":
        """Remembers what is in the desk as what no message needs to name."""
        self._given = self._listed(self.desk)
        return self

    # Changes

    def change(self, name: str, change: Callable[[Any], object]) -> None:
        """Changes the value of a JSON file of the desk in place."""
        path = self.desk / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    def record(self, change: Callable[[Any], object], name: str = "evaluations.jsonl", line: int = -1) -> None:
        """Changes a record of the search in place, with a checksum of its own."""
        path = self.search / name
        lines = path.read_bytes().splitlines()
        record = json.loads(lines[line])
        del record["crc"]
        change(record)
        body = json.dumps(record, separators=(",", ":")).encode()[:-1]
        lines[line] = b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))
        path.write_bytes(b"\n".join(lines) + b"\n")

    def link(self, name: str, target: Path | str) -> None:
        """A link in the place of a file or folder of the desk."""
        path = self.desk / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def evil_module(self, name: str = "evil") -> None:
        """A module beside the run, which leaves the marker when it is imported."""
        text = f"open({str(self.marker)!r}, 'w').write('was here')\nclass Evil:\n    pass\n"
        put(self.desk / f"{name}.py", text.encode())

    def program(self, name: str) -> None:
        """A program of this name, which leaves the marker, first in the user's PATH."""
        path = self.desk / "bin" / name
        put(path, f"#!/bin/sh\necho was here > {self.marker}\n".encode())
        path.chmod(0o755)
        self.env["PATH"] = f"{path.parent}{os.pathsep}{os.environ['PATH']}"

    def listing(self) -> dict[str, str]:
        """Everything but what is inside the run folder: kinds, sizes, hashes and targets of links by path."""
        return self._listed(self.root, self.run)

    def hostile(self) -> set[str]:
        """Names, without their folders, of what a case has put into the desk, changed there or taken away."""
        now = self._listed(self.desk)
        return {Path(name).name for name in now.keys() | self._given.keys() if now.get(name) != self._given.get(name)}

    def _listed(self, root: Path, without: Path | None = None) -> dict[str, str]:
        found = {}
        for folder, folders, files in os.walk(root):
            if Path(folder) == without:
                folders.clear()
                continue
            for name in [*folders, *files]:
                path = Path(folder) / name
                found[str(path.relative_to(self.root))] = _seen(path)
        return found


def _seen(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {os.readlink(path)}"
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest() if status.st_size < 2**24 else "large"
        return f"{status.st_size} bytes, {content}"
    return stat.filemode(status.st_mode)


def put(path: Path, content: bytes) -> None:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@functools.cache
def _network() -> Path:
    """A network's folder of the first record of the run, made once; its weights are fresh."""
    from nas.networks.folder import described_for_timm
    from nas.runs.store import RunStore
    from nas.runs.weights import save_tensors
    from search_spaces.architecture import Architecture
    from search_spaces.network import build

    record = json.loads(base()[f"{SEARCH}/evaluations.jsonl"].splitlines()[0])
    network = build(Architecture.from_dict(record["architecture"]))
    store = RunStore(tempfile.mkdtemp(prefix="hostile-network-"))
    save_tensors(store, "model.safetensors", network.state_dict(), {"digest": network.arch.digest})
    store.write_text("arch.json", network.arch.to_json(indent=1) + "\n")
    store.write_json("config.json", described_for_timm(network.arch, (), {}))
    return store.folder

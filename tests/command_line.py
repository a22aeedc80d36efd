"""Runs real commands for tests.

`Commands` runs each command in a process of its own that is forked from one that has imported torch: it starts in
milliseconds instead of seconds, and its exit code, output, files and limits are those of `nas` typed in a shell.
`cold` starts a new interpreter and says what it imported.

    python tests/command_line.py        the process that is forked from (forked_commands.py): one JSON line a command, one exit code back
"""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VERBS = ("train", "search", "extract", "retrain", "report")
SEARCH = "searches/small"
"""The folder of the search of `CONFIG` in its run."""
SPACE = """\
name = "tiny"
about = "Four mixers in one stage."
head = { part = "linear_head" }

[block]
position = [{ part = "none" }]
norm = [{ part = "layer_norm" }]
mixer = [
    { part = "depthwise_conv", kernel_size = [3, 5] },
    { part = "d_mixer", attention_ratio = [0.25, 0.5], head_dim = 4, kernel_size = 3 },
    { part = "partial_attention", foreground_ratio = 0.5, head_dim = 8 },
    { part = "global_attention", head_dim = 8 },
]
ffn = [{ part = "mlp", ratio = [1, 2] }]
scale = [{ part = "none" }]

[[stages]]
width = [16, 32]
depth = [1, 2]
embedding = [{ part = "conv_stem", stride = 2 }]
per_stage = ["ffn"]
"""
CONFIG = """\
run = "run"
space = "tiny.toml"

[data]
{data}
resolution = 8

[train]
epochs = 1
batch_size = {batch_size}
random_paths = 1
checkpoint_steps = 2

[search]
name = "small"
evaluations = 4
population = 2
calibration_images = 64

[retrain]
points = 1
inits = ["scratch"]
jobs = 1
epochs = 1
"""

HEAVY = ("torch", "optuna", "ray", "numpy", "pandas", "timm", "torchvision", "sklearn", "matplotlib")
"""What a command that only answers must not import."""


@dataclass(frozen=True)
class Result:
    """How a command ended.

    imported: top-level modules; only `cold` knows them.
    seconds: of processor time, children included; only `Commands` knows them, and says nothing of the start.
    """

    code: int
    out: str
    err: str
    imported: frozenset[str] = frozenset()
    seconds: float = math.nan

    def ok(self) -> "Result":
        """Itself, if the command succeeded."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self

    def refused(self, *words: str) -> tuple[str, str, str]:
        """What was given, what is allowed and what to type instead, of a command that refused its input as all must.

        Args:
            words: what the message must contain.
        """
        assert self.code == 2, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err
        found = re.search(r"(?:\A|\n)nas: (.+(?:\n    .+)*)\n  allowed: (.+)\n  instead: (.+)\n\Z", self.err)
        assert found, f"no message in three parts:\n{self.err}"
        for word in words:
            assert word in found[0], f"{word!r} is not in:\n{found[0]}"
        return found[1], found[2], found[3]


def environment(**changes: str) -> dict[str, str]:
    """That of every command of the tests: one thread, this checkout first, no files of bytecode."""
    path = os.pathsep.join(filter(None, (str(ROOT), changes.pop("PYTHONPATH", ""))))
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    quiet["RAY_worker_niceness"] = "0"  # or its workers get next to nothing beside the other processes of the tests
    return os.environ | quiet | {"PYTHONPATH": path} | changes


def cold(*arguments: str, cwd: Path, **changes: str) -> Result:
    """One command in a new interpreter, which imports nothing from the present folder, as the script `nas` does not."""
    done = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "nas.cli", *arguments],
        cwd=cwd, env=environment(**changes), capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = done.stderr.splitlines(keepends=True)
    modules = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines if line.startswith("import time:")}
    err = "".join(line for line in lines if not line.startswith("import time:"))
    return Result(done.returncode, done.stdout, err, frozenset(modules))


class Commands:
    """Runs commands, one at a time; close it at the end."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
        )

    @property
    def pid(self) -> int:
        """Of the process whose children the commands are."""
        return self._server.pid

    def __call__(
        self,
        *arguments: str,
        cwd: Path,
        limit: int | None = None,
        memory: int | None = None,
        kill: float | None = None,
        env: Mapping[str, str] | None = None,
        obedient: bool = False,
    ) -> Result:
        """One command.

        Args:
            limit: the most bytes that a file may have; writing more fails as on a full disk.
            memory: the most bytes that its address space may grow by, as with `ulimit -v`.
            kill: seconds after which the process is killed.
            obedient: root too is bound by the permissions of files.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            job = {
                "arguments": arguments,
                "cwd": str(cwd),
                "limit": limit,
                "memory": memory,
                "kill": kill,
                "env": dict(env or {}),
                "output": folder,
                "obedient": obedient,
            }
            for name in ("out", "err"):
                (Path(folder) / name).touch()  # also if it is killed at once
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            code, seconds = self._server.stdout.readline().split()
            out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
            return Result(int(code), out, err, seconds=float(seconds))

    def close(self) -> None:
        self._server.communicate()


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def results(place: Path) -> dict[str, object]:
    """What a run has found: every file but those of `work`, which a resumed run needs, and Optuna's copy, which has dates."""
    found: dict[str, object] = {
        name: value
        for name, value in contents(place / "run").items()
        if not name.startswith("work") and name != "study.db"
    }
    if "run.json" in found:
        identity = json.loads((place / "run" / "run.json").read_text())
        identity["config"]["data"]["root"] = Path(identity["config"]["data"]["root"]).name  # absolute, wherever it lies
        found["run.json"] = {key: value for key, value in identity.items() if key not in ("commit", "command")}
    for name in [name for name in found if name.endswith("/search.json")]:
        about = json.loads((place / "run" / name).read_text())
        found[name] = {key: value for key, value in about.items() if key not in ("commit", "command")}
    return found


def study(place: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What Optuna reads in study.db: the trials of each study."""
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{place / 'run' / 'study.db'}")
    try:
        return {
            name: [
                (trial.number, trial.state, trial.params, trial.values, trial.user_attrs, dict(trial.constraints or {}))
                for trial in optuna.load_study(study_name=name, storage=storage).trials
            ]
            for name in optuna.get_all_study_names(storage)
        }
    finally:
        storage.engine.dispose()


def prepare(place: Path, data: str = 'name = "digits"', batch_size: int = 128) -> Path:
    """A folder with a space and a configuration, in which `nas VERB config.toml` makes or continues the run `run`."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "tiny.toml").write_text(SPACE)
    (place / "config.toml").write_text(CONFIG.format(data=data, batch_size=batch_size))
    return place


class Runs:
    """One run, as each verb leaves it; made as far as it is asked for.

    Args:
        place: a folder that `prepare` made.
        root: gets one copy of it per verb.
    """

    def __init__(self, nas: Commands, place: Path, root: Path) -> None:
        self._nas, self._new, self._root = nas, place, root

    def __getitem__(self, verb: str) -> Path:
        """The folder of the configuration and the run after a verb. It is shared: change nothing in it."""
        place = self._root / verb
        if not place.exists():
            before = self.before(verb)
            shutil.copytree(before, place)
            self._nas(verb, "config.toml", cwd=place).ok()
        return place

    def before(self, verb: str) -> Path:
        """The same before a verb."""
        return self[VERBS[VERBS.index(verb) - 1]] if verb != VERBS[0] else self._new


def make_images(root: Path, classes: int = 4, each: int = 16, seed: int = 0) -> Path:
    """A folder of small noisy images whose class shows in their colour."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    for label in range(classes):
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 100, (8, 8, 3)) + 50 * np.array([label & 1, label >> 1, label])
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


if __name__ == "__main__":
    if str(ROOT) not in sys.path:  # as it is where `Commands` starts this
        sys.path.append(str(ROOT))
    from tests.forked_commands import serve

    serve()

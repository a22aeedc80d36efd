"""Runs real commands for tests.

`Commands` runs each command in a process of its own that is forked from one that has imported torch: it starts in
milliseconds instead of seconds, and its exit code, output, files and limits are those of `nas` typed in a shell.
`cold` starts a new interpreter and says what it imported.

    python tests/command_line.py        the process that is forked from: one JSON line a command, one exit code back
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "optuna", "ray", "numpy", "pandas", "timm", "torchvision", "sklearn", "matplotlib")
"""What a command that only answers must not import."""


@dataclass(frozen=True)
class Result:
    """How a command ended.

    imported: top-level modules; only `cold` knows them.
    """

    code: int
    out: str
    err: str
    imported: frozenset[str] = frozenset()

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
        found = re.search(r"(?:\A|\n)nas: (.+)\n  allowed: (.+)\n  instead: (.+)\n\Z", self.err)
        assert found, f"no message in three parts:\n{self.err}"
        for word in words:
            assert word in found[0], f"{word!r} is not in:\n{found[0]}"
        return found[1], found[2], found[3]


def environment(**changes: str) -> dict[str, str]:
    """That of every command of the tests: one thread, this checkout first, no files of bytecode."""
    path = os.pathsep.join(filter(None, (str(ROOT), changes.pop("PYTHONPATH", ""))))
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return os.environ | quiet | {"PYTHONPATH": path} | changes


def cold(*arguments: str, cwd: Path, **changes: str) -> Result:
    """One command in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nas.cli", *arguments],
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

    def __call__(
        self, *arguments: str, cwd: Path, limit: int | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        """One command.

        Args:
            limit: the most bytes that a file may have; writing more fails as on a full disk.
        """
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            job = {"arguments": arguments, "cwd": str(cwd), "limit": limit, "env": dict(env or {}), "output": folder}
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            code = int(self._server.stdout.readline())
            return Result(code, *((Path(folder) / name).read_text() for name in ("out", "err")))

    def close(self) -> None:
        self._server.communicate()


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def _serve() -> None:
    import gc

    import sklearn.datasets  # noqa: F401
    from optuna.storages import RDBStorage  # noqa: F401

    import nas.commands.demo  # noqa: F401

    gc.freeze()  # or every child copies the pages of all these modules when it first collects
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201


def _become(job: dict[str, Any]) -> NoReturn:
    """Makes this process one that was started for a command, and runs it. It ends without taking torch apart, which is slow."""
    import resource
    import traceback

    from nas.cli import main

    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", os.O_CREAT | os.O_WRONLY), (2, "err", os.O_CREAT | os.O_WRONLY)):
        file = os.open(os.path.join(job["output"], name), flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.argv = ["nas", *job["arguments"]]
    if job["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    code = 1
    try:
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()

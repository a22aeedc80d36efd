"""Whatever hits a search, no finished evaluation is lost, none is recorded twice, and the end is that of an undisturbed search."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command_line import ROOT, Commands, Runs, environment
from tests.faults import Faults


def test_a_few_faults(nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """One of each kind that no other test has; the script counts many more."""
    shutil.copytree(runs["train"], tmp_path / "before")
    rng = random.Random(0)
    faults = Faults(nas, tmp_path, rng)
    line = rng.randrange(1, len(faults.lines) - 1)
    for what, counts in (*faults.cut([line]), ("flip", faults.flip([line])), ("kill", faults.kill(1))):
        assert counts.sound, f"{what}: {counts}"
        assert counts.faults


@pytest.mark.slow
@pytest.mark.parametrize("parts", ["kill", "actors", "cut,flip,full"])
def test_many_faults(parts: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tests" / "faults.py"), "--parts", parts, "--seed", "0"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

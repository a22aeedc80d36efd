"""Verbs that are killed at random moments and started again leave the files of a run that was never disturbed."""

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import ROOT, VERBS, Commands, Runs, environment, results, study

KILLS = 6


@pytest.mark.parametrize("verb", VERBS)
def test_a_killed_command_goes_on(verb: str, nas: Commands, runs: Runs, tmp_path: Path) -> None:
    """Each command is killed several times at moments spread over its length, and started again each time."""
    expected, before = runs[verb], runs.before(verb)
    clock = time.monotonic()
    nas(verb, "config.toml", cwd=Path(shutil.copytree(before, tmp_path / "calm"))).ok()
    seconds = time.monotonic() - clock
    rng = random.Random(verb)
    killed = started = 0
    while killed < KILLS:
        place = Path(shutil.copytree(before, tmp_path / f"killed{started}"))
        started += 1
        while killed < KILLS:
            result = nas(verb, "config.toml", cwd=place, kill=rng.uniform(0, seconds))
            if result.code == 0:
                seconds *= 0.8  # or a machine that was busy, and no longer is, would never be killed in time
                break
            assert result.code == -9, result.err
            killed += 1
        nas(verb, "config.toml", cwd=place).ok()
        if verb == "report":  # which holds no lock, and so removes nothing
            nas("train", "config.toml", cwd=place).ok()
        assert results(place) == results(expected)
        if verb == "search":
            assert study(place) == study(expected)


@pytest.mark.slow
def test_killed_processes_go_on(tmp_path: Path) -> None:
    """The same with interpreters of their own, more kills, and retraining in several processes."""
    command = [sys.executable, str(ROOT / "tests" / "kill_resume.py"), "--kills", "5"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every final file is equal\n")

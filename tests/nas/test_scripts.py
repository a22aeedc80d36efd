"""Scripts that call the verbs: retraining starts processes that import them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command_line import SEARCH, Commands, Runs, contents, environment
from tests.nas.places import without_page

After = Callable[[str], Path]
CALLS = """\
from nas import {verbs}, load_config

config = load_config("config.toml", ["retrain.jobs=2"])
for verb in ({verbs},):
    verb(config)
"""
GUARDED = """\
from nas import load_config, retrain

if __name__ == "__main__":
    retrain(load_config("config.toml", ["retrain.jobs=2"]))
"""
SENTENCE = 'calls nas outside of `if __name__ == "__main__":`, and the processes that train networks import it first'


@contextmanager
def nothing_found(place: Path) -> Iterator[None]:
    """Checks that no file changes but search.json, which has the recipe of the last command, and clocks."""
    before = contents(place)
    yield
    after = contents(place)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed <= {f"run/{SEARCH}/search.json", "run/work/lock", "run/work/clock.jsonl"}


def python(place: Path, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment(), input=text, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "script"),
    [
        (["script.py"], CALLS.format(verbs="retrain")),
        pytest.param(["-m", "script"], CALLS.format(verbs="retrain"), marks=pytest.mark.slow),
        pytest.param(
            ["script.py"], CALLS.format(verbs="train, search, extract, retrain, report"), marks=pytest.mark.slow
        ),
        pytest.param(["script.py"], CALLS.format(verbs="demo"), marks=pytest.mark.slow),
        pytest.param(
            ["script.py"],
            GUARDED.replace('if __name__ == "__main__":', "def main() -> None:") + "\n\nmain()\n",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["retrain", "module", "all verbs", "demo", "function"],
)
def test_a_script_without_the_guard(arguments: list[str], script: str, after: After) -> None:
    """The sentence, and no page of tracebacks; nothing is lost."""
    place = after("extract")
    (place / "script.py").write_text(script)
    with nothing_found(place):
        done = python(place, *arguments)
    assert done.returncode == 1
    assert 1 <= done.stderr.count(SENTENCE) <= 2
    assert done.stderr.count("Traceback") == 1  # of the script's own line
    assert "script.py calls nas" in done.stderr
    assert "in use by another process" not in done.stderr
    assert done.stderr.endswith("or retrain.jobs=1, which starts no processes\n")


@pytest.mark.slow
def test_a_guarded_script_that_fails_in_other_processes(after: After) -> None:
    """It is not said to lack the guard that it has."""
    place = after("extract")
    fault = 'import multiprocessing\n\nif multiprocessing.current_process().name != "MainProcess":\n    raise RuntimeError("my own fault")\n'
    (place / "script.py").write_text(fault + GUARDED)
    done = python(place, "script.py")
    assert done.returncode == 1
    assert SENTENCE not in done.stderr
    assert "my own fault" in done.stderr
    assert "the processes that train networks cannot import" in done.stderr
    assert "script.py; their own error stands above" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "script", "text"),
    [
        (["script.py"], GUARDED, None),
        pytest.param(
            ["script.py"], CALLS.format(verbs="retrain").replace("jobs=2", "jobs=1"), None, marks=pytest.mark.slow
        ),
        pytest.param(["-c", CALLS.format(verbs="retrain")], "", None, marks=pytest.mark.slow),  # nothing to import
        pytest.param(["-"], "", CALLS.format(verbs="retrain").replace("jobs=2", "jobs=1"), marks=pytest.mark.slow),
    ],
    ids=["guarded", "one process", "-c", "standard input, one process"],
)
def test_scripts_that_work(arguments: list[str], script: str, text: str | None, after: After, runs: Runs) -> None:
    place = after("extract")
    (place / "script.py").write_text(script)
    done = python(place, *arguments, text=text)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    found, expected = without_page(place), without_page(runs["retrain"])
    assert found[f"{SEARCH}/retrained.jsonl"] == expected[f"{SEARCH}/retrained.jsonl"]


def test_a_script_from_standard_input(after: After) -> None:
    place = after("extract")
    with nothing_found(place):
        done = python(place, "-", text=CALLS.format(verbs="retrain"))
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert "the script comes from standard input" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("guarded", [False, True], ids=["nas", "script"])
def test_a_training_process_that_is_killed(guarded: bool, nas: Commands, after: After) -> None:
    """As by the kernel when memory runs out: what was reached is kept."""
    place = after("extract")
    digest = min((place / "run" / SEARCH / "networks").iterdir()).name
    settings = [
        f"digest={digest}",
        "retrain.jobs=2",
        "retrain.seeds=2",
        "retrain.epochs=6",
        "retrain.checkpoint_steps=2",
    ]
    (place / "script.py").write_text(GUARDED.replace('["retrain.jobs=2"]', repr(settings)))
    command = ["script.py"] if guarded else ["-m", "nas.cli", "retrain", "config.toml", *settings]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    checkpoints = place / "run" / "work" / "retrain" / "small"
    while process.poll() is None and not list(checkpoints.glob("*.pt")):
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(int(workers[0]), signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == (1 if guarded else 2), err
    assert err.count("run: a training process was ended from outside, most often because memory ran out") == 1
    assert "retrain.jobs=1" in err
    assert err.count("Traceback") == guarded
    kept = list(checkpoints.glob("*.pt")) + list(checkpoints.glob("*.json"))
    assert kept
    nas("retrain", "config.toml", *settings[:1], "retrain.jobs=1", *settings[2:], cwd=place).ok()
    assert len((place / "run" / SEARCH / "retrained.jsonl").read_text().splitlines()) == 2

"""Kills `nas train`, `nas search` and `nas retrain` with SIGKILL at random points, starts the same command again, and compares
every final file with those of a run that was never disturbed.

    python tests/kill_resume.py [--kills 5] [--seed 0]

Search and retraining work in two processes each. Prints one line per kill and ends with exit code 1 at the first difference.
"""

import argparse
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = [
    "run=run", "space=digits", "data=digits", "data.resolution=8", "train.epochs=4", "train.checkpoint_steps=7",
    "search.evaluations=12", "search.population=4", "search.budget=400K", "search.batch=3", "search.jobs=2",
    "retrain.points=2", "retrain.epochs=4", "retrain.checkpoint_steps=7", "retrain.jobs=2", "executor=processes",
]  # fmt: skip
KILLED = ("train", "search", "retrain")
VERBS = ("train", "search", "extract", "retrain", "report")


def start(verb: str, folder: Path) -> subprocess.Popen[bytes]:
    """One command of the run in `folder`, in a session of its own."""
    command = [sys.executable, "-m", "nas.cli", verb, *SETTINGS]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    log = open(folder / "log", "ab")  # noqa: SIM115 - the process keeps it
    return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def finish(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Waits for a command that must succeed."""
    if process.wait():
        raise SystemExit(f"the command failed:\n{(folder / 'log').read_text()[-3000:]}")


def contents(folder: Path) -> dict[str, object]:
    """Everything a finished run leaves, but for clocks: bytes by name, and the study as its rows."""
    found: dict[str, object] = {}
    for path in sorted((folder / "run").rglob("*")):
        name = str(path.relative_to(folder / "run"))
        if not path.is_file() or name.startswith("work/"):
            continue
        if name == "study.db":
            with sqlite3.connect(path) as database:
                query = (
                    "select s.study_name, t.number, t.state, v.objective, v.value from trials t join studies s using (study_id) "
                    "join trial_values v using (trial_id) order by 1, 2, 4"
                )
                found[name] = database.execute(query).fetchall()
                query = (
                    "select s.study_name, t.number, p.param_name, p.param_value from trials t join studies s using (study_id) "
                    "join trial_params p using (trial_id) order by 1, 2, 3"
                )
                found[name + " parameters"] = database.execute(query).fetchall()
        else:
            found[name] = path.read_bytes()
    return found


def compare(calm: Path, killed: Path, when: str) -> None:
    """Ends the program at the first difference."""
    one, other = contents(calm), contents(killed)
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            raise SystemExit(f"{when}: {name} differs from the undisturbed run ({calm} and {killed})")
    print(f"{when}: {len(one)} files equal", flush=True)  # noqa: T201


def disturb(verb: str, folder: Path, seconds: float, kills: int, rng: random.Random, before: Path, calm: Path) -> None:
    """Runs one verb with `kills` kills, each at a random moment of its length; starts over when it ends too early."""
    done = 0
    while True:
        process = start(verb, folder)
        if done == kills:
            finish(process, folder)
            return
        moment = rng.uniform(0.05, 1.0) * seconds
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
            print(f"{verb}: kill {done} after {moment:.1f} s", flush=True)  # noqa: T201
            continue
        if process.returncode:
            raise SystemExit(f"{verb} failed:\n{(folder / 'log').read_text()[-3000:]}")
        compare(calm, folder, f"{verb} after {done} kills")
        shutil.rmtree(folder)
        shutil.copytree(before, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="of each verb")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments; printed, so that a failure can be repeated"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)  # noqa: T201
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kill-resume-") as root:
        calm, killed, before = (Path(root) / name for name in ("calm", "killed", "before"))
        calm.mkdir()
        killed.mkdir()
        for verb in VERBS:
            clock = time.monotonic()
            finish(start(verb, calm), calm)
            seconds = time.monotonic() - clock
            if verb in KILLED:
                shutil.rmtree(before, ignore_errors=True)
                shutil.copytree(killed, before)
                disturb(verb, killed, seconds, options.kills, rng, before, calm)
            else:
                finish(start(verb, killed), killed)
            compare(calm, killed, verb)
    print("every final file is equal")  # noqa: T201


if __name__ == "__main__":
    main()

"""A search that faults hit, what it has computed, and how its end differs from that of a search that nothing has hit; see faults.py."""

import collections
import itertools
import json
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.command_line import ROOT, SEARCH, Commands, Result, prepare, results, study
from tests.system_processes import Process

LINES = f"run/{SEARCH}/evaluations.jsonl"
BATCH = 3
SETTINGS = ("config.toml", "search.evaluations=10", f"search.batch={BATCH}", "search.budget=120K")
SAMPLERS = 2
"""nsga2 and random: a round of proposals is a batch of each."""

Hit = Callable[[threading.Event], None]
"""Does something to a command that runs, until the event says that it has ended."""


@dataclass
class Counts:
    """What the faults of one part have cost."""

    faults: int = 0
    lost: int = 0
    duplicated: int = 0
    repeated: int = 0
    in_flight: int = 0
    different: int = 0
    left: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.duplicated or self.different or self.left) and self.repeated <= self.in_flight

    def __str__(self) -> str:
        return (
            f"{self.faults} faults: lost {self.lost}, duplicated {self.duplicated}, repeated {self.repeated} (at most {self.in_flight} in "
            f"flight or damaged), different {self.different}, left {self.left}{''.join(f'; {note}' for note in self.notes)}"
        )


def digests(lines: Iterable[bytes]) -> set[str]:
    """The networks of records."""
    return {json.loads(line)["digest"] for line in lines}


def whole_lines(path: Path) -> set[bytes]:
    """The lines of a file that end with a line break; none where there is no file."""
    return set(path.read_bytes().split(b"\n")[:-1]) if path.exists() else set()


class DisturbedSearch:
    """A trained run, the search of it that nothing disturbs, and searches that are disturbed.

    Args:
        folder: gets all of it.
        executor, jobs: where networks are evaluated.
    """

    def __init__(self, nas: Commands, folder: Path, rng: random.Random, executor: str = "here", jobs: int = 1) -> None:
        self.nas, self.folder, self.rng, self.executor, self.jobs = nas, folder, rng, executor, jobs
        self.before, self.calm = folder / "before", folder / "calm"
        self.sessions: list[Path] = []
        """What each command of the disturbed search has computed. It lies outside of the run, whose disk may be full."""
        self.commands = 0
        self.started: set[Process] = set()
        """The processes of the commands that were killed, as they were before."""
        if not self.before.exists():
            prepare(self.before)
            nas("train", "config.toml", cwd=self.before).ok()
        start = time.monotonic()
        self.expected = self.finished(self.copy(self.before, "calm"))
        self.seconds = time.monotonic() - start
        moments = [float(line.split()[1]) for line in self.sessions[0].read_text().splitlines()]
        self.working = moments[-1] - moments[0]
        """Seconds from the first evaluation of the undisturbed search to its last one."""
        self.lines = (self.calm / LINES).read_bytes().splitlines()

    def copy(self, of: Path, name: str) -> Path:
        place = self.folder / name
        shutil.rmtree(place, ignore_errors=True)
        self.sessions.clear()
        return Path(shutil.copytree(of, place))

    def search(self, place: Path, hit: Hit | None = None, **how: Any) -> Result:
        """One command of the disturbed search.

        Args:
            hit: what is done to it meanwhile, by a thread beside it, which stops when the command has ended.
        """
        self.commands += 1
        self.sessions.append(self.folder / f"computed-{self.commands}")
        env = {"FAULTS_EXECUTOR": self.executor, "FAULTS_COMPUTED": str(self.sessions[-1]), "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}  # fmt: skip
        env["RAY_TMPDIR"] = str(self.folder / "r")  # neither joins nor disturbs a cluster of somebody else
        command = ("search", *SETTINGS, "executor=counted_executor.Counted", f"search.jobs={self.jobs}")
        if hit is None:
            return self.nas(*command, cwd=place, env=env, **how)
        over = threading.Event()
        thread = threading.Thread(target=hit, args=(over,))
        thread.start()
        try:
            return self.nas(*command, cwd=place, env=env, **how)
        finally:
            over.set()
            thread.join()

    def finished(self, place: Path) -> dict[str, Any]:
        """What a search is in the end, but for the order of its lines, in which a record that was made again lies last."""
        self.search(place).ok()
        self.nas("report", "config.toml", cwd=place).ok()
        found = results(place)
        del found[LINES.removeprefix("run/")]
        found.pop(f"{LINES.removeprefix('run/')}.damaged", None)
        records = sorted(map(json.loads, (place / LINES).read_bytes().splitlines()), key=lambda record: record["n"])
        return {"files": found, "records": records, "study": study(place)}

    def compare(self, place: Path, counts: Counts, sound: set[bytes]) -> None:
        """Finishes a disturbed search and counts what is not as it should be.

        Args:
            sound: lines that were whole before.
        """
        found = self.finished(place)
        after = (place / LINES).read_bytes().splitlines()
        counts.lost += len(sound - set(after))
        proposals = collections.Counter(
            (r["origin"]["kind"], r["origin"]["name"], r["trial"]) for r in found["records"]
        )
        counts.duplicated += sum(number - 1 for number in proposals.values())
        if found != self.expected:
            counts.different += 1
            names = [key for key in found if found[key] != self.expected[key]]
            counts.notes.append(f"{place} differs in {', '.join(names)}")

    def computed(self) -> list[list[str]]:
        """By command since the last copy, the networks that it has evaluated. A worker may outlive a killed command for a moment, so this is
        asked at the end.
        """
        return [self._computed(path) for path in self.sessions]

    def _computed(self, path: Path) -> list[str]:
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def repeated(self) -> int:
        """Evaluations of networks that had been evaluated before, by the same command or by another."""
        every = list(itertools.chain.from_iterable(self.computed()))
        return len(every) - len(set(every))

    @property
    def ahead(self) -> int:
        """Evaluations that may be done and not yet recorded. In this process each is recorded before the next one begins; results of workers
        are recorded in the order of the proposals, and the light ones are begun last.
        """
        return 1 if self.executor == "here" else BATCH * SAMPLERS

"""Counts what faults cost a search: SIGKILL at random moments, killed actors, records that are cut and flipped, a full disk.

    python tests/faults.py                              # 20 kills in one process and 20 with two jobs; every line cut twice and flipped
    python tests/faults.py --parts kill --jobs 2 --kills 20 --executor ray
    python tests/faults.py --parts actors --actors 10          # of Ray, two at a time
    python tests/faults.py --parts cut,flip,full --seed 3

Each fault hits a search of a small run, the same command then resumes it, and the end is compared with a search that nothing has hit:
every record, the Pareto front (front.csv and trials.csv) and study.db. One line for each part:

    lost        finished evaluations whose record was sound and is gone
    duplicated  proposals with more than one record
    repeated    evaluations that were computed again, because their record was not yet written, or was damaged
    different   final searches that are not equal to the undisturbed one
    left        processes that a killed search has left behind, such as those of its Ray cluster

It ends with exit code 1 unless lost, duplicated, different and left are 0 and no more is repeated than was in flight: computed, as the worker
that did it wrote down, and not recorded at the moment of the kill. In one process that may be one network for each kill; workers may be
ahead of the records by one round of proposals. An actor that is killed has one network in flight.

Starting two workers, with Ray or without, takes longer than the searches do. Of their kills, every other one is therefore timed from the
first evaluation of its command, and the others from its start.
"""

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nas.executors import Executor, make_executor
from tests.command_line import ROOT, SEARCH, Commands, Result, prepare, results, study

LINES = f"run/{SEARCH}/evaluations.jsonl"
BATCH = 3
SETTINGS = ("config.toml", "search.evaluations=10", f"search.batch={BATCH}", "search.budget=120K")
SAMPLERS = 2
"""nsga2 and random: a round of proposals is a batch of each."""

PARTS = ("kill", "actors", "cut", "flip", "full")
ACTORS = 3
"""Actors that are killed in one search, at most: far fewer than end it."""

PATIENCE = 100.0
"""Seconds for the processes of killed searches to end. Two agents of a Ray cluster look for its dead head for a minute, then give up."""


class Counted(Executor):
    """Any executor; its workers write down what they have evaluated. `FAULTS_EXECUTOR` and `FAULTS_COMPUTED` name it and the file."""

    def __init__(self, workers: int) -> None:
        self.inner = make_executor(os.environ["FAULTS_EXECUTOR"], workers)

    def map(self, setup: Any, work: Any, jobs: Any, *, weight: Any = None) -> Iterator[Any]:
        counted = partial(computed_by, os.environ["FAULTS_COMPUTED"], work)  # an actor may have another environment
        return self.inner.map(setup, counted, jobs, weight=weight)

    def close(self) -> None:
        self.inner.close()


def computed_by(path: str, work: Any, state: Any, job: Any) -> Any:
    """Does a job where the worker is, and writes into the file `path` that it is done, before anybody else knows of it."""
    result = work(state, job)
    with open(path, "a") as file:
        file.write(f"{job.digest} {time.monotonic()}\n")
    return result


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


@dataclass(frozen=True)
class Process:
    """A process of this machine. Its start, in ticks of the system, tells it from a later one with its number."""

    pid: int
    start: int
    parent: int = field(compare=False)
    title: str = field(compare=False)


def processes() -> list[Process]:
    """All that run; those that have ended and that nobody has waited for are left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # What lies behind the name, which may contain anything: state, parent, ..., and the start as the 20th.
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            title = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if fields[0] != "Z":
                found.append(Process(int(place.name), int(fields[19]), int(fields[1]), title))
    return found


def descendants(pid: int) -> list[Process]:
    """The processes that a process has started, and those that they have started; children first."""
    every, found, of = processes(), [], {pid}
    while of:
        children = [process for process in every if process.parent in of]
        found += children
        of = {process.pid for process in children}
    return found


def whole_lines(path: Path) -> set[bytes]:
    """The lines of a file that end with a line break; none where there is no file."""
    return set(path.read_bytes().split(b"\n")[:-1]) if path.exists() else set()


class Faults:
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
        command = ("search", *SETTINGS, "executor=faults.Counted", f"search.jobs={self.jobs}")
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

    # The faults

    def kill(self, kills: int) -> Counts:
        """Kills the search at moments spread over its length, and starts it again each time; over and over until that many have hit."""
        counts, number, tries = Counts(), 0, 0
        while counts.faults < kills:
            place, number = self.copy(self.before, f"killed{number}"), number + 1
            sound: set[bytes] = set()
            recorded: list[set[str]] = []
            while counts.faults < kills:
                result = self._killed(place, tries)
                tries += 1
                now = whole_lines(place / LINES)
                counts.lost += len(sound - now)
                sound |= now
                if result.code == 0:
                    break
                if result.code != -9:
                    raise SystemExit(f"the search failed:\n{result.err}")
                counts.faults += 1
                recorded.append(digests(now))
            self.compare(place, counts, sound)
            counts.repeated += self.repeated()
            # The commands after the kills were not killed.
            for done, known in zip(self.computed(), recorded, strict=False):
                counts.in_flight += min(len(set(done) - known), self.ahead)
            shutil.rmtree(place)
        counts.left = self._left()
        return counts

    def _killed(self, place: Path, number: int) -> Result:
        """One command, killed at a random moment: of its length, or, every other time where workers are started, of its work."""
        if self.executor == "here":
            return self.search(place, kill=self.rng.uniform(0, self.seconds))
        works = number % 2 == 1
        delay = self.rng.uniform(0, self.working if works else self.seconds)

        def hit(over: threading.Event) -> None:
            began = self._wait_for(over, 1) if works else True
            if not began or over.wait(delay):
                return
            found = self._command()
            self.started.update(found)
            for process in found:
                if process.parent == self.nas.pid:
                    with suppress(ProcessLookupError):  # it has just ended
                        os.kill(process.pid, signal.SIGKILL)

        return self.search(place, hit)

    def _command(self) -> list[Process]:
        """The processes of the command that runs; itself first."""
        return descendants(self.nas.pid)

    def _wait_for(self, over: threading.Event, number: int) -> bool:
        """Waits until the command has evaluated so many networks; False where it has ended before."""
        while len(self._computed(self.sessions[-1])) < number:
            if over.wait(0.002):
                return False
        return True

    def _left(self) -> int:
        """How many processes of killed commands are there after `PATIENCE`. They are ended then."""
        end = time.monotonic() + PATIENCE
        while (left := self.started & set(processes())) and time.monotonic() < end:
            time.sleep(0.1)
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return len(left)

    def actors(self, kills: int) -> Counts:
        """Kills actors of Ray, each after a random number of evaluations of a search, which goes on without it."""
        counts = Counts()
        while counts.faults < kills:
            place = self.copy(self.before, "actors")
            moments = sorted(self.rng.sample(range(len(self.lines)), k=min(ACTORS, kills - counts.faults)))
            sound: set[bytes] = set()
            killed: list[int] = []

            def hit(
                over: threading.Event,
                moments: list[int] = moments,
                place: Path = place,
                sound: set[bytes] = sound,
                killed: list[int] = killed,
            ) -> None:
                for moment in moments:
                    if not self._wait_for(over, moment):
                        return
                    while not (actors := [p for p in self._command() if p.title.startswith("ray::Worker")]):
                        if over.wait(0.002):
                            return
                    sound |= whole_lines(place / LINES)
                    actor = self.rng.choice(actors)
                    with suppress(ProcessLookupError):
                        os.kill(actor.pid, signal.SIGKILL)
                        killed.append(actor.pid)

            self.search(place, hit).ok()
            counts.faults += len(killed)
            counts.in_flight += len(killed)
            self.compare(place, counts, sound)
            counts.repeated += self.repeated()
        return counts

    def damaged(self, how: Callable[[int], bytes], sound: Callable[[int], set[bytes]], lines: list[int]) -> Counts:
        """Damages the finished search in each of its lines, one after the other."""
        counts = Counts()
        for line in lines:
            place = self.copy(self.calm, "damaged")
            (place / LINES).write_bytes(how(line))
            kept = sound(line)
            counts.faults += 1
            self.compare(place, counts, kept)
            counts.repeated += sum(map(len, self.computed()))
            counts.in_flight += len(digests(set(self.lines) - kept))
        return counts

    def cut(self, lines: list[int]) -> Iterator[tuple[str, Counts]]:
        """The file ends inside a line; and a line alone lacks its end."""

        def start(line: int) -> bytes:
            return self.lines[line][: self.rng.randrange(len(self.lines[line]))]

        def joined(line: int, last: bytes, after: list[bytes]) -> bytes:
            return b"".join(text + b"\n" for text in self.lines[:line]) + last + b"".join(t + b"\n" for t in after)

        yield (
            "file cut inside a line",
            self.damaged(lambda n: joined(n, start(n), []), lambda n: set(self.lines[:n]), lines),
        )
        yield (
            "line cut, the next one behind it",
            self.damaged(lambda n: joined(n, start(n), self.lines[n + 1 :]), self._others, lines),
        )

    def flip(self, lines: list[int]) -> Counts:
        """One bit of a line is another."""

        def flipped(line: int) -> bytes:
            text = bytearray(self.lines[line])
            text[self.rng.randrange(len(text))] ^= 1 << self.rng.randrange(8)
            return b"".join(t + b"\n" for t in (*self.lines[:line], bytes(text), *self.lines[line + 1 :]))

        return self.damaged(flipped, self._others, lines)

    def _others(self, line: int) -> set[bytes]:
        return set(self.lines[:line] + self.lines[line + 1 :])

    def full(self, times: int) -> Counts:
        """Files may not grow beyond a random size, as a limit of the system has it; then they may."""
        counts, size = Counts(), (self.calm / LINES).stat().st_size
        for _ in range(times):
            place = self.copy(self.before, "full")
            result = self.search(place, limit=self.rng.randrange(2_000, size))
            self._refused(result, counts)
            self._after_full(place, counts)
        return counts

    def full_disk(self, times: int) -> Counts | None:
        """A file system of its own that is full at a random moment; then space is freed. None where none can be mounted."""
        place = self.folder / "disk"
        place.mkdir(exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", place], capture_output=True).returncode:
            return None
        counts, size = Counts(), (self.calm / LINES).stat().st_size
        try:
            for _ in range(times):
                own = place / "search"
                shutil.rmtree(own, ignore_errors=True)
                shutil.copytree(self.before, own)
                self.sessions.clear()
                left = shutil.disk_usage(place).free - self.rng.randrange(8_192, size)
                (place / "filler").write_bytes(b"x" * left)
                self._refused(self.search(own), counts)
                (place / "filler").unlink()
                self._after_full(own, counts)
        finally:
            subprocess.run(["umount", "-l", place], check=False)
        return counts

    def _refused(self, result: Result, counts: Counts) -> None:
        counts.faults += 1
        if result.code == 0 or "it resumes where it stopped" not in result.err:
            counts.different += 1
            counts.notes.append(f"a full disk ends with exit code {result.code}: {result.err[-300:]}")

    def _after_full(self, place: Path, counts: Counts) -> None:
        self.compare(place, counts, whole_lines(place / LINES))
        counts.repeated += self.repeated()
        counts.in_flight += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--kills", type=int, default=20, help="for each number of jobs")
    parser.add_argument("--jobs", default="1,2", help="of the searches that are killed")
    parser.add_argument("--executor", default="processes", help="where there are two jobs")
    parser.add_argument("--actors", type=int, default=10, help="actors of Ray that are killed")
    parser.add_argument("--full", type=int, default=10, help="full disks of each kind")
    parser.add_argument(
        "--seed", type=int, default=None, help="of all that is random; printed, so that it can be repeated"
    )
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    say(f"seed {seed}")
    rng, parts, sound = random.Random(seed), options.parts.split(","), True

    def tell(what: str, counts: Counts) -> None:
        nonlocal sound
        sound = sound and counts.sound
        say(f"{what}: {counts}")

    with tempfile.TemporaryDirectory(prefix="faults-") as name, closing(Commands()) as nas:
        for jobs in map(int, options.jobs.split(",")) if "kill" in parts else ():
            executor = "here" if jobs == 1 else options.executor
            faults = Faults(nas, Path(name) / str(jobs), rng, executor, jobs)
            tell(f"SIGKILL, {jobs} at once ({executor})", faults.kill(options.kills))
        if "actors" in parts:
            faults = Faults(nas, Path(name) / "actors", rng, "ray", 2)
            tell("SIGKILL of an actor, 2 at once (ray)", faults.actors(options.actors))
        if not {"cut", "flip", "full"} & set(parts):
            raise SystemExit(0 if sound else 1)
        faults = Faults(nas, Path(name) / "lines", rng)
        lines = list(range(len(faults.lines)))
        for what, counts in faults.cut(lines) if "cut" in parts else ():
            tell(what, counts)
        if "flip" in parts:
            tell("one bit flipped in a line", faults.flip(lines))
        if "full" in parts:
            tell("limit on the size of files", faults.full(options.full))
            if counts := faults.full_disk(options.full):
                tell("full file system", counts)
            else:
                say("full file system: none can be mounted here")
    raise SystemExit(0 if sound else 1)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

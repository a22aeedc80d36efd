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
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.command_line import Commands, Result
from tests.disturbed_search import LINES, Counts, DisturbedSearch, digests, whole_lines
from tests.system_processes import Process, descendants, processes

PARTS = ("kill", "actors", "cut", "flip", "full")
ACTORS = 3
"""Actors that are killed in one search, at most: far fewer than end it."""

PATIENCE = 100.0
"""Seconds for the processes of killed searches to end. Two agents of a Ray cluster look for its dead head for a minute, then give up."""


class Faults(DisturbedSearch):
    """Searches that are killed, whose records are damaged, and that find no space."""

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

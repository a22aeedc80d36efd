"""The workers of a target. One that dies or hangs is a fault of the input that it had, and another one goes on behind it."""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHUNK = 100
"""Inputs that a worker takes at once."""

STARTING, DEADLY = 300.0, 90.0
"""Seconds after which a worker is killed: until its first input, and with one input. An input that Python can interrupt is, long before."""


@dataclass
class Tally:
    """What became of the inputs of a target.

    Args:
        counts: by "what was changed|outcome".
        slowest, largest: seconds and bytes, each with the number of the input.
        faults: number and line.
    """

    counts: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, 0)
    largest: tuple[int, int] = (0, 0)
    faults: list[tuple[int, str]] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        return self.counts.total() + len(self.faults)

    def add(self, answer: dict[str, Any]) -> None:
        """Adds what a worker says of a chunk."""
        self.counts.update(answer["counts"])
        self.slowest = max(self.slowest, tuple(answer["slowest"]))
        self.largest = max(self.largest, tuple(answer["largest"]))
        self.faults += map(tuple, answer["faults"])


class Fleet:
    """Tries the inputs of a target on several processes.

    Args:
        told: called with the tally whenever it has changed.
    """

    def __init__(self, name: str, first: int, count: int, jobs: int, told: Callable[["Fleet"], None]) -> None:
        self.name, self.tally, self._told = name, Tally(), told
        ends = (*range(first + CHUNK, first + count, CHUNK), first + count)
        self._waiting = deque(zip((first, *ends[:-1]), ends, strict=True)) if count else deque()
        self._busy: set[tuple[int, int]] = set()
        self._lock, self._end, self._stopped = threading.Lock(), first + count, False
        self._failed: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(max(1, jobs))]

    @property
    def done_up_to(self) -> int:
        """The first input that has not been tried yet: a later command resumes there."""
        with self._lock:
            return min((first for first, _ in (*self._busy, *self._waiting)), default=self._end)

    def run(self) -> Tally:
        """Tries them all.

        Raises:
            RuntimeError: a worker cannot even start.
        """
        for thread in self._threads:
            thread.start()
        try:
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(0.2)
        finally:
            self._stopped = True
        if self._failed is not None:
            raise self._failed
        return self.tally

    def _take(self) -> tuple[int, int] | None:
        with self._lock:
            if not self._waiting or self._stopped:
                return None
            chunk = self._waiting.popleft()
            self._busy.add(chunk)
            return chunk

    def _work(self) -> None:
        try:
            self._work_on()
        except BaseException as error:
            self._failed, self._stopped = error, True

    def _work_on(self) -> None:
        with tempfile.NamedTemporaryFile() as current:
            worker: subprocess.Popen[str] | None = None
            while (chunk := self._take()) is not None:
                worker = self._chunk(worker, Path(current.name), *chunk)
                with self._lock:
                    self._busy.remove(chunk)
                self._told(self)
            if worker is not None:
                worker.communicate()

    def _chunk(
        self, worker: subprocess.Popen[str] | None, current: Path, first: int, end: int
    ) -> subprocess.Popen[str] | None:
        """Sees to one chunk, in parts around each input that takes the worker with it."""
        ranges = [(first, end)]
        while ranges:
            start, stop = ranges.pop()
            if start >= stop:
                continue
            worker = worker or self._started(current)
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(f"{start} {stop - start}\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
            if answer:
                with self._lock:
                    self.tally.add(json.loads(answer))
                current.write_bytes(b"")
                continue
            code, number = worker.wait(), int.from_bytes(current.read_bytes(), "little")
            worker = None
            if not start <= number < stop:
                raise RuntimeError(f"the worker of {self.name} ended with {code} before its first input")
            with self._lock:
                self.tally.faults.append(
                    (number, f"the process ended with {code}: it crashed, or did nothing for {DEADLY:.0f} s")
                )
            ranges += [(number + 1, stop), (start, number)]
        return worker

    def _started(self, current: Path) -> subprocess.Popen[str]:
        current.write_bytes(b"")
        command = [sys.executable, "-m", "tests.fuzzing.worker", self.name, str(current)]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=_watch, args=(worker, current), daemon=True).start()
        return worker


def _watch(worker: subprocess.Popen[str], current: Path) -> None:
    """Kills a worker that stays with one input, or never gets to its first."""
    before, since = b"", time.monotonic()
    while worker.poll() is None:
        time.sleep(0.5)
        try:
            now = current.read_bytes()
        except FileNotFoundError:  # all inputs have been tried
            return
        if now != before:
            before, since = now, time.monotonic()
        if time.monotonic() - since > (DEADLY if now else STARTING):
            worker.kill()
            return

"""A search that runs beside its caller, and hands out the networks that it wants evaluated.

`nas.searching.conduct.conduct` calls an executor; Ray Tune calls a search algorithm. Here the search has a thread of its own, whose executor
waits for results that the caller brings. Only one of the two ever works: the caller waits until the search wants results or has ended.
No ray, no optuna.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nas.executors import Executor, Job, Result, State
from search_spaces.architecture import Architecture
from search_spaces.errors import InputError

TRIES = 3
"""Failed evaluations of one network, after which the search ends."""


class Abandoned(Exception):
    """Ends the thread of a search that nobody wants any more."""


class Handing(Executor):
    """An executor whose jobs, architectures, are done by whoever asks for them.

    Args:
        workers: taken for the sake of the contract.
    """

    def __init__(self, workers: int = 1) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Architecture] = deque()
        self._results: dict[str, Any] = {}
        self._open: set[str] = set()
        self._failures: dict[str, int] = {}
        self._parked = self._ended = self._closed = False
        self._error: BaseException | None = None

    # The side of the search

    def map(
        self,
        setup: Callable[[], State],
        work: Callable[[State, Job], Result],
        jobs: Iterable[Job],
        *,
        weight: Callable[[Job], float] | None = None,
    ) -> Iterator[Result]:
        given: list[Any] = list(jobs)
        with self._changed:
            # In the order of the jobs, whatever their weight: the caller's workers may take different times for them.
            self._waiting.extend(given)
            self._open = {job.digest for job in given}
        for job in given:
            yield self._result(job.digest)

    def _result(self, digest: str) -> Any:
        with self._changed:
            while digest not in self._results:
                if self._closed:
                    raise Abandoned
                if self._failures.get(digest, 0) >= TRIES:
                    raise InputError(
                        f"network {digest} could not be evaluated: {TRIES} trials of Ray Tune failed, whose errors stand above and "
                        "in the files error.txt of the trials",
                        "trials that end with a result",
                        "the same search again, which resumes it, once the cause is removed",
                    )
                self._parked = True
                self._changed.notify_all()
                self._changed.wait()
            return self._results.pop(digest)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ended(self, error: BaseException | None) -> None:
        """The search is over, or has failed."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    # The side of the caller

    def next(self) -> Architecture | None:
        """The next network to evaluate; None where results of others are needed first.

        Raises:
            StopIteration: the search has ended.
            Exception: what it has failed with.
        """
        with self._changed:
            self._wait()
            if self._error is not None:
                raise self._error
            if self._waiting:
                return self._waiting.popleft()
            if not self._ended:
                return None
            raise StopIteration

    def give(self, digest: str, result: Any) -> None:
        """The result of a network, which the search has taken, and written down as far as it is its turn, when this returns.

        A network that the search does not wait for is passed over.
        """
        with self._changed:
            self._wait()
            if digest not in self._open:
                return
            self._open.discard(digest)
            # It may come from another trial than the one that it would have been handed out to.
            self._waiting = deque(job for job in self._waiting if job.digest != digest)
            self._results[digest] = result
            self._wake()

    def fail(self, job: Architecture) -> None:
        """A network could not be evaluated. It is handed out again, some times."""
        with self._changed:
            self._wait()
            if job.digest in self._open and job not in self._waiting:
                self._failures[job.digest] = self._failures.get(job.digest, 0) + 1
                if self._failures[job.digest] < TRIES:
                    self._waiting.appendleft(job)
                self._wake()

    def _wake(self) -> None:
        """Lets the search work until it waits again."""
        self._parked = False
        self._changed.notify_all()
        self._wait()

    def _wait(self) -> None:
        while not (self._parked or self._ended):
            self._changed.wait()

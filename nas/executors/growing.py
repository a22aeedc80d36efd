"""The executor for many short jobs of unknown length: this process first, several once the work has shown that it is long.

Starting processes that import torch takes a few seconds each. A search that ends sooner is faster without them; one that has
worked for about as long as they need is at most twice as slow as if it had known.
"""

import time
from collections.abc import Callable, Iterable, Iterator

from nas.executors import Executor, Job, Result, State
from nas.executors.guard import Words
from nas.executors.here import Here
from nas.executors.processes import Processes


class Growing(Executor):
    """
    Args:
        workers: the most processes.
        words: as for `Processes`.
        patience: seconds of work in this process; with 0, the others do all of it.
    """

    def __init__(self, workers: int, *, words: Words | None = None, patience: float = 0.0) -> None:
        self._here, self._processes = Here(), Processes(workers, words=words)
        self._patience, self._spent = patience, 0.0

    def map(
        self,
        setup: Callable[[], State],
        work: Callable[[State, Job], Result],
        jobs: Iterable[Job],
        *,
        weight: Callable[[Job], float] | None = None,
    ) -> Iterator[Result]:
        given = list(jobs)
        while given and self._spent < self._patience:
            start = time.monotonic()
            [result] = self._here.map(setup, work, given[:1])
            self._spent += time.monotonic() - start
            del given[0]
            yield result
        if given:
            self._here.close()  # its state would be there beside those of the processes
            yield from self._processes.map(setup, work, given, weight=weight)

    def close(self) -> None:
        self._here.close()
        self._processes.close()

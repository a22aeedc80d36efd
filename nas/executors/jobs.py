"""The jobs of one map: which is handed out next, and the results of those that are done, in the order of the jobs.

What every executor with workers has in common. Standard library only.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nas.executors.worker import ERROR


class Queue:
    """
    Args:
        jobs: in the order of their results.
        weight: how long a job takes, in any unit: the longest are handed out first. In their order if left out.
        dumps: pickles a job.
    """

    def __init__(
        self, jobs: Sequence[Any], weight: Callable[[Any], float] | None, dumps: Callable[[Any], bytes]
    ) -> None:
        self._jobs, self._dumps = jobs, dumps
        places = range(len(jobs))
        self._waiting = deque(places if weight is None else sorted(places, key=lambda place: -weight(jobs[place])))
        self._done: dict[int, tuple[str, Any]] = {}
        self._given = 0

    def __len__(self) -> int:
        """Jobs that have not been handed out."""
        return len(self._waiting)

    @property
    def is_finished(self) -> bool:
        """Whether every result has been given."""
        return self._given == len(self._jobs)

    def next(self) -> tuple[int, bytes] | None:
        """A job to be handed out: its place and itself, pickled; None if there is none.

        Nothing after a job that has failed: its result would not be seen. A job that cannot be pickled has failed.
        """
        failed = min((place for place, (what, _) in self._done.items() if what == ERROR), default=len(self._jobs))
        while self._waiting:
            place = self._waiting.popleft()
            if place > failed:
                continue
            try:
                return place, self._dumps(self._jobs[place])
            except Exception as error:
                self._done[place], failed = (ERROR, error), place
        return None

    def again(self, place: int) -> None:
        """A job that was handed out is handed out once more, before all others."""
        self._waiting.appendleft(place)

    def finish(self, place: int, what: str, value: Any) -> None:
        """What has come of a job: `nas.executors.worker.RESULT` with its result, or ERROR with an exception."""
        self._done[place] = what, value

    def results(self, advance: Callable[[bool], None], is_current: Callable[[], bool]) -> Iterator[Any]:
        """The results, in the order of the jobs.

        Args:
            advance: takes what workers have to say and hands out jobs. It is given whether to wait for a worker.
            is_current: whether the map continues.

        Raises:
            RuntimeError: it does not.
            Exception: what the first job that failed raised.
        """
        for place in range(len(self._jobs)):
            if not is_current():
                raise RuntimeError("these results ended when the executor was closed, or began with other jobs")
            advance(False)
            while place not in self._done:
                advance(True)
            what, value = self._done.pop(place)
            if what == ERROR:
                raise value
            self._given += 1
            yield value

"""The executor that starts nothing: jobs are done by this process, one after another, each when its result is asked for."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from nas.executors import Executor, Job, Result, State


class Here(Executor):
    """
    Args:
        workers: taken for the sake of the contract; there is one.
    """

    def __init__(self, workers: int = 1) -> None:
        self._made: tuple[Callable[[], Any], Any] | None = None

    def map(
        self,
        setup: Callable[[], State],
        work: Callable[[State, Job], Result],
        jobs: Iterable[Job],
        *,
        weight: Callable[[Job], float] | None = None,
    ) -> Iterator[Result]:
        for job in jobs:
            yield work(self._state(setup), job)

    def _state(self, setup: Callable[[], State]) -> State:
        if self._made is None or self._made[0] is not setup:
            self._made = None  # before the next is made: there is never room for two
            self._made = (setup, setup())
        return self._made[1]

    def close(self) -> None:
        self._made = None

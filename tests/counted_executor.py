"""An executor that writes down what its workers have evaluated, for faults.py."""

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from nas.executors import Executor, make_executor


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

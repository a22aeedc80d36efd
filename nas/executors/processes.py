"""The executor of several processes on this machine.

Workers are started when there is work and kept from one map to the next. All of them are watched by the caller's own thread, while
it waits for a result; nothing but pipes connects them, so nothing is left behind however the pool ends.
"""

import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, util
from pathlib import Path
from typing import Any

from nas.executors import Executor, Job, Result, State
from nas.executors.guard import Words, check_guarded, importable_by_others, is_command_line, new_mark, told
from nas.executors.jobs import Queue
from nas.executors.shared import NoSharedMemory, Packed, pack
from nas.executors.worker import END, ERROR, IMPORTED, RESULT, serve
from search_spaces.errors import InputError

PATIENCE = 5.0
"""Seconds for a worker to end by itself before it is killed."""


class _Worker:
    """One process of a pool, as the pool sees it.

    job: the index of the job that it does, None when it waits for one.
    ready: whether it has its state.
    told: the map whose `work` it has.
    """

    def __init__(self, number: int, packed: Packed) -> None:
        self.connection, theirs = multiprocessing.get_context("spawn").Pipe()
        self.packed: Packed | None = packed
        self.imported = self.ready = False
        self.job: int | None = None
        self.told = 0
        self.process = multiprocessing.get_context("spawn").Process(
            target=serve, args=(theirs, os.getpid(), packed.block), name=f"nas-worker-{number}"
        )
        try:
            with no_interrupts():
                self.process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()  # so that the end of the worker ends the pipe


@contextmanager
def no_interrupts() -> Iterator[None]:
    """Processes that are started meanwhile do not get Ctrl-C until they ask for it: one traceback is enough."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: list[_Worker]) -> None:
    """Ends workers at once, and waits until they are gone."""
    for worker in workers:
        if worker.ready and worker.job is None:
            with suppress(OSError):
                worker.connection.send_bytes(END)
        else:
            worker.process.terminate()
    while workers:  # one by one, as Ctrl-C may come once more
        worker = workers[-1]
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.connection.close()
        workers.pop().process.close()


class Processes(Executor):
    """A pool of processes with one torch thread each, unless the setup takes another number.

    `setup`, `work`, jobs and results are pickled. Tensors on the CPU that `setup` holds are in memory once for all workers, as they
    were when the first of them was started: a setup of large weights holds them, and is the same object from one map to the next;
    no work may write to them. Tensors on another device are copied to it by each worker. Not safe for threads.

    Args:
        workers: the most processes; no more are started than there are jobs.
        words: how messages call the work.
    """

    def __init__(self, workers: int, *, words: Words | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}")
        self.words = words or Words()
        self._most = workers
        self._workers: list[_Worker] = []
        self._setup: Callable[[], Any] | None = None
        self._packed: Packed | None = None
        self._mark: Path = new_mark()
        self._owner = os.getpid()
        self._started = 0
        self._turn = 0
        self._running = False
        # Also when the interpreter ends, and before multiprocessing waits for its children.
        self._finalizer = util.Finalize(self, _end, args=(self._workers,), exitpriority=15)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes that are there now."""
        return tuple(worker.process.pid or 0 for worker in self._workers)

    def map(
        self,
        setup: Callable[[], State],
        work: Callable[[State, Job], Result],
        jobs: Iterable[Job],
        *,
        weight: Callable[[Job], float] | None = None,
    ) -> Iterator[Result]:
        given = list(jobs)
        if not given:
            return
        if self._running or self._setup is not setup:
            self.close()
        self._turn += 1
        turn, self._running = self._turn, True
        try:
            function = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
            self._start(setup, min(self._most, len(given)))
            queue = Queue(given, weight, lambda job: pickle.dumps(job, pickle.HIGHEST_PROTOCOL))

            def advance(wait: bool) -> None:
                self._collect(queue, None if wait else 0)
                self._hand_out(queue, function)

            for value in queue.results(advance, lambda: self._turn == turn):
                if queue.is_finished:
                    self._running = False  # also where the caller does not ask whether there is another result
                yield value
        finally:
            if self._turn == turn and self._running:  # an error, or the caller wants no more
                self.close()

    def close(self) -> None:
        if os.getpid() != self._owner:  # a fork of the process whose workers they are
            return
        self._turn += 1
        self._running = False
        self._setup = self._packed = None
        _end(self._workers)
        self._mark.unlink(missing_ok=True)

    def _start(self, setup: Callable[[], Any], wanted: int) -> None:
        """Starts what is missing of the workers that are wanted."""
        if self._packed is None:
            check_guarded()
            if not importable_by_others():
                raise self.words.from_standard_input()
            try:
                self._packed = pack(setup)
            except NoSharedMemory as error:
                raise InputError(
                    f"the processes that {self.words.doing} need {error.args[0] / 2**20:,.0f} MiB of shared memory, and there "
                    "is no room for it",
                    "room in /dev/shm, which containers limit (docker run --shm-size)",
                    f"{self.words.single}, which starts no processes",
                ) from None
            self._setup, self._started = setup, 0
        with told(self.words, self._mark):
            while len(self._workers) < wanted:
                self._started += 1
                self._workers.append(_Worker(self._started, self._packed))

    def _hand_out(self, queue: Queue, function: bytes) -> None:
        """Gives jobs to workers that wait for one."""
        for worker in self._workers:
            if not worker.ready or worker.job is not None:
                continue
            if (found := queue.next()) is None:
                return
            new = worker.told != self._turn
            (worker.job, job), worker.told = found, self._turn
            self._send(worker, pickle.dumps((function if new else None, job), pickle.HIGHEST_PROTOCOL))

    def _collect(self, queue: Queue, timeout: float | None) -> None:
        """Takes what workers have to say; waits for it at most `timeout` seconds, or until there is something.

        Raises:
            InputError: a worker is gone.
            Exception: what the setup raised.
        """
        by_connection = {worker.connection: worker for worker in self._workers}
        found = connection.wait(by_connection, 1.0 if timeout is None else timeout)
        if not found and timeout is None:
            for worker in self._workers:  # whose pipe may be held open by processes that it has started itself
                if not worker.process.is_alive() and not worker.connection.poll():
                    raise self._why(worker)
        for one in found:
            self._take(by_connection[one], queue)  # type: ignore[index]

    def _take(self, worker: _Worker, queue: Queue) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            raise self._why(worker) from None
        what, value, text = pickle.loads(message)
        if text:
            value.add_note(f"\nIn a process of its own:\n\n{text}")
        if what == IMPORTED:
            worker.imported = True
            assert self._packed is not None
            self._send(worker, self._packed.pickled)
        elif worker.job is not None and what in (RESULT, ERROR):
            queue.finish(worker.job, what, value)
            worker.job = None
        elif what == ERROR:  # of the setup
            raise value
        else:
            worker.ready = True

    def _send(self, worker: _Worker, message: bytes) -> None:
        try:
            worker.connection.send_bytes(message)
        except OSError:
            raise self._why(worker) from None

    def _why(self, worker: _Worker) -> InputError:
        """Why a worker ended without a result: the operating system, or a script that no other process can import."""
        worker.process.join(PATIENCE)
        if self._mark.exists():
            return self.words.unguarded()
        killed = sys.platform != "win32" and (worker.process.exitcode or 0) < 0
        if not worker.imported and not killed and not is_command_line():
            return self.words.cannot_import()
        return self.words.ended_from_outside()

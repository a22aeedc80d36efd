"""The processes that train a supernet together: those that a launcher such as torchrun has started, or those that this one starts.

    with started_group(size, device, follow, config) as ranks:      # ranks.size is 1 where this process trains alone
        train_supernet(run, ranks)

Processes on this machine meet at a store of torch.distributed on 127.0.0.1. They exchange by gloo on CPUs and by NCCL on GPUs.
"""

import multiprocessing
import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from nas.executors.guard import VARIABLE, Words, importable_by_others, is_command_line, new_mark, told
from nas.executors.processes import PATIENCE, no_interrupts
from nas.executors.worker import ERROR, attempt, end_with
from nas.machine.environment import variable
from search_spaces.errors import InputError
from supernet.ranks import ALONE, DistributedRanks, LostRankError, Ranks

MEETING = timedelta(seconds=120)
"""How long processes that are ready wait for each other before training."""

READING = timedelta(hours=12)
"""How long a process waits for the others at most: one of them reads the images of a new run, which may take hours."""

READY = "ready"

WORDS = Words(
    doing="train the supernet",
    single="a new run with train.processes=1",
    ended=(
        "one of the processes that train the supernet was ended from outside, most often because memory ran out",
        "memory for all processes; the run is whole, and resumes from its last checkpoint",
        "the same command, or a new run with fewer processes: run=runs/new train.processes=1",
    ),
)


@dataclass(frozen=True)
class Launched:
    """What a launcher such as torchrun says of this process in its environment.

    Args:
        rank, size: number of this process among all, and how many there are.
        local: its number on this machine.
    """

    rank: int
    size: int
    local: int


def launched() -> Launched | None:
    """What a launcher says of this process; None where none has started it.

    Raises:
        InputError: RANK and WORLD_SIZE are set, and the rest is not, or one of them is no number.
    """
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    values = {name: os.environ.get(name, "") for name in names}
    if not values["RANK"] or not values["WORLD_SIZE"]:
        return None
    local = os.environ.get("LOCAL_RANK", "0")
    missing = [name for name in names if not values[name]]
    numbers = {name: text for name, text in {**values, "LOCAL_RANK": local}.items() if name != "MASTER_ADDR" and text}
    wrong = [f"{name}={text}" for name, text in numbers.items() if not text.isdecimal()]
    if missing or wrong:
        raise InputError(
            f"the environment has RANK={values['RANK']}, and {', '.join(missing) or wrong[0]} is "
            + ("not set" if missing else "no number"),
            "RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT as torchrun sets them, or none of them",
            "torchrun --nproc-per-node=2 -m nas.cli train ..., or unset RANK",
        )
    return Launched(int(values["RANK"]), int(values["WORLD_SIZE"]), int(local))


@contextmanager
def launched_group(one: Launched, device: torch.device) -> Iterator[Ranks]:
    """The group of the processes that a launcher has started.

    Args:
        device: of this process.

    Raises:
        InputError: another process has ended.
    """
    try:
        with _group(device, None, one.rank, one.size) as ranks:
            yield ranks
    except LostRankError:
        raise InputError(
            f"another of the {one.size} processes that train together has ended; its own error stands above, if there is one",
            "processes that are there until training ends; the run is whole, and resumes from its last checkpoint",
            "the same command",
        ) from None


@contextmanager
def started_group(
    size: int, device: torch.device, work: Callable[[Any, Ranks], None], argument: Any
) -> Iterator[Ranks]:
    """This process as rank 0 of a group, the others of which are started here and ended on leaving.

    Args:
        size: processes in all; with 1 nothing is started.
        device: of this process.
        work: what the others do, with `argument` and their ranks. Both are pickled.

    Raises:
        InputError: a process was ended from outside, or cannot import the script of this one.
        Exception: what `work` raised in another process, where this one could not continue for that reason.
    """
    if size == 1:
        yield ALONE
        return
    peers = _Peers(size, device, work, argument)
    try:
        with _group(device, peers.meet(), 0, size) as ranks:
            yield ranks
        peers.wait()
    except LostRankError:
        raise peers.why() from None
    finally:
        peers.end()


@contextmanager
def _group(device: torch.device, store: TCPStore | None, rank: int, size: int) -> Iterator[DistributedRanks]:
    """Makes torch.distributed's default group, and removes it on leaving.

    Args:
        device: of this process.
        store: where the processes meet; None where the environment says it.

    Raises:
        LostRankError: the others are not there.
    """
    backend = "nccl" if device.type == "cuda" else "gloo"
    # The name of this machine may have no address that it can reach.
    loopback = variable("GLOO_SOCKET_IFNAME", "lo") if store is not None and _has_loopback() else nullcontext()
    try:
        with loopback:
            where = "env://" if store is None else None
            distributed.init_process_group(backend, where, READING, size, rank, store)
    except (RuntimeError, ValueError) as error:
        raise LostRankError(str(error).splitlines()[0]) from error
    try:
        yield DistributedRanks(device)
    finally:
        with suppress(Exception):  # of processes that are gone
            distributed.destroy_process_group()


def _has_loopback() -> bool:
    if "GLOO_SOCKET_IFNAME" in os.environ or not hasattr(socket, "if_nameindex"):
        return False
    return "lo" in [name for _, name in socket.if_nameindex()]


class _Peers:
    """The other processes, as the one that starts them sees them."""

    def __init__(self, size: int, device: torch.device, work: Callable[[Any, Ranks], None], argument: Any) -> None:
        if not importable_by_others():
            raise WORDS.from_standard_input()
        self._size = size
        self._mark: Path = new_mark()
        self._errors: list[BaseException] = []
        self._heard = 0
        self._pipes: list[connection.Connection] = []
        self._processes: list[Any] = []
        context = multiprocessing.get_context("spawn")
        payload = pickle.dumps((work, argument))
        try:
            with told(WORDS, self._mark), no_interrupts():
                for rank in range(1, size):
                    ours, theirs = context.Pipe()
                    self._pipes.append(ours)
                    arguments = (theirs, os.getpid(), rank, size, device.type, payload)
                    self._processes.append(context.Process(target=_serve, args=arguments, name=f"nas-rank-{rank}"))
                    self._processes[-1].start()
                    theirs.close()  # so that the end of the process ends the pipe
        except BaseException:
            self.end()
            raise

    def meet(self) -> TCPStore:
        """Waits until all others are ready, and tells them where to meet.

        Raises:
            LostRankError: one of them is gone.
        """
        waiting = set(self._pipes)
        while waiting:
            for pipe in connection.wait(waiting):
                if not self._hear(pipe):
                    raise LostRankError("a process ended before it was ready")
                waiting.discard(pipe)  # type: ignore[arg-type]
        store = TCPStore("127.0.0.1", 0, self._size, True, MEETING, wait_for_workers=False)
        for pipe in self._pipes:
            try:
                pipe.send(store.port)
            except OSError:
                raise LostRankError("a process ended before it was told where to meet") from None
        return store

    def wait(self) -> None:
        """Waits for the others to end by themselves."""
        for process in self._processes:
            process.join(PATIENCE)

    def why(self) -> BaseException:
        """Why a process is gone: what it said of itself, or what is known of one that said nothing."""
        there, end = set(self._pipes), time.monotonic() + PATIENCE
        while there and (left := end - time.monotonic()) > 0:
            for pipe in connection.wait(there, left):
                if not self._hear(pipe):
                    there.discard(pipe)  # type: ignore[arg-type]
            # Those that only lost another process say so too.
            if said := [error for error in self._errors if not isinstance(error, LostRankError)]:
                return said[0]
        if self._mark.exists():
            return WORDS.unguarded()
        killed = sys.platform != "win32" and any((process.exitcode or 0) < 0 for process in self._processes)
        if self._heard < self._size - 1 and not killed and not is_command_line():
            return WORDS.cannot_import()
        return WORDS.ended_from_outside()

    def _hear(self, pipe: Any) -> bool:
        """Takes what a process says. Returns whether it continues."""
        try:
            what, value, text = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return False
        if what == ERROR:
            if text:
                value.add_note(f"\nIn a process of its own:\n\n{text}")
            self._errors.append(value)
            return False
        self._heard += 1
        return True

    def end(self) -> None:
        """Ends the others at once, and waits until they are gone."""
        started = [process for process in self._processes if process.pid is not None]
        for process in started:
            process.terminate()
        for process in started:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        for pipe in self._pipes:
            pipe.close()
        self._mark.unlink(missing_ok=True)


def _serve(pipe: Any, parent: int, rank: int, size: int, device: str, payload: bytes) -> None:
    """The life of another process, which ends with the one that started it.

    Args:
        device: the type of its device.
        payload: what it does, and with what.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started it gets it too, and ends the others
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with(parent)
    os.environ.pop(VARIABLE, None)

    def do() -> None:
        work, argument = pickle.loads(payload)
        pipe.send_bytes(pickle.dumps((READY, None, "")))
        store = TCPStore("127.0.0.1", pipe.recv(), size, False, MEETING)
        with _group(
            torch.device(device, rank) if device == "cuda" else torch.device(device), store, rank, size
        ) as ranks:
            work(argument, ranks)

    reply = attempt(do, READY)
    if pickle.loads(reply)[0] == ERROR:
        with suppress(OSError):
            pipe.send_bytes(reply)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # without taking torch apart, which is slow

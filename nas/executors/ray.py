"""The executor of a Ray cluster: actors that are kept from map to map, one per processor or GPU, on any of its nodes.

The setup is put into the cluster once, and fetched once by each node, whose actors share its tensors. An actor or a node that dies
costs what it was working on, which another does again; results, their order and the first error are those of any other executor.
"""

import os
import pickle
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from ray.exceptions import ObjectStoreFullError, RayError, RayTaskError

from nas.executors import Executor, Job, Result, State
from nas.executors.actor import Place, actor_class, difference, identity
from nas.executors.cluster import cloudpickle, drop, join, leave, ray
from nas.executors.guard import Words
from nas.executors.jobs import Queue
from nas.executors.shared import array_of, pack
from nas.executors.worker import ERROR
from nas.log import say
from search_spaces.errors import InputError

TRIES = 5
"""Actors that one job, or the setup, may see die. It is taken for the cause after that."""

PATIENCE = 5.0
"""Seconds to wait for what was killed."""

SILENCE = 30.0
"""Seconds without an actor that works, after which it is said what is waited for."""

ASKED, PREPARING, IDLE, BUSY = "asked who it is", "preparing", "idle", "busy"


class _Actor:
    """One actor, as the pool sees it.

    state: what it does, one of the names above. reply: of what it was asked last.
    job: the index of the job that it does.
    told: the map whose work it has. prepared: the number of the setup whose state it has.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self.state, self.reply = ASKED, handle.about.remote()
        self.job, self.told, self.prepared = -1, 0, 0
        self.host, self.pid, self.here = "a node that has not answered", 0, False


class Ray(Executor):
    """Work on a Ray cluster, which is joined when there is work and left by `close`: see `nas.executors.cluster.join`.

    Setups, works, jobs and results are pickled as Ray does it, so scripts need no guard. Tensors of a setup are read-only, and in memory
    once per node. Every node needs this project in this version; images and the folder of the run must be found at the same paths
    where the work reads them. Not safe for threads.

    Args:
        workers: the most actors. Where the cluster has no room for all of them, those that there is room for do the work.
        words: how messages call the work.
        gpus: whether each actor needs a GPU, or its share of one where there are fewer GPUs than workers.
    """

    def __init__(self, workers: int, *, words: Words | None = None, gpus: bool = False) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}")
        self.words = words or Words(single="executor=here")
        self._most, self._gpus = workers, gpus
        self._actors: list[_Actor] = []
        self._joined = False
        self._class: Any = None
        self._setup: Callable[[], Any] | None = None
        self._packed: tuple[bytes, Any] = (b"", None)
        self._setups = self._turn = self._failed_setups = 0
        self._running = False
        self._heard = 0.0
        self._owner = os.getpid()

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the actors that have answered."""
        return tuple(actor.pid for actor in self._actors if actor.pid)

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
        if self._running:
            self._abandon()
        self._turn += 1
        turn, self._running = self._turn, True
        try:
            self._take_setup(setup)
            function = cloudpickle.dumps(work)
            queue = Queue(given, weight, cloudpickle.dumps)
            deaths: Counter[int] = Counter()
            self._heard = time.monotonic()

            def advance(wait: bool) -> None:
                if wait:
                    self._start(len(queue))
                    self._hand_out(queue, function)
                self._collect(queue, deaths, 1 if wait else 0)
                if not wait:
                    self._hand_out(queue, function)

            for value in queue.results(advance, lambda: self._turn == turn):
                if queue.is_finished:
                    self._running = False  # also where the caller does not ask whether there is another result
                yield value
        finally:
            if self._turn == turn and self._running:  # an error, or the caller wants no more
                self._abandon()

    def close(self) -> None:
        if os.getpid() != self._owner:  # a fork of the process whose actors they are
            return
        self._turn += 1
        self._running = False
        self._setup, self._packed = None, (b"", None)
        self._end(self._actors)
        self._actors = []
        if self._joined:
            self._joined = False
            leave()
        else:
            drop()

    def _abandon(self) -> None:
        """Ends the actors that work for a map that nobody wants any more. The others keep their state."""
        self._turn += 1
        self._running = False
        self._end([actor for actor in self._actors if actor.state == BUSY])
        self._actors = [actor for actor in self._actors if actor.state != BUSY]

    def _end(self, actors: list[_Actor]) -> None:
        """Kills actors, and waits until those of this machine are gone."""
        if not ray.is_initialized():  # the caller has left the cluster, which has ended them
            return
        for actor in actors:
            with suppress(RayError, ValueError):
                ray.kill(actor.handle)
        end = time.monotonic() + PATIENCE
        for actor in actors:
            while actor.here and actor.pid and _alive(actor.pid) and time.monotonic() < end:
                time.sleep(0.005)

    def _take_setup(self, setup: Callable[[], Any]) -> None:
        """Puts a setup into the cluster, if it is another than the last one."""
        if self._joined and not ray.is_initialized():  # the caller has left the cluster, which has ended the actors
            self._joined, self._actors, self._setup = False, [], None
        if not self._joined:
            join(self._most)
            self._joined = True
        if self._setup is setup:
            return
        packed = pack(setup, pickler=cloudpickle.CloudPickler, new=_memory)
        try:
            block = None if packed.block is None else ray.put(array_of(packed.block))
        except ObjectStoreFullError as error:
            raise InputError(
                f"the setup of those that {self.words.doing} does not fit into Ray's object store ({_first_line(error)})",
                "room in the object store of every node",
                "ray start --object-store-memory=BYTES with more of them, or executor=processes",
            ) from None
        self._setup, self._packed = setup, (packed.pickled, block)
        self._setups += 1
        self._failed_setups = 0

    def _start(self, waiting: int) -> None:
        """Starts what is missing of the actors that the jobs need."""
        busy = sum(actor.state == BUSY for actor in self._actors)
        while len(self._actors) < min(self._most, waiting + busy):
            if self._class is None:
                gpus = ray.cluster_resources().get("GPU", 0) if self._gpus else 0
                self._class = ray.remote(
                    num_cpus=1, num_gpus=min(1.0, gpus / self._most), max_restarts=0, scheduling_strategy="SPREAD"
                )(actor_class())
            place = Place(os.getcwd(), tuple(os.path.abspath(entry) for entry in sys.path))
            self._actors.append(_Actor(self._class.remote(place.folder, place.path)))

    def _hand_out(self, queue: Queue, function: bytes) -> None:
        """Gives work to the actors that wait for it."""
        for actor in self._actors:
            if actor.state != IDLE or not len(queue):
                continue
            if actor.prepared != self._setups:
                self._prepare(actor)
            elif (found := queue.next()) is not None:
                new = actor.told != self._turn
                (actor.job, job), actor.told, actor.state = found, self._turn, BUSY
                actor.reply = actor.handle.do.remote(function if new else None, job)

    def _prepare(self, actor: _Actor) -> None:
        actor.state, actor.told, actor.prepared = PREPARING, 0, self._setups
        actor.reply = actor.handle.prepare.remote(*self._packed)

    def _collect(self, queue: Queue, deaths: Counter[int], timeout: float) -> None:
        """Takes what an actor has to say; waits for it at most `timeout` seconds.

        Raises:
            InputError: a node has not what is needed, or the setup has ended as many actors as it may.
            Exception: what the setup raised.
        """
        by_reply = {actor.reply: actor for actor in self._actors if actor.state != IDLE}
        if not by_reply:
            return
        ready, _ = ray.wait(list(by_reply), timeout=timeout)
        if not ready and time.monotonic() - self._heard > SILENCE and all(a.state == ASKED for a in self._actors):
            self._heard = time.monotonic()
            free, every = (found().get("CPU", 0) for found in (ray.available_resources, ray.cluster_resources))
            say(
                f"executor=ray: waiting for a worker ({free:g} of {every:g} processors of the cluster are free)",
                sys.stderr,
            )
        for reply in ready:
            self._heard = time.monotonic()
            self._take(by_reply[reply], queue, deaths)

    def _take(self, actor: _Actor, queue: Queue, deaths: Counter[int]) -> None:
        """Takes the reply of an actor, or its death."""
        was = actor.state
        try:
            reply: Any = ray.get(actor.reply)
        except RayTaskError:
            raise  # of the pool itself, or a reply that cannot be read
        except RayError as error:
            self._lost(actor, error)
            if was == BUSY:
                deaths[actor.job] += 1
                if deaths[actor.job] >= TRIES:
                    queue.finish(actor.job, ERROR, self._ended(actor, error, TRIES))
                else:
                    queue.again(actor.job)
            return
        actor.state = IDLE
        if was == ASKED:
            if isinstance(reply, dict):
                self._check(actor, reply)
            return
        what, value, text = pickle.loads(reply)
        if text:
            value.add_note(f"\nOn {actor.host}, in a process of its own:\n\n{text}")
        if was == BUSY:
            queue.finish(actor.job, what, value)
        elif what == ERROR:  # of the setup
            given, actor.prepared = actor.prepared, 0
            if given == self._setups:  # and not of one that somebody has given up
                raise value
        else:
            self._failed_setups = 0

    def _check(self, actor: _Actor, about: dict[str, Any]) -> None:
        """Whether an actor is on a node with this project in this version.

        Raises:
            InputError: it is not.
        """
        import socket

        actor.pid, actor.host = about["pid"], about["host"]
        actor.here = actor.host == socket.gethostname()
        if about["missing"]:
            raise InputError(
                f"executor=ray: node {actor.host} cannot import this project ({about['missing']})",
                "nodes that all have it installed, in this version, with its requirements",
                f'pip install "hybrid-mixer-nas[ray]" in the environment of {actor.host} that runs ray start, or executor=processes',
            )
        theirs, ours = about["identity"], identity()
        if different := difference(theirs, ours):
            raise InputError(
                f"executor=ray: node {actor.host} has {different} {theirs.get(different)}, and this process has {ours[different]}",
                "the same versions on all nodes, so that results are equal",
                f"the same environment on {actor.host}, where ray start runs in it, or executor=processes",
            )

    def _lost(self, actor: _Actor, error: RayError) -> None:
        """An actor is dead: another is started for it, and those that wait have to say whether they live.

        Raises:
            InputError: the setup has ended as many as it may.
        """
        self._actors.remove(actor)
        with suppress(RayError, ValueError):
            ray.kill(actor.handle)  # it may only be out of reach, and would continue its job
        for other in self._actors:
            if other.state == IDLE:
                other.state, other.reply = ASKED, other.handle.ping.remote()
        if actor.state in (ASKED, PREPARING):
            self._failed_setups += 1
            if self._failed_setups >= TRIES + self._most:
                raise self._ended(actor, error, self._failed_setups)
        doing = "its job is done again" if actor.state == BUSY else "another is started"
        say(f"executor=ray: a worker on {actor.host} has ended ({_first_line(error)}); {doing}", sys.stderr)

    def _ended(self, actor: _Actor, error: RayError, number: int) -> InputError:
        """The error of what has ended so many actors, one after another."""
        given, allowed, instead = self.words.ended or (
            f"the processes that {self.words.doing} were ended from outside, most often because memory ran out",
            "memory for all processes that work at once on a node",
            f"the same command with {self.words.single}, or executor=processes",
        )
        tries = f"; {number} workers of the cluster in turn, the last on {actor.host}: {_first_line(error)}"
        return InputError(given + tries, allowed, instead)


def _memory(size: int) -> Any:
    """Ordinary memory, from which Ray copies."""
    import torch

    return torch.UntypedStorage(size)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _alive(pid: int) -> bool:
    with suppress(OSError):
        os.kill(pid, 0)
        return True
    return False

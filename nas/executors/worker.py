"""A process of the pool: says that it has started, gets the setup, makes its state, and does one job after another.

Standard library only: a worker imports what its setup and its work import. Everything goes through one pipe, as bytes:

    to the pool      (what, value, the text of a traceback); `what` is one of the names below
    from the pool    the setup, then (work, or None for the one before, job), and END
"""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NoReturn

from nas.executors.guard import VARIABLE
from nas.executors.shared import Block, unpack
from nas.machine.ending import end
from search_spaces.errors import InputError

IMPORTED, READY, RESULT, ERROR = "imported", "ready", "result", "error"
END = b""


def serve(connection: Connection, parent: int, block: Block | None) -> NoReturn:
    """The life of a worker, whose process ends when the pool closes the pipe.

    Args:
        connection: to the pool.
        parent: the process that has the pool; a worker never outlives it.
        block: with the tensors of the setup.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pool gets it too, and ends its workers
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with(parent)
    os.environ.pop(VARIABLE, None)
    # One thread each, where torch is not loaded yet and where it is; a setup may take another number.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    try:
        connection.send_bytes(pickle.dumps((IMPORTED, None, "")))
        first = connection.recv_bytes()
        state: Any = None

        def prepare() -> None:
            nonlocal state
            setup = unpack(first, block)
            if torch := sys.modules.get("torch"):
                torch.set_num_threads(1)
            state = setup()

        reply = attempt(prepare, READY)
        connection.send_bytes(reply)
        work: Callable[[Any, Any], Any] = _no_work
        while (message := connection.recv_bytes()) != END:

            def do(message: bytes = message) -> Any:
                nonlocal work
                function, job = pickle.loads(message)
                if function is not None:
                    work = pickle.loads(function)
                return work(state, pickle.loads(job))

            connection.send_bytes(attempt(do, RESULT))
    except (EOFError, OSError):  # the pool is gone
        pass
    end(0)


def _dumps(value: Any) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def attempt(do: Callable[[], Any], what: str, dumps: Callable[[Any], bytes] = _dumps) -> bytes:
    """What the pool is told of doing something: (what, its result, ""), or (ERROR, the exception, its traceback).

    Args:
        dumps: pickles the result, or the exception.
    """
    try:
        return dumps((what, do(), ""))
    except BaseException as error:
        text = "" if isinstance(error, InputError) else traceback.format_exc()
        try:
            pickled = dumps((ERROR, error, text))
            pickle.loads(pickled)  # some are pickled without complaint and cannot be read
            return pickled
        except Exception:
            return dumps((ERROR, RuntimeError(f"{type(error).__name__}: {error}"), text))


def _no_work(state: Any, job: Any) -> Any:
    raise AssertionError("a job came before its work")


def end_with(parent: int) -> None:
    """Ends this process when its parent is gone: a killed run must not continue to write."""
    known = multiprocessing.parent_process()

    def watch() -> None:
        while os.getppid() == parent and (known is None or known.is_alive()):
            threading.Event().wait(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

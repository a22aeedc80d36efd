"""Joining a Ray cluster: that of RAY_ADDRESS, else the one that `ray start` has started on this machine, else this machine's cores.

The modules of this folder that are about Ray, and those of `nas.tuning`, are the only ones that import it.
"""

import importlib
import logging
import os
import socket
from typing import Any

from nas import machine
from search_spaces.errors import InputError

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reads it when it is imported; nothing is sent anywhere

import ray

cloudpickle: Any = importlib.import_module("ray.cloudpickle")
"""Pickles what cannot be imported elsewhere, such as the functions of a script, as Ray does it."""

PATIENCE = 10.0
"""Seconds for the head of a cluster to answer."""

_users = 0
_ours = False
_kept = False


def join(workers: int = 1) -> None:
    """Connects this process to a cluster, unless it is connected; a cluster of local cores is started where there is none.

    Every `join` needs a `leave`.

    Args:
        workers: processes that the cores of a local cluster must have room for.

    Raises:
        InputError: the cluster of RAY_ADDRESS, or of `ray start`, does not answer.
    """
    global _users, _ours, _kept
    if not ray.is_initialized():
        _connect(workers)
        _ours, _users, _kept = True, 0, False
    if _kept:  # the connection of `slots` gets its user
        _kept = False
    else:
        _users += 1


def leave() -> None:
    """Ends the connection, and a cluster of local cores, with its last user. One that the caller has made himself stays."""
    global _users, _ours
    _users = max(0, _users - 1)
    if _users == 0 and _ours:
        _ours = False
        ray.shutdown()


def slots(gpus: bool) -> int:
    """Processes that can work at once on the cluster: its processors, or its GPUs.

    A connection that it makes is kept for the next `join`, as starting local cores takes seconds; `drop` ends one that nobody has taken.
    """
    global _kept
    new = _kept or not ray.is_initialized()
    join()
    try:
        return max(1, int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1)))
    finally:
        if new:
            _kept = True
        else:
            leave()


def drop() -> None:
    """Ends a connection that `slots` has kept and nobody has taken."""
    global _kept
    if _kept:
        _kept = False
        leave()


def _connect(workers: int) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    cores = max(workers, machine.cores())
    try:
        _check_answers(address)
        try:
            ray.init(num_cpus=cores, include_dashboard=False, logging_level=logging.WARNING)
        except ValueError:  # there is a cluster, which has processors of its own
            ray.init(logging_level=logging.WARNING)
    except (OSError, ValueError) as error:  # the latter of an address that is none
        where = f"RAY_ADDRESS={address}" if address else "the cluster that `ray start` has started"
        what = "does not answer" if isinstance(error, OSError) else "cannot be used"
        raise InputError(
            f"executor=ray: {where} {what} ({str(error).splitlines()[0]})",
            "the address of a running cluster, or none, which starts one on this machine's cores",
            "ray start --head, or ray stop, or the command without RAY_ADDRESS",
        ) from None


def _check_answers(address: str) -> None:
    """Raises OSError if nothing listens at HOST:PORT. Ray would try for many minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()

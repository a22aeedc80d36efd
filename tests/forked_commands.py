"""The process that commands of the tests are forked from, see command_line.py."""

import dataclasses
import gc
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn


def serve() -> None:
    """Runs commands: one JSON line each, one exit code back."""
    _import_all()
    gc.freeze()  # or every child copies the pages of all these modules when it first collects
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job)
        deadline = math.inf if job["kill"] is None else time.monotonic() + job["kill"]
        while (ended := os.wait4(child, os.WNOHANG if deadline < math.inf else 0))[0] == 0:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                deadline = math.inf
            time.sleep(0.002)
        seconds = ended[2].ru_utime + ended[2].ru_stime
        print(os.waitstatus_to_exitcode(ended[1]), seconds, flush=True)  # noqa: T201
    os._exit(0)  # as the commands end


def _import_all() -> None:
    """Everything that commands import, some of it only while they work."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import sklearn.datasets
    import timm.data.transforms_factory  # noqa: F401
    from optuna.storages import RDBStorage

    import nas.commands.demo
    import nas.commands.extract
    import nas.commands.profile
    import nas.commands.report
    import nas.commands.retrain
    import nas.commands.search
    import nas.commands.spaces
    import nas.commands.train  # noqa: F401
    import search_spaces.checking
    import search_spaces.costs
    import search_spaces.named
    from search_spaces.space import SearchSpace
    from tests.command_line import SPACE

    RDBStorage("sqlite://").engine.dispose()
    sklearn.datasets.load_digits()
    # What these find of parts is known to every child: torch imports a good deal when it first runs on meta tensors, and the parts of the
    # space that most commands are given would be tried again and again.
    own = search_spaces.named.check(SearchSpace.from_toml(SPACE, "tiny.toml"))
    for space in (search_spaces.named.load_space("digits"), dataclasses.replace(own, resolution=8), own.bind(1, 10, 8)):
        search_spaces.checking.check_parts(space)
    search_spaces.costs.cost_named("activations")


def _become(job: dict[str, Any]) -> NoReturn:
    """Makes this process one that was started for a command, and runs it. It ends without taking torch apart, which is slow."""
    import resource
    import traceback

    from nas.cli import main

    for number, name, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, "out", os.O_WRONLY),
        (2, "err", os.O_WRONLY),
    ):
        file = os.open(os.path.join(job["output"], name), flags)
        os.dup2(file, number)
        os.close(file)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    sys.path[:0] = filter(None, job["env"].get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["nas", *job["arguments"]]
    if job["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["limit"], job["limit"]))
    if job["memory"] is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + job["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    code = 1
    try:
        if job["obedient"]:
            _obey_permissions()
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _obey_permissions() -> None:
    """Gives up what lets root read and write every file. Files of root stay its own, as those of a user do.

    Linux only: `capget` and `capset` with their structures, version 3: effective, permitted, inheritable; low and high halves.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    override, read_search = 1 << 1, 1 << 2
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~(override | read_search)
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")

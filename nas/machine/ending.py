"""The end of a process that ran one command, or of one that worked for it."""

import atexit
import ctypes
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def end(code: int) -> NoReturn:
    """Ends the process with an exit code as the interpreter does, but for taking apart what was imported.

    torch and timm make 600,000 objects. The interpreter looks for garbage among them several times when it ends, which takes .5 to 1.2 s of processor
    time; the operating system takes them back at once. Threads are waited for, exit functions run and streams are flushed as always. Files that
    are open are closed, but what Python has not yet written to them is lost. Where Python's own debugger or a profiler works, or with -i, the interpreter ends as it
    does, since they have something to do then.
    """
    if _is_watched():
        sys.exit(code)
    for finish in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]  # the first also ends the threads of executors
        with suppress(KeyboardInterrupt):  # what was to be said of it has been said
            finish()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, AttributeError):  # it is closed, or there is none
            try:
                stream.flush()
            except BrokenPipeError:
                pass
            except OSError:
                code = code or 120  # as the interpreter has it
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)  # what libraries have printed themselves
    os._exit(code)


def _is_watched() -> bool:
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on, profilers are found there
    tools = monitoring is not None and any(map(monitoring.get_tool, range(6)))
    return bool(sys.gettrace() or sys.getprofile() or tools or sys.flags.inspect)

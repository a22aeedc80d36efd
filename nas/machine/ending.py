"""The end of a process that ran one command, or of one that worked for it."""

import atexit
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def end(code: int) -> NoReturn:
    """Ends the process with an exit code as the interpreter does, but for taking apart what was imported.

    torch and timm make 600,000 objects. The interpreter looks for garbage among them when it ends, several times, which takes half a second to a second of
    processor time; the operating system takes them back as fast as anything else. Threads are waited for and exit functions run as always. With a debugger or
    a profiler the interpreter ends as it does, since they have something to do then.
    """
    if sys.gettrace() or sys.getprofile():
        sys.exit(code)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it, it is closed, or there is none
            stream.flush()
    os._exit(code)

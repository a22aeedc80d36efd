"""How a command's process ends."""

import subprocess
import sys

import pytest

ENDS = """
import atexit, os, sys, threading, time
from nas.machine.ending import end

class Kept:
    def __del__(self, write=os.write):
        write(1, b"taken apart")

kept = Kept()
atexit.register(print, "exit function")
threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
print("command")
end(int(sys.argv[1]))
print("never")
"""


@pytest.mark.parametrize("code", [0, 2, 141])
def test_threads_and_exit_functions_come_first_and_nothing_is_taken_apart(code: int) -> None:
    found = subprocess.run([sys.executable, "-c", ENDS, str(code)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (code, "")
    assert found.stdout.split("\n") == ["command", "thread", "exit function", ""]


def test_a_profiler_gets_its_turn() -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.setprofile(lambda *_: None)\n{ENDS}", "3"],
        capture_output=True,
        text=True,
    )
    assert found.returncode == 3
    assert found.stdout.split("\n")[-1] == "taken apart"


def test_a_closed_stream_is_no_error() -> None:
    code = "import os, sys; from nas.machine.ending import end; sys.stdout.write('x'); os.close(1); end(5)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (5, "")

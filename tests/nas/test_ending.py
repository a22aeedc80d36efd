"""How a command's process ends, and that of a worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nas.executors.processes import Processes
from nas.testing import jobs

KEPT = """
import os

class Kept:
    def __del__(self, write=os.write):
        write(1, b"taken apart")

kept = Kept()
"""

ENDS = f"""
{KEPT}
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from nas.machine.ending import end

def later():
    time.sleep(0.2)
    threading.Thread(target=print, args=["thread of a thread"]).start()

atexit.register(print, "exit function")
threading.Thread(target=later).start()
idle = ThreadPoolExecutor(1)  # its thread waits for work for ever, unless it is told
idle.submit(print, "executor").result()
end(int(sys.argv[1]))
print("never")
"""


def ended(code: str, *arguments: str, **more: object) -> "subprocess.CompletedProcess[str]":
    """A script in a process of its own; its output is not flushed line by line, whatever the environment says."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run([sys.executable, "-c", code, *arguments], text=True, timeout=60, env=environment, **given)  # type: ignore[call-overload]


@pytest.mark.parametrize("code", [0, 2, 141])
def test_threads_and_exit_functions_come_first_and_nothing_is_taken_apart(code: int) -> None:
    found = ended(ENDS, str(code))
    assert (found.returncode, found.stderr) == (code, "")
    assert found.stdout.split("\n") == ["executor", "thread of a thread", "exit function", ""]


def test_a_profiler_gets_its_turn(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("from nas.machine.ending import end\nend(0)")
    command = [sys.executable, "-m", "cProfile", "-o", "profile", "script.py"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=tmp_path, env=environment, timeout=60, check=False)
    assert (tmp_path / "profile").exists()


def test_what_libraries_print_is_flushed() -> None:
    found = ended("import ctypes; from nas.machine.ending import end; ctypes.CDLL(None).printf(b'from C'); end(0)")
    assert found.stdout == "from C"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_what_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        code = "from nas.machine.ending import end; print('x'); end({})"
        assert ended(code.format(0), stdout=full).returncode == 120
        assert ended(code.format(2), stdout=full).returncode == 2


def test_an_interrupt_meanwhile_changes_nothing() -> None:
    code = """
import atexit, threading, time
from nas.machine.ending import end
threading.Thread(target=time.sleep, args=[3]).start()
atexit.register(print, "exit function")
print("waiting", flush=True)
end(2)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "waiting\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (2, "exit function\n", "")


def test_the_command_ends_so() -> None:
    found = ended(f"{KEPT}\nimport sys; from nas.cli import command; sys.argv = ['nas', 'nosuch']; command()")
    assert found.returncode == 2
    assert found.stdout == ""
    assert "unknown verb" in found.stderr


class Keeps:
    """A setup whose state would leave a file if it were taken apart."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        global kept
        kept = Trace(self.path)


class Trace:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __del__(self, touch=Path.touch) -> None:  # type: ignore[no-untyped-def]
        touch(self.path)


kept: Trace | None = None


def test_a_worker_ends_so(tmp_path: Path) -> None:
    pool = Processes(1)
    try:
        assert list(pool.map(Keeps(tmp_path / "taken apart"), jobs.square, [3])) == [9]
    finally:
        pool.close()
    assert not list(tmp_path.iterdir())

"""The pool of processes: what is kept, what ends, and what is said."""

import gc
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nas.executors.guard import Words
from nas.executors.processes import Processes
from nas.testing import jobs
from search_spaces.errors import InputError
from tests.command_line import environment
from tests.nas.executors import light

WORDS = Words("play", "game.players=1", ("a player was ended", "more memory", "game.players=1"))
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


@pytest.fixture
def pool() -> Iterator[Processes]:
    with closing(Processes(2, words=WORDS)) as executor:
        yield executor


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for counts."""
    return Path(f"/proc/{pid}").exists()


def gone(pids: list[int] | tuple[int, ...], seconds: float = 5.0) -> bool:
    """Whether all of them end in time. Of other processes' children, those that nobody has waited for yet have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        states = [Path(f"/proc/{pid}/stat") for pid in pids]
        if not any(path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z" for path in states):
            return True
        time.sleep(0.02)
    return False


@linux
def test_workers_are_kept_while_the_setup_is_the_same(pool: Processes, tmp_path: Path) -> None:
    setup = jobs.Counted(tmp_path / "log")
    assert list(pool.map(setup, light.pid, [0])) == list(pool.pids)  # no more than there are jobs
    first = pool.pids
    assert len(set(pool.map(setup, light.meet, [(tmp_path / "here", 2)] * 2))) == 2
    both = pool.pids
    assert both[:1] == first
    assert set(pool.map(setup, light.pid, range(8))) <= set(both)
    assert sorted(setup.made_by) == sorted(both)
    other = jobs.Counted(tmp_path / "log")  # equal, and another object
    assert not set(pool.map(other, light.pid, range(8))) & set(both)
    assert not any(map(alive, both))
    last = pool.pids
    pool.close()
    assert pool.pids == ()
    assert not any(map(alive, last))


def test_workers_are_kept_for_a_caller_that_stops_at_the_last_result(pool: Processes, tmp_path: Path) -> None:
    """Who knows how many results there are does not ask whether there is another one."""
    setup = jobs.Counted(tmp_path / "log")
    left = []
    for _ in range(3):
        left.append(pool.map(setup, jobs.square, range(4)))
        assert [next(left[-1]) for _ in range(4)] == [0, 1, 4, 9]
    assert len(setup.made_by) == len(set(setup.made_by)) <= 2


def test_the_heaviest_job_is_started_first(tmp_path: Path) -> None:
    with closing(Processes(1)) as pool:
        began = list(pool.map(Setup(tmp_path), light.touch, range(4), weight=lambda job: job % 3))
    assert sorted(range(4), key=began.__getitem__) == [2, 1, 0, 3]


class Setup:
    """Its state is what it was made with."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def __call__(self) -> Any:
        return self.state


def test_nothing_is_started_after_a_failure(tmp_path: Path) -> None:
    """But for jobs that come before it, whose results are due first."""
    with closing(Processes(1)) as pool:
        results = pool.map(Setup(tmp_path), touch_or_fail, range(6), weight=lambda job: job == 2)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="job 2"):
            next(results)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1"]


def touch_or_fail(folder: Path, job: int) -> int:
    if job == 2:
        raise ValueError("job 2")
    light.touch(folder, job)
    return job


def test_errors_say_where_they_come_from(pool: Processes) -> None:
    """The worker's traceback is a note; what cannot be sent arrives in words."""
    with pytest.raises(ValueError, match="as itself") as caught:
        list(pool.map(jobs.nothing, light.fail, ["value"]))
    assert "light.py" in caught.value.__notes__[0]
    with pytest.raises(InputError) as told:
        list(pool.map(jobs.nothing, light.fail, ["input"]))
    assert not hasattr(told.value, "__notes__")
    with pytest.raises(RuntimeError, match="Unreadable: first words"):
        list(pool.map(jobs.nothing, light.fail, ["unreadable"]))
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        list(pool.map(jobs.nothing, light.fail, ["result"]))
    mixed: list[Any] = [1, lambda: None, 2]
    got = pool.map(jobs.nothing, light.fail, mixed, weight=callable)
    assert next(got) == 1
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        next(got)


@linux
@pytest.mark.parametrize("words", [WORDS, Words("play", "game.players=1")], ids=["of the caller", "composed"])
def test_a_worker_that_is_killed(words: Words) -> None:
    with closing(Processes(2, words=words)) as pool:
        list(pool.map(jobs.nothing, light.pid, range(8)))
        pids = pool.pids
        with pytest.raises(InputError) as caught:
            list(pool.map(jobs.nothing, light.fail, [1, 2, "kill", "slow", "slow"]))
        assert caught.value.instead.endswith("game.players=1")
        assert caught.value.given == (
            "a player was ended"
            if words.ended
            else "one of the processes that play was ended from outside, most often because memory ran out"
        )
        assert not any(map(alive, pids))
        assert list(pool.map(jobs.nothing, light.fail, [1, 2])) == [1, 2]
        os.kill(pool.pids[0], signal.SIGKILL)  # while it waits
        with pytest.raises(InputError):
            list(pool.map(jobs.nothing, light.fail, ["slow"] * 4))


@linux
def test_leaving_and_closing_end_what_runs(pool: Processes, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    results = pool.map(jobs.nothing, light.wait_for, [(n, tmp_path) for n in range(50)])
    assert next(results) == 0
    (tmp_path / "go").unlink()  # whatever is begun now takes forever
    pids = pool.pids
    del results
    gc.collect()
    assert pool.pids == ()
    assert not any(map(alive, pids))
    results = pool.map(jobs.nothing, jobs.square, range(3))
    assert next(results) == 0
    pool.close()
    with pytest.raises(RuntimeError, match="these results ended"):
        next(results)


SCRIPT = """\
import signal
import sys
from pathlib import Path
from nas.executors.processes import Processes
from nas.testing import jobs
from tests.nas.executors import light

{fault}
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it starts in the background
    place = Path("place")
    pool = Processes(2)
    for _ in pool.map(jobs.nothing, light.wait_for, [(n, place) for n in range(2)]):
        pass
    print("done")
    {end}
"""


def begin(place: Path, *, fault: str = "", end: str = "", go: bool = False) -> tuple[subprocess.Popen[str], list[int]]:
    """A script whose two workers are at work, and their processes."""
    (place / "place").mkdir()
    if go:
        (place / "place" / "go").touch()
    (place / "script.py").write_text(SCRIPT.format(fault=fault, end=end))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "script.py"], cwd=place, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None and len(list((place / "place").glob("?-*"))) < 2:
        time.sleep(0.01)
    return process, [int(path.name[2:]) for path in (place / "place").glob("?-*")]


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(number: signal.Signals, tmp_path: Path) -> None:
    process, pids = begin(tmp_path)
    assert len(pids) == 2
    process.send_signal(number)
    process.wait()
    assert gone(pids)
    _, err = process.communicate()
    assert err == ""  # nothing is said to have leaked either


@linux
def test_ctrl_c_ends_everything_with_one_traceback(tmp_path: Path) -> None:
    process, pids = begin(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to all of them
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert gone(pids)
    assert err.count("Traceback") == err.count("KeyboardInterrupt") == 1


@linux
@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "next(pool.map(jobs.nothing, jobs.square, range(99)))"])
def test_a_pool_that_nobody_closes(end: str, tmp_path: Path) -> None:
    process, pids = begin(tmp_path, end=end, go=True)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (3 if "3" in end else 0, "done\n", "")
    assert gone(pids)


@pytest.mark.parametrize(
    ("script", "message", "sentence"),
    [
        (SCRIPT.replace('if __name__ == "__main__":', "if True:"), "script.py", "calls nas outside of"),
        ("import multiprocessing\nassert multiprocessing.current_process().name == 'MainProcess'\n" + SCRIPT, "own error stands", "cannot import"),
        (SCRIPT, "a script in a file", "the script comes from standard input"),
    ],
    ids=["unguarded", "fails elsewhere", "standard input"],
)  # fmt: skip
def test_scripts_that_workers_cannot_import(script: str, message: str, sentence: str, tmp_path: Path) -> None:
    text = script.format(fault="", end="").replace("Processes(2)", "Processes(2, words=WORDS)")
    text = text.replace("import light\n", "import light\nfrom tests.nas.executors.test_processes import WORDS\n")
    (tmp_path / "script.py").write_text(text)
    arguments = ["-"] if "standard" in sentence else ["script.py"]
    done = subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment() | {"TMPDIR": str(tmp_path)}, input=text,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr
    assert 1 <= done.stderr.count(sentence) <= 2
    assert "the processes that play" in done.stderr
    assert "game.players=1, which starts no processes" in done.stderr
    assert done.stderr.count("Traceback") <= 3 if sentence == "cannot import" else 1
    assert not list(tmp_path.glob("nas-unguarded-*"))

"""What holds for every executor, and how one is named."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from nas.executors import NAMES, Executor, check_executor, make_executor
from nas.executors.growing import Growing
from nas.executors.here import Here
from nas.executors.processes import Processes
from nas.testing import jobs
from nas.testing.executors import ExecutorLaws, Make
from search_spaces.errors import InputError
from tests.command_line import HEAVY, environment
from tests.nas.executors import light

THEIRS = """\
class Backwards:
    \"\"\"Somebody's executor, which knows nothing of nas: the last job is done first.\"\"\"

    def __init__(self, workers):
        self.workers, self.closed, self.made = workers, False, (None, None)

    def map(self, setup, work, jobs, *, weight=None):
        jobs = list(jobs)
        if jobs and self.made[0] is not setup:
            self.made = (setup, setup())
        done = []
        for job in reversed(jobs):
            try:
                done.append((work(self.made[1], job), None))
            except BaseException as error:
                done.append((None, error))
        for result, error in reversed(done):
            if error:
                raise error
            yield result

    def close(self):
        self.closed = True

class Lacking:
    def map(self, setup, work, jobs):
        pass

class NoWeight(Lacking):
    def __init__(self, workers): pass
    def close(self): pass

class NoWorkers(Backwards):
    def __init__(self): pass

number = 3
"""


@pytest.fixture(scope="module", autouse=True)
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "their_executors.py").write_text(THEIRS)
    (folder / "their_broken.py").write_text("1 / 0\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


class TestEveryExecutor(ExecutorLaws):
    @pytest.fixture(
        params=[
            "here",
            "processes",
            pytest.param("ray", marks=pytest.mark.slow),
            "growing",
            "their_executors.Backwards",
        ]
    )
    def make(self, request: pytest.FixtureRequest) -> Iterator[Make]:
        made = []
        if request.param == "ray":
            request.getfixturevalue("ray_cluster")

        def of(workers: int) -> Executor:
            growing = request.param == "growing"
            made.append(Growing(workers, patience=0.05) if growing else make_executor(request.param, workers))
            return made[-1]

        yield of
        for executor in made:
            executor.close()


def test_names() -> None:
    assert isinstance(make_executor("auto", 1), Here)
    assert isinstance(make_executor("here", 4), Here)
    with closing(make_executor("auto", 2)) as two, closing(make_executor("processes", 1)) as one:
        assert isinstance(two, Growing)
        assert os.getpid() not in set(two.map(jobs.nothing, light.pid, range(4)))  # others at once, without patience
        assert isinstance(one, Processes)
    for name in (*NAMES, "their_executors.Backwards"):
        check_executor(name)
    with pytest.raises(ValueError, match="workers is 0"):
        make_executor("here", 0)


@pytest.mark.parametrize(
    ("name", "given", "instead"),
    [
        ("proceses", "unknown search.executor 'proceses'", "search.executor=processes, or a class of yours"),
        ("their_module.Missing", "module 'their_module' cannot be imported", "PYTHONPATH=FOLDER nas ... search.exec"),
        ("their_broken.Any", "their_broken.py, line 1: ZeroDivisionError: division by zero", "fix line 1 of "),
        ("their_executors.Backward", "unknown executor in their_executors 'Backward'", "=their_executors.Backwards"),
        ("their_executors.Lacking", "Lacking has no close", "search.executor=processes"),
        ("their_executors.number", "number has no map and no close", "search.executor=processes"),
        ("their_executors.NoWeight", "takes no setup, work, jobs and weight=", "search.executor=processes"),
        ("their_executors.NoWorkers", "cannot be made with workers=", "search.executor=processes"),
        ("nas.executors.guard.Nothing", "unknown executor in nas.executors.guard", "leave it out"),
        (".", "unknown search.executor '.'", "search.executor="),
        (".relative.Class", "unknown search.executor '.relative.Class'", "search.executor="),
    ],
)
def test_names_that_are_none(name: str, given: str, instead: str) -> None:
    with pytest.raises(InputError) as caught:
        make_executor(name, 2, key="search.executor")
    assert given in caught.value.given
    assert instead in caught.value.instead
    if given.startswith("unknown search.executor"):
        with pytest.raises(InputError) as early:
            check_executor(name, "search.executor")
        assert str(early.value) == str(caught.value)
    else:
        check_executor(name, "search.executor")  # which imports nothing


def test_naming_executors_imports_nothing_heavy() -> None:
    code = (
        "import sys; from nas.executors import make_executor; make_executor('auto', 2); make_executor('auto', 1); "
        f"print(*sys.modules.keys() & set({HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_processes_are_started_for_long_work_only() -> None:
    with closing(Growing(2, patience=0.15)) as executor:
        first = list(executor.map(jobs.nothing, light.pid, range(3)))
        assert set(first) == {os.getpid()}
        later = list(executor.map(jobs.nothing, light.pid, range(40)))
        assert later[0] == os.getpid()
        assert os.getpid() not in later[-20:]

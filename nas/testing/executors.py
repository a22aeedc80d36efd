"""What every executor promises (`nas.executors.Executor`)."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from nas.executors import Executor, make_executor
from nas.testing import jobs
from search_spaces.errors import InputError

Make = Callable[[int], Executor]


class ExecutorLaws:
    """Laws of one executor, by its name or dotted path."""

    executor: ClassVar[str]

    @pytest.fixture
    def make(self) -> Iterator[Make]:
        """Makes executors with so many workers, and closes them."""
        made: list[Executor] = []

        def of(workers: int) -> Executor:
            made.append(make_executor(self.executor, workers))
            return made[-1]

        yield of
        for executor in made:
            executor.close()

    def test_results_come_in_the_order_of_the_jobs(self, make: Make, tmp_path: Path) -> None:
        """Whichever ends first; the state is made once per worker, and kept from map to map."""
        setup = jobs.Counted(tmp_path / "log", 10)
        with closing(make(3)) as executor:
            assert list(executor.map(jobs.nothing, jobs.later_first, range(4))) == [0, 1, 2, 3]
            for numbers in (range(7), range(2, 5), [3]):
                assert list(executor.map(setup, jobs.square, numbers)) == [10 + job**2 for job in numbers]
            assert len(setup.made_by) == len(set(setup.made_by)) <= 3
            other = jobs.Counted(tmp_path / "other", 20)
            assert list(executor.map(other, jobs.square, range(3))) == [20, 21, 24]
            assert len(other.made_by) == len(set(other.made_by)) <= 3

    def test_no_jobs_one_job_and_a_generator_of_jobs(self, make: Make, tmp_path: Path) -> None:
        setup = jobs.Counted(tmp_path / "log")
        executor = make(2)
        assert list(executor.map(setup, jobs.square, [])) == []
        assert setup.made_by == []
        assert list(executor.map(setup, jobs.square, [5], weight=float)) == [25]
        assert list(executor.map(setup, jobs.square, (job for job in range(3)), weight=float)) == [0, 1, 4]

    @pytest.mark.parametrize("workers", [1, 2, 4])
    def test_the_same_results_with_any_number_of_workers(self, make: Make, workers: int) -> None:
        with closing(make(workers)) as executor:
            found = list(executor.map(jobs.nothing, jobs.square, range(9), weight=lambda job: job % 4))
        assert found == [job**2 for job in range(9)]

    def test_errors_arrive_as_themselves_and_in_order(self, make: Make) -> None:
        """After the results of all earlier jobs, however long they take; the executor works on afterwards."""
        executor = make(3)
        got = []
        with pytest.raises(InputError) as caught:
            got.extend(executor.map(jobs.nothing, jobs.fail, ["slow", 2, "input", "value", 3]))
        assert got == ["slow", 2]
        assert (caught.value.given, caught.value.allowed, caught.value.instead) == ("given", "allowed", "instead")
        with pytest.raises(ValueError, match="as itself") as failed:
            list(executor.map(jobs.nothing, jobs.fail, ["value"]))
        assert failed.value.args == ("as itself", 3)
        with pytest.raises(SystemExit, match="enough"):
            list(executor.map(jobs.nothing, jobs.fail, ["exit"]))
        with pytest.raises(InputError, match="the setup"):
            list(executor.map(jobs.bad_setup, jobs.fail, [1, 2]))
        assert list(executor.map(jobs.nothing, jobs.fail, [1, 2])) == [1, 2]

    def test_an_iterator_may_be_left_and_an_executor_closed_twice(self, make: Make) -> None:
        executor = make(2)
        started = executor.map(jobs.nothing, jobs.later_first, range(6))
        assert next(started) == 0
        assert list(executor.map(jobs.nothing, jobs.square, range(3))) == [0, 1, 4]
        never = executor.map(jobs.nothing, jobs.square, range(3))
        executor.close()
        executor.close()
        del started, never

"""Where work is done: in this process, in several, or wherever a class of yours does it. Results never depend on it.

    with contextlib.closing(make_executor("auto", workers=4)) as executor:
        for accuracy in executor.map(load_supernet, evaluate, networks):
            ...

`setup` makes what all jobs share, once in each worker, and `work(state, job)` does one job. Results come in the order of the jobs,
and so does the first error: whatever the executor, the caller sees the results of all earlier jobs, then the error itself.

An executor of your own is a class with `map` and `close` as below, made with `workers=`; it is named by its dotted path,
executor=my_package.Reversed:

    class Reversed:
        def __init__(self, workers):
            self.made = (None, None)

        def map(self, setup, work, jobs, *, weight=None):
            jobs = list(jobs)
            if jobs and self.made[0] is not setup:
                self.made = (setup, setup())
            results = [work(self.made[1], job) for job in reversed(jobs)]
            yield from reversed(results)

        def close(self):
            self.made = (None, None)

`nas.testing.executors` has the laws of executors, as tests to inherit. Only the standard library is imported here.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from nas.dotted import check_name, found_at, path_of
from nas.executors.guard import Words as Words
from nas.executors.guard import check_guarded as check_guarded
from search_spaces.errors import InputError

NAMES = ("auto", "here", "processes", "ray")
"""Executors that come with nas. `auto` takes processes for more than one worker, and for short jobs not at once; `ray` is a cluster."""

State = TypeVar("State")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """What does jobs. One map at a time: beginning another ends the one before."""

    def map(
        self,
        setup: Callable[[], State],
        work: Callable[[State, Job], Result],
        jobs: Iterable[Job],
        *,
        weight: Callable[[Job], float] | None = None,
    ) -> Iterator[Result]:
        """The result of each job, in the order of the jobs.

        Args:
            setup: makes the state that a worker's jobs share. The states are kept for as long as the same object is passed
                again, and not made twice; another object replaces them.
            work: does one job; its result may depend on the state and the job only.
            weight: how long a job takes, in any unit. The longest may be started first; the order of results stays.

        Raises:
            Exception: what `setup` or `work` raised, as it was raised.
            InputError: a worker was ended from outside.
        """
        ...

    def close(self) -> None:
        """Gives up what is held, at once, and what still runs. May be called again; `map` starts again afterwards."""
        ...


def make_executor(
    name: str,
    workers: int,
    *,
    words: Words | None = None,
    key: str = "executor",
    patience: float = 0.0,
    gpus: bool = False,
) -> Executor:
    """An executor by its name; `contextlib.closing` gives it up at the end of a block.

    Args:
        name: one of `NAMES`, or the dotted path of a class.
        workers: the most that work at once, at least 1.
        words: how messages about processes call the work; a class of the user's gets none.
        key: of the configuration that the name comes from, as messages call it.
        patience: seconds of work in this process after which `auto` starts others; 0 where each job is long.
        gpus: whether the work needs a GPU, which a cluster has to be asked for.

    Raises:
        InputError: there is no such executor, or the class is none; Ray is not installed.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}")
    check_executor(name, key)
    if name == "auto" and workers > 1:
        from nas.executors.growing import Growing

        return Growing(workers, words=words, patience=patience)
    found = _class_of("here" if name == "auto" else name, key)
    if name == "processes":
        return found(workers, words=words)
    if name == "ray":
        return found(workers, words=words, gpus=gpus)
    return found(workers=workers)


def workers_of(name: str, jobs: int, *, cores: int, gpus: bool = False, key: str = "executor") -> int:
    """How many work at once.

    Args:
        jobs: as the user asks for them; 0 where he does not.
        cores: processors of this machine.
        gpus: whether the work needs a GPU. One process works on one, and a cluster may have several.

    Raises:
        InputError: Ray is asked for, and is not installed or does not answer.
    """
    if jobs:
        return jobs
    if name == "ray":
        check_ray(key)
        from nas.executors.cluster import slots

        return slots(gpus)
    return 1 if gpus else cores


def check_ray(key: str = "executor") -> None:
    """
    Raises:
        InputError: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise InputError(
            f"{key}=ray, and Ray is not installed",
            "an environment with Ray",
            f'pip install "hybrid-mixer-nas[ray]", or {key}=processes',
        )


def check_executor(name: str, key: str = "executor") -> None:
    """Whether `name` is one of `NAMES`, or has the form of a dotted path; imports nothing.

    Raises:
        InputError: neither.
    """
    check_name(name, NAMES, key, "MyExecutor")


def _class_of(path: str, key: str) -> Any:
    """The class of an executor by its name."""
    contract = "a class with map(setup, work, jobs, *, weight=None) and close(), made with workers="
    class_name = path.rpartition(".")[2]
    if path == "ray":
        check_ray(key)
    found: Any = found_at(path_of(path, NAMES, "nas.executors"), NAMES, key, "executor", "map", ours=path in NAMES)
    if path in NAMES:
        return found
    lacks = [name for name in ("map", "close") if not callable(getattr(found, name, None))]
    if not isinstance(found, type) or lacks:
        what = "has no " + " and no ".join(lacks) if lacks else "is no class"
        raise InputError(f"{key}={path}: {class_name} {what}", contract, f"{key}=processes, or fix {path}")
    for what, function, given in (
        ("cannot be made with workers=", found, ((), ("workers",))),
        ("has a map that takes no setup, work, jobs and weight=", found.map, ((None,) * 4, ("weight",))),
    ):
        try:
            inspect.signature(function).bind(*given[0], **dict.fromkeys(given[1]))
        except TypeError as error:
            raise InputError(
                f"{key}={path}: {class_name} {what} ({error})", contract, f"{key}=processes, or fix {path}"
            ) from None
        except ValueError:  # of a class whose signature nobody can tell
            continue
    return found

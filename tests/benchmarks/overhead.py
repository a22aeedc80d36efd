"""What a search costs beside its evaluations: in this process, on Ray actors, and through Ray Tune.

    python tests/benchmarks/overhead.py RUN [--sampler nsga2] [--evaluations 128] [--batch 8] [--workers 2] [--only here tune]

RUN is a run with a trained supernet; it is copied, and its searches are left out of the copy. Evaluations give a number that is made
of the network's digest and take no time, so all of the time per evaluation is what the project, or Ray, adds to it: proposals, costs,
records that are flushed to the disk, and the way to the worker and back. Random search is beside the sampler, as in every search, with as
many evaluations, and the figures are means over those of both: a slow sampler takes about twice as long for each of its own. The time is
counted from the first result to the last, without the start of processes, and over the second half alone, when the costs of most parts
have been counted once. Needs Ray, two quiet cores and about two minutes.

    in process       executor=here
    records          of it, appending the records
    Ray actors       executor=ray with so many workers
    Ray Tune         one trial at a time, of TunedSearch with `search.run_config()`, with Tune's own loggers, and without them (TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1)
"""

import argparse
import cProfile
import os
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from nas.config.effective import configure
from nas.executors import Executor, make_executor
from nas.runs.run import Run, open_run
from nas.runs.store import RunStore
from nas.searching.conduct import conduct
from nas.searching.evaluation import Accuracy
from search_spaces.architecture import Architecture

KINDS = ("here", "ray", "tune", "tune without loggers")


def nothing() -> None:
    """A setup without a state."""


def free(_: object, arch: Architecture) -> Accuracy:
    """An evaluation that takes no time, and gives every network a number of its own."""
    number = int(arch.digest, 16) % 2**32 / 2**32
    return Accuracy(number, 1 - number, 1000)


class Free(Executor):
    """Lets another executor do evaluations that take no time, and notes when results come."""

    def __init__(self, inner: Executor) -> None:
        self.inner = inner
        self.times: list[float] = []
        self.cpu: list[float] = []

    def map(
        self, setup: Any, work: Any, jobs: Iterable[Any], *, weight: Callable[[Any], float] | None = None
    ) -> Iterator[Any]:
        for result in self.inner.map(nothing, free, jobs, weight=weight):
            self.times.append(time.perf_counter())
            self.cpu.append(time.process_time())
            yield result

    def close(self) -> None:
        self.inner.close()


def copied(run: Path, place: Path) -> Path:
    """A copy of a run without its searches."""
    left = shutil.ignore_patterns("searches", "study.db", "work", "report.html")
    return Path(shutil.copytree(run, place, ignore=left))


def settings_of(run: Path, options: argparse.Namespace) -> list[str]:
    """The settings of the search as they are typed: one sampler, and random search beside it."""
    return [
        f"run={run}", "name=overhead", f"evaluations={options.evaluations}", f"batch={options.batch}", f"samplers={options.sampler}", "objectives=top1,macs",
    ]  # fmt: skip


def opened(run: Path, options: argparse.Namespace) -> Run:
    [config] = configure("search", settings_of(run, options))
    return open_run(config)


def on_executor(kind: str, run: Path, options: argparse.Namespace) -> tuple[float, ...]:
    """Milliseconds per evaluation, see `rates`, and of them in appending records."""
    appended = 0.0
    append = RunStore.append

    def timed(*arguments: Any) -> None:
        nonlocal appended
        clock = time.perf_counter()
        append(*arguments)
        appended += time.perf_counter() - clock

    with closing(Free(make_executor(kind, 1 if kind == "here" else options.workers))) as executor:
        list(
            executor.map(None, None, [opened(run, options).space.smallest(lambda arch: 0.0)] * 8)
        )  # actors have started
        executor.times.clear()
        executor.cpu.clear()
        RunStore.append = timed  # type: ignore[method-assign]
        try:
            profiled(options, lambda: conduct(opened(run, options), executor))
        finally:
            RunStore.append = append  # type: ignore[method-assign]
        # Without smallest, largest and hand-designed.
        return *rates(executor.times[2:-1], executor.cpu[2:-1]), 1e3 * appended / len(executor.times)


def rates(times: list[float], cpu: list[float]) -> tuple[float, float, float]:
    """Milliseconds from one to the next, those of the second half, and those of this process's processor."""
    return rate(times), rate(times[len(times) // 2 :]), rate(cpu)


def profiled(options: argparse.Namespace, call: Callable[[], Any]) -> None:
    """Calls it, and prints where the time went if that is asked for."""
    profile = cProfile.Profile()
    if not options.profile:
        call()
        return
    profile.runcall(call)
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    pstats.Stats(profile).sort_stats("cumulative").print_stats(70)


def rate(clock: list[float]) -> float:
    """Milliseconds from one to the next."""
    return 1e3 * (clock[-1] - clock[0]) / (len(clock) - 1)


def through_tune(run: Path, options: argparse.Namespace) -> tuple[float, ...]:
    """Milliseconds per trial, see `rates`."""
    from ray import tune

    from nas.executors.cluster import join, leave
    from nas.tuning import TunedSearch
    from nas.tuning.searcher import RunSearcher
    from nas.tuning.trainable import Evaluation, trainable_of

    class Unburdened(Evaluation):
        def prepare(self, setup: Any) -> None:
            return

        def evaluate(self, arch: Architecture) -> Accuracy:
            return free(None, arch)

    times: list[float] = []
    cpu: list[float] = []

    class Clocked(RunSearcher):
        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            super().on_trial_complete(trial_id, result, error)
            times.append(time.perf_counter())
            cpu.append(time.process_time())

    join(options.workers)
    with TunedSearch(*(text.removeprefix("run=") for text in settings_of(run, options))) as search:
        searcher = Clocked(search.searcher.config)
        trainable = trainable_of(opened_setup(search.searcher.config), gpus=False, kind=Unburdened)
        config = tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True, max_concurrent_trials=1)
        settings = search.run_config(storage_path=str(run.parent / "tune"), verbose=0)
        tuner = tune.Tuner(trainable, tune_config=config, run_config=settings)
        profiled(options, tuner.fit)
    leave()
    return rates(times[4:-1], cpu[4:-1])  # as above, and without the first trial, whose actor is started


def opened_setup(config: Any) -> Any:
    from nas.searching.searching import setup_of

    return setup_of(open_run(config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sampler", default="nsga2", help="beside which random search is")
    parser.add_argument("--evaluations", type=int, default=128, help="of the sampler, and of random search")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2, help="actors of Ray")
    parser.add_argument("--only", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--profile", action="store_true", help="where the time goes, as the profiler sees it")
    parser.add_argument("--inside", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
            run = copied(options.run, Path(folder) / "run")
            if options.inside.startswith("tune"):
                found = through_tune(run, options)
            else:
                found = on_executor(options.inside, run, options)
        print("\nms", *(f"{number:.2f}" for number in found))  # noqa: T201
        return
    for _ in range(options.repeats):
        for kind in options.only:  # each in a process of its own: Ray Tune reads its settings once
            quiet = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"} if kind.endswith("loggers") else {}
            given = [str(options.run), "--evaluations", str(options.evaluations), "--batch", str(options.batch)]
            given += [
                "--sampler",
                options.sampler,
                "--workers",
                str(options.workers),
                "--inside",
                kind,
                *(["--profile"] if options.profile else []),
            ]
            done = subprocess.run(
                [sys.executable, __file__, *given], env=os.environ | quiet, stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            if options.profile:
                print(done.stdout)  # noqa: T201
            numbers = done.stdout.rpartition("\nms ")[2].split()
            records = f", {numbers[3]} in appending records" if len(numbers) > 3 else ""
            words = f"{numbers[0]:>7} ms per evaluation, {numbers[1]} in the second half ({numbers[2]} of the process that searches{records})"
            print(f"{kind:22} {words}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

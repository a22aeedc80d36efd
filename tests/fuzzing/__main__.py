"""The command of the package: see its docstring."""

import argparse
import sys
import threading
import time
from pathlib import Path

import tests.fuzzing
from nas.log import Progress, say
from tests.fuzzing.fleet import Fleet, Tally
from tests.fuzzing.known import store
from tests.fuzzing.targets import TARGETS
from tests.fuzzing.trial import GROWTH, SECONDS, try_input
from tests.fuzzing.worker import fault_of


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzzing",
        description=tests.fuzzing.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("inputs", type=int, nargs="?", help="by default the share of the target")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="with one input: a folder that gets a copy of it")
    parser.add_argument("--known", action="store_true", help="with one input: keep it among those that found a fault")
    asked = parser.parse_args()
    if asked.known:
        say(f"kept in {store(TARGETS[asked.target], asked.first)}")
        return 0
    if asked.keep:
        return one(asked.target, asked.first, asked.keep)
    names = list(TARGETS) if asked.target == "all" else [asked.target]
    sound = [fuzz(name, asked.first, asked.inputs or TARGETS[name].share, asked.jobs) for name in names]
    return int(not all(sound))


def one(name: str, number: int, keep: Path) -> int:
    """Tries one input here, after a copy of it has been made."""
    TARGETS[name].ready()
    try:
        trial = try_input(TARGETS[name], number, keep)
    except Exception as error:
        say(f"{name} {number}: {fault_of(error)}")
        return 1
    say(f"{name} {number}: {trial}")
    return 0


def fuzz(name: str, first: int, count: int, jobs: int) -> bool:
    """Tries inputs of one target and prints what became of them.

    Returns:
        Whether there was no fault.
    """
    progress, lock, shown = Progress(name, count), threading.Lock(), set[int]()
    start = time.monotonic()

    def told(fleet: Fleet) -> None:
        with lock:
            for number, fault in fleet.tally.faults:
                if number not in shown:
                    shown.add(number)
                    say(f"{name} {number}: {fault}")
            progress.update(fleet.tally.inputs, faults=len(fleet.tally.faults))

    fleet = Fleet(name, first, count, jobs, told)
    try:
        tally = fleet.run()
    except KeyboardInterrupt:
        up_to = fleet.done_up_to
        say(
            f"interrupted; the rest: python -m tests.fuzzing {name} {first + count - up_to} --first {up_to} --jobs {jobs}",
            sys.stderr,
        )
        raise SystemExit(130) from None
    summarise(name, tally, time.monotonic() - start)
    return not tally.faults


def summarise(name: str, tally: Tally, seconds: float) -> None:
    """Prints a table of what became of the inputs of a target, and a line for all of them."""
    rows: dict[str, dict[str, int]] = {}
    for key, count in sorted(tally.counts.items()):
        kind, _, outcome = key.partition("|")
        rows.setdefault(kind, {})[outcome] = count
    for kind, outcomes in rows.items():
        say(f"  {kind:28} " + "  ".join(f"{outcome} {count:,}" for outcome, count in outcomes.items()))
    refused = sum(count for key, count in tally.counts.items() if key.endswith("|refused"))
    say(
        f"{name}: {tally.inputs:,} inputs, {refused:,} refused, {tally.counts.total() - refused:,} accepted, {len(tally.faults):,} faults; "
        f"slowest {tally.slowest[0]:.2f} s ({tally.slowest[1]}, at most {SECONDS:g} s); most memory {tally.largest[0] / 2**20:.0f} MiB "
        f"({tally.largest[1]}, at most {GROWTH / 2**20:.0f} MiB); {seconds:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())

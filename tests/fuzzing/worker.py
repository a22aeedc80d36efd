"""A process that tries inputs. It reads lines "first count" and answers each with one line of JSON.

python -m tests.fuzzing.worker TARGET FILE       FILE always holds the number of the input that is tried
"""

import json
import os
import signal
import sys
import traceback
from collections import Counter

from tests.fuzzing.targets import TARGETS
from tests.fuzzing.trial import FaultyError, try_input

NUMBER = 8
"""Bytes of a number in FILE."""


def fault_of(error: BaseException) -> str:
    """An error in a line: its last place in a file of the project, and what it says."""
    words = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
    if isinstance(error, FaultyError) and error.__cause__ is None:
        return words
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    ours = [f for f in frames if any(f"/{name}/" in f.filename for name in ("nas", "supernet", "search_spaces"))]
    place = (ours or frames)[-1]
    return f"{os.path.relpath(place.filename)}:{place.lineno} {place.name}: {words}"


def tried(name: str, first: int, count: int, current: int) -> dict[str, object]:
    """What became of some inputs: counts by kind and outcome, the slowest, the one that grew most, and the faults."""
    counts: Counter[str] = Counter()
    slowest, largest, faults = (0.0, first), (0, first), []
    for number in range(first, first + count):
        os.pwrite(current, number.to_bytes(NUMBER, "little"), 0)
        try:
            trial = try_input(TARGETS[name], number)
        except Exception as error:
            faults.append((number, ascii(fault_of(error))[1:-1]))
            continue
        counts[f"{trial.kind}|{trial.outcome}"] += 1
        slowest, largest = max(slowest, (trial.seconds, number)), max(largest, (trial.growth, number))
    return {"first": first, "counts": counts, "slowest": slowest, "largest": largest, "faults": faults}


def main() -> None:
    name, file = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the fleet hears too: it closes the pipe
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for all that prints
    import torch

    torch.set_num_threads(1)
    TARGETS[name].ready()
    current = os.open(file, os.O_WRONLY)
    for line in sys.stdin:
        first, count = map(int, line.split())
        answers.write(json.dumps(tried(name, first, count, current)) + "\n")
        answers.flush()
    os._exit(0)  # without taking libraries apart, which is slow


if __name__ == "__main__":
    main()

"""Which kind of model cross-validation chooses. Errors are relative, and the worst predictions do not count."""

from collections.abc import Iterator, Mapping

import numpy as np

from nas.latency.encoding import Array
from search_spaces.errors import InputError

FEWEST = 10
"""Examples that a model can be learned and checked on."""

FOLDS = 5

WORTH = {"sums": 1.05, "bent sums": 0.95, "gradient boosting": 0.95}
"""Share of the error of the simpler models that a kind of model must stay below to be chosen.

Sums contain rates, and are preferred when the two are about equal. What does not add up has no bounds, and has to be clearly better.
"""

TRIMMED = 0.1
"""Share of the examples, those predicted worst, that do not count in the choice: a device's hiccups would decide it."""


def typical_error(predicted: Array, measured: Array) -> float:
    """Mean of |predicted / measured - 1| without the worst share `TRIMMED`."""
    far = np.sort(np.abs(predicted / measured - 1))
    return float(far[: max(1, round(len(far) * (1 - TRIMMED)))].mean())


def choose(errors: Mapping[str, float], worth: Mapping[str, float]) -> str:
    """The last kind that is so much better than the one chosen among those before; the first if none is.

    Args:
        worth: share of the other's error that a kind must stay below.
    """
    chosen = next(iter(errors))
    for name in errors:
        if errors[name] < worth.get(name, 1.0) * errors[chosen]:
            chosen = name
    return chosen


def folds(count: int, rng: np.random.Generator) -> Iterator[Array]:
    """Rows that are left out in turn, each once."""
    yield from np.array_split(rng.permutation(count), min(FOLDS, count))


def check_examples(count: int, ms: Array, what: str) -> None:
    """Checks that examples can be learned from and told apart.

    Args:
        count: of the examples.
        ms: (n,), their times.
        what: they are, for the message: "networks" or "units".

    Raises:
        InputError: they are fewer than `FEWEST`, or all of one time.
    """
    if count < FEWEST:
        raise InputError(
            f"{count} measured {what}", f"{FEWEST} or more, to learn from and to check on", f"measure more {what}"
        )
    if ms.max() == ms.min():
        raise InputError(
            f"all {count} measured {what} take {ms[0]} ms", f"{what} of different latencies",
            "measure with a finer clock, or spread them over the space",
        )  # fmt: skip

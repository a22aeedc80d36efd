"""The log of a supernet's training, and whether it has learned anything: the losses at its end beside the loss of guessing."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from nas.records.shapes import ANY_NUMBER, Maybe, Table, Whole
from nas.runs.run import Run
from search_spaces.counting import worded
from search_spaces.errors import InputError

LEARNED = 0.03
"""Less than this share below the loss of guessing is next to nothing."""

NO_MEAN = 1.5
"""Above this share of it a loss is something else, such as a sum over sub-networks."""

_ALWAYS = {
    "step": Whole(),
    "epoch": Whole(),
    "skipped": Whole(),
    **dict.fromkeys(("lr", "grad_norm"), Maybe(ANY_NUMBER)),
}

LINE = Table(_ALWAYS)
"""Of train.jsonl; every strategy has losses of its own beside them."""


def guessing(counts: Sequence[int], smoothing: float) -> float:
    """The least cross-entropy, in nats, of one answer for all images.

    Args:
        counts: images of each class.
        smoothing: of the labels, as `label_smoothing` of torch's cross-entropy.
    """
    total = sum(counts)
    shares = [(1 - smoothing) * count / total + smoothing / len(counts) for count in counts]
    return -sum(share * math.log(share) for share in shares if share)


def at_chance(run: Run) -> str:
    """What to say of a trained supernet all of whose losses are those of guessing in the last fourth of its training; empty otherwise.

    It is also empty where train.jsonl cannot be read, since nothing depends on it.
    """
    try:
        lines = run.store.records("train.jsonl")
    except InputError:
        return ""
    if not lines or any(LINE.fault(line, "") for line in lines):
        return ""
    last = [line for line in lines if line["step"] > 0.75 * lines[-1]["step"]]
    ends = [_median([line[name] for line in last]) for name in lines[-1] if name not in _ALWAYS]
    labels = Counter(run.split.labels["train"])
    guess = guessing([labels[label] for label in range(len(run.split.classes))], run.config.train.label_smoothing)
    if not ends or not all((1 - LEARNED) * guess <= end <= NO_MEAN * guess for end in ends):
        return ""
    return (
        f"{run.config.run}: the supernet has learned next to nothing, and a search would choose by chance: its loss at the end of training is {ends[0]:.2f}, "
        f"and guessing among {worded(len(run.split.classes))} classes has {guess:.2f}. Train another run for more epochs, at another rate, by another "
        "strategy, or from a trained network (init=FOLDER)"
    )


def _median(values: Sequence[object]) -> float:
    """Of the numbers among them; not a number if there is none."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not ANY_NUMBER.fault(value, "")]
    return median(numbers) if numbers else math.nan
